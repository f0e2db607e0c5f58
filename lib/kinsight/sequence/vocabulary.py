"""Vocabularies: which tokens of the window get an index, and how a version is made and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kinsight.config import SequenceConfig
from kinsight.dates import AsOf
from kinsight.errors import IntegrityError
from kinsight.sequence.executor.counts import count_price_buckets, count_tokens
from kinsight.sequence.executor.lookups import FIRST_INDEX, Products
from kinsight.sequence.gather import UserEvents
from kinsight.sequence.prices import price_edges
from kinsight.sequence.products import tokens_of


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """One version, as the rest of the stage needs it.

    Attributes:
        version: Its name.
        levels: Levels of the category path.
        price_edges: See :func:`kinsight.sequence.prices.price_edges`.
        tokens: Columns field (name), token, index.
    """

    version: str
    levels: int
    price_edges: list[float] | None
    tokens: DataFrame


def read_vocabulary(table: DataFrame, version: str) -> Vocabulary:
    """One version from the table ``vocabularies``.

    Raises:
        IntegrityError: If the table does not hold it.
    """
    tokens = table.where(F.col("vocabulary_version") == version)
    edges = F.array_sort(F.collect_list("upper_edge"))
    fields = {row[0]: list(row[1]) for row in tokens.groupBy("field").agg(edges).collect()}
    if not fields:
        raise IntegrityError(
            f"Vocabulary {version} is not in table vocabularies.",
            expected="its tokens, as the run that made it published them",
            found="no row",
            to_do="restore the table, or make a new one: kinsight sequence --new-vocabulary",
        )
    return Vocabulary(
        version=version,
        levels=sum(field.startswith("category_") for field in fields),
        price_edges=fields.get("price"),
        tokens=tokens.select("field", "token", "index"),
    )


def vocabulary_rows(
    histories: UserEvents,
    products: Products,
    coded: DataFrame,
    settings: SequenceConfig,
    keep: Callable[[DataFrame], DataFrame],
) -> DataFrame:
    """The rows of a new version, without its name.

    In each field the tokens come by falling number of users, then by token, and are numbered
    from 2; the tail beyond ``vocabulary_size`` and tokens of too few users get no index. Event
    types are all kept. Prices are numbered by bucket, so that a greater index is a higher price.

    Args:
        histories: Each user's events; read twice.
        products: Codes of products, and the types.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        settings: Sizes of the vocabulary.
        keep: Persists a frame for the run.
    """
    counts = keep(histories.to_counts(count_tokens, products))
    ranked = _product_tokens(counts, coded, products.fields).unionByName(
        _event_types(counts, products.types)
    )
    most_users_first = Window.partitionBy("field").orderBy(F.desc("users"), "token")
    is_type = F.col("field") == "event_type"
    kept = (
        ranked.where((F.col("users") >= settings.minimum_token_users) | is_type)
        .withColumn("rank", F.row_number().over(most_users_first))
        .where((F.col("rank") <= settings.vocabulary_size) | is_type)
        .withColumn("index", F.col("rank") + FIRST_INDEX - 1)
        .withColumn("upper_edge", F.lit(None).cast("double"))
        .drop("rank")
    )
    edges = price_edges(counts.where(F.col("kind") == "price"), settings.price_buckets)
    rows = kept if edges is None else kept.unionByName(_prices(histories, edges))
    return rows.withColumn(
        "bucket", token_bucket(F.col("field"), F.col("token"), settings.hash_buckets)
    )


def version_name(rows: DataFrame, as_of: AsOf) -> str:
    """The name of a version: its date and a hash of its rows, in whatever order they come."""
    content = F.bit_xor(F.xxhash64(*sorted(rows.columns)))
    found = rows.agg(content).first()
    digits = 0 if found is None or found[0] is None else int(found[0]) % 2**64
    return f"v{as_of.date.isoformat()}-{digits:016x}"[:20]


def token_bucket(field: Column, token: Column, buckets: int) -> Column:
    """The hash bucket of a token: the first 32 bits of md5(``field:token``), modulo."""
    digest = F.md5(F.concat(field, F.lit(":"), token).cast("binary"))
    return (F.conv(F.substring(digest, 1, 8), 16, 10).cast("bigint") % buckets).cast("int")


def _product_tokens(counts: DataFrame, coded: DataFrame, fields: Sequence[str]) -> DataFrame:
    names = F.array(*(F.lit(name) for name in fields))
    return (
        counts.where(F.col("kind") == "token")
        .join(tokens_of(coded), ["field", "code"])
        .select(
            F.get(names, F.col("field")).alias("field"),
            "token",
            "label",
            "users",
            F.col("events").alias("frequency"),
        )
    )


def _event_types(counts: DataFrame, types: Sequence[str]) -> DataFrame:
    spark = counts.sparkSession
    names = spark.createDataFrame(list(enumerate(types)), "code INT, token STRING")
    return (
        counts.where(F.col("kind") == "type")
        .join(F.broadcast(names), "code")
        .select(
            F.lit("event_type").alias("field"),
            "token",
            F.col("token").alias("label"),
            "users",
            F.col("events").alias("frequency"),
        )
    )


def _prices(histories: UserEvents, edges: Sequence[float]) -> DataFrame:
    """One row a price bucket."""
    upper_edges = F.array(*(F.lit(edge) for edge in edges)).cast("array<double>")
    number = F.col("code") - FIRST_INDEX + 1
    return histories.to_counts(count_price_buckets, tuple(edges)).select(
        F.lit("price").alias("field"),
        number.cast("string").alias("token"),
        number.cast("string").alias("label"),
        "users",
        F.col("events").alias("frequency"),
        F.col("code").alias("index"),
        F.get(upper_edges, number - 1).alias("upper_edge"),
    )
