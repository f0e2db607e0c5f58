"""How often each user met each token of the vocabulary: the rows of ``user_bags``."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.products import field_number, fields_of


def user_bags(user_tokens: DataFrame, indices: DataFrame, levels: int) -> DataFrame:
    """One row a user with a bag for every product field, empty where no token is known.

    Args:
        user_tokens: See :func:`kinsight.sequence.gather.count_user_tokens`.
        indices: See :func:`kinsight.sequence.encoding.token_indices`.
        levels: Category levels of the vocabulary.

    Returns:
        user_id, events, bags.
    """

    def bag(field: str) -> Column:
        known = (F.col("field") == field_number(field)) & F.col("index").isNotNull()
        entry = F.struct(
            F.col("index"),
            F.col("events").cast("float").alias("n"),
            F.col("odd_events").cast("float").alias("odd"),
        )
        return F.sort_array(F.collect_list(F.when(known, entry))).alias(field)

    def entry_of_map(field: str) -> list[Column]:
        entries = F.col(field)
        parts = {"tokens": "index", "counts": "n", "odd_days": "odd"}
        bag = F.struct(*(entries[part].alias(name) for name, part in parts.items()))
        return [F.lit(field), bag]

    fields = fields_of(levels)
    every_event_once = F.when(F.col("field") == field_number("item"), F.col("events"))
    return (
        # At most vocabulary_size rows a field, so they fit in every task.
        user_tokens.join(F.broadcast(indices), ["field", "code"], "left")
        .groupBy("user_id")
        .agg(F.sum(every_event_once).alias("events"), *(bag(field) for field in fields))
        .select(
            "user_id",
            "events",
            F.create_map(*(c for f in fields for c in entry_of_map(f))).alias("bags"),
        )
    )
