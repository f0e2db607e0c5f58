"""From tokens to indices: what an event is in the arrays of a sequence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.products import field_number, fields_of, tokens_of

UNKNOWN = 1
"""Index of what has no token, or one that the vocabulary does not hold; 0 is padding."""

FIRST_INDEX = 2
"""Index of the first token of every field."""


@dataclasses.dataclass(frozen=True)
class KnownEvents:
    """Events with a token of a field, and those among them whose token has an index."""

    events: int
    known: int


def price_index(price: Column, edges: Sequence[float] | None) -> Column:
    """The index of a price: bucket 1 has the first index; null and 0 are unknown.

    Args:
        price: Price of one unit.
        edges: Ascending inclusive upper edges of all buckets but the last; None: no buckets.
    """
    if edges is None:
        return F.lit(UNKNOWN)
    bucket = F.lit(FIRST_INDEX)
    for edge in edges:
        bucket = bucket + (price > edge).cast("int")
    return F.when(price > 0, bucket).otherwise(UNKNOWN)


def token_indices(coded: DataFrame, tokens: DataFrame, levels: int) -> DataFrame:
    """The index of each product token that a vocabulary knows: field (number), code, index.

    Args:
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        tokens: A vocabulary's field (name), token and index.
        levels: Levels that ``coded`` was made with.
    """
    names = F.array(*(F.lit(name) for name in fields_of(levels)))
    named = tokens_of(coded).withColumn("name", F.get(names, F.col("field")))
    known = tokens.select(F.col("field").alias("name"), "token", "index")
    return named.join(known, ["name", "token"]).select("field", "code", "index")


def encode_products(coded: DataFrame, indices: DataFrame, level: int) -> DataFrame:
    """The indices of each product: product, item, brand, category.

    Args:
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        indices: See :func:`token_indices`.
        level: Category level of the arrays; 0 where the shop has no categories.
    """

    def index_in(field: str) -> Column:
        found = F.max(F.when(F.col("field") == field_number(field), F.col("index")))
        return F.coalesce(found, F.lit(UNKNOWN))

    return (
        coded.select("product", "field", "code")
        .join(indices, ["field", "code"], "left")
        .groupBy("product")
        .agg(
            index_in("item").alias("item"),
            index_in("brand").alias("brand"),
            (index_in(f"category_{level}") if level else F.lit(UNKNOWN)).alias("category"),
        )
    )


def encode_events(
    gathered: DataFrame,
    products: DataFrame,
    tokens: DataFrame,
    edges: Sequence[float] | None,
    max_length: int,
) -> DataFrame:
    """The latest events of each user as integers.

    Args:
        gathered: See :func:`kinsight.sequence.gather.gather_events`.
        products: See :func:`encode_products`.
        tokens: A vocabulary's field (name), token and index.
        edges: See :func:`price_index`.
        max_length: Events kept for each user, the latest.

    Returns:
        user_id, age, events_total, event_time, and the columns of
        :data:`kinsight.sequence.arrays.ARRAY_COLUMNS`.
    """
    types = tokens.where(F.col("field") == "event_type").select(
        F.col("token").alias("event_type"), F.col("index").alias("type_index")
    )
    return (
        gathered.where(F.col("age") <= max_length)
        .join(products, "product")
        .join(F.broadcast(types), "event_type", "left")
        .select(
            "user_id",
            "age",
            "events_total",
            "event_time",
            "item",
            F.coalesce("type_index", F.lit(UNKNOWN)).alias("event_type"),
            "category",
            "brand",
            price_index(F.col("price"), edges).alias("price"),
            "hour_of_week",
            "seconds",
        )
    )


def count_known(
    user_tokens: DataFrame, indices: DataFrame, fields: Sequence[str]
) -> dict[str, KnownEvents]:
    """How many events have a token of each field, and one that the vocabulary knows.

    Args:
        user_tokens: See :func:`kinsight.sequence.gather.count_user_tokens`.
        indices: See :func:`token_indices`.
        fields: Names of product fields.
    """
    numbers = [field_number(field) for field in fields]
    rows = (
        user_tokens.where(F.col("field").isin(numbers) & F.col("code").isNotNull())
        .join(F.broadcast(indices), ["field", "code"], "left")
        .groupBy("field")
        .agg(F.sum("events"), F.sum(F.when(F.col("index").isNotNull(), F.col("events"))))
        .collect()  # a row a field
    )
    found = {number: KnownEvents(events, known or 0) for number, events, known in rows}
    return {f: found.get(n, KnownEvents(0, 0)) for f, n in zip(fields, numbers, strict=True)}
