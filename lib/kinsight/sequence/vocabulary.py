"""Vocabularies: which tokens of the window get an index, and how a version is made and read."""

from __future__ import annotations

import dataclasses

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kinsight.config import SequenceConfig
from kinsight.dates import AsOf
from kinsight.sequence.encoding import FIRST_INDEX, UNKNOWN, price_index
from kinsight.sequence.prices import price_edges
from kinsight.sequence.products import fields_of, tokens_of


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
    """One version from the table ``vocabularies``."""
    tokens = table.where(F.col("vocabulary_version") == version)
    edges = F.array_sort(F.collect_list("upper_edge"))
    fields = {row[0]: list(row[1]) for row in tokens.groupBy("field").agg(edges).collect()}
    return Vocabulary(
        version=version,
        levels=sum(field.startswith("category_") for field in fields),
        price_edges=fields.get("price"),
        tokens=tokens.select("field", "token", "index"),
    )


def vocabulary_rows(
    gathered: DataFrame,
    user_tokens: DataFrame,
    coded: DataFrame,
    levels: int,
    settings: SequenceConfig,
) -> DataFrame:
    """The rows of a new version, without its name.

    In each field the tokens come by falling number of users, then by token, and are numbered
    from 2; the tail beyond ``vocabulary_size`` and tokens of too few users get no index. Event
    types are all kept. Prices are numbered by bucket, so that a greater index is a higher price.

    Args:
        gathered: See :func:`kinsight.sequence.gather.gather_events`.
        user_tokens: See :func:`kinsight.sequence.gather.count_user_tokens`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        levels: Levels that ``coded`` was made with.
        settings: Sizes of the vocabulary.
    """
    ranked = _count_product_tokens(user_tokens, coded, levels).unionByName(
        _count_event_types(gathered)
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
    return kept.unionByName(_price_rows(gathered, settings.price_buckets)).withColumn(
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


def _count_product_tokens(user_tokens: DataFrame, coded: DataFrame, levels: int) -> DataFrame:
    counts = (
        user_tokens.where(F.col("code").isNotNull())
        .groupBy("field", "code")
        .agg(F.count("*").alias("users"), F.sum("events").alias("frequency"))
    )
    names = F.array(*(F.lit(name) for name in fields_of(levels)))
    return counts.join(tokens_of(coded), ["field", "code"]).select(
        F.get(names, F.col("field")).alias("field"), "token", "label", "users", "frequency"
    )


def _count_event_types(gathered: DataFrame) -> DataFrame:
    counts = _count_users(gathered, F.col("event_type"))
    return counts.withColumn("field", F.lit("event_type")).withColumn("label", F.col("token"))


def _price_rows(gathered: DataFrame, buckets: int) -> DataFrame:
    """One row a price bucket; none where no event has a price."""
    edges = price_edges(gathered, buckets)
    index = price_index(F.col("price"), edges)
    upper_edges = F.array(*(F.lit(edge) for edge in edges or [])).cast("array<double>")
    number = F.col("token").cast("int")
    counts = _count_users(gathered, F.when(index != UNKNOWN, index - FIRST_INDEX + 1))
    return counts.select(
        F.lit("price").alias("field"),
        "token",
        F.col("token").alias("label"),
        "users",
        "frequency",
        (number + FIRST_INDEX - 1).alias("index"),
        F.get(upper_edges, number - 1).alias("upper_edge"),
    )


def _count_users(gathered: DataFrame, token: Column) -> DataFrame:
    """Columns token, users and frequency of a token that is not one of the product."""
    return (
        gathered.select("user_id", token.cast("string").alias("token"))
        .where(F.col("token").isNotNull())
        .groupBy("user_id", "token")
        .agg(F.count("*").alias("events"))
        .groupBy("token")
        .agg(F.count("*").alias("users"), F.sum("events").alias("frequency"))
    )
