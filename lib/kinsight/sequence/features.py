"""The readable numbers of each user: the rows of ``user_features``."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.products import tokens_of

FEATURES = (
    *("user_id", "recency_days", "tenure_days", "frequency", "monetary", "events", "sessions"),
    *("purchases", "returns", "items", "categories", "brands", "average_price"),
    *("events_per_session", "weekend_share", "morning_share", "afternoon_share"),
    *("evening_share", "night_share", "type_shares", "hour_shares", "weekday_shares"),
)


def user_features(
    users: DataFrame, coded: DataFrame, root: int | None, most: int, hot_users: DataFrame | None
) -> DataFrame:
    """One row a user.

    Args:
        users: See :func:`kinsight.sequence.gather.to_user_rows`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        root: Number of the field of root categories; None where the shop has none.
        most: Root categories that get a share.
        hot_users: Has user_id of the users that were cut; None where nobody was.
    """
    largest = {} if root is None else _largest_roots(users, coded, root, most)
    features = users.select(*FEATURES, _category_shares(largest).alias("category_shares"))
    if hot_users is None:
        return features.withColumn("is_hot", F.lit(False))
    marked = F.broadcast(hot_users.select("user_id", F.lit(True).alias("hot")))
    return features.join(marked, "user_id", "left").select(
        *features.columns, F.coalesce("hot", F.lit(False)).alias("is_hot")
    )


def _largest_roots(users: DataFrame, coded: DataFrame, root: int, most: int) -> dict[int, str]:
    """Code and name of the root categories of most users, then by name.

    They are those of this date, whatever the vocabulary, so that the features of a date do not
    depend on the vocabulary's version.
    """
    found = (
        users.select(F.explode("root_codes").alias("code"))
        .groupBy("code")
        .agg(F.count("*").alias("users"))
        .join(tokens_of(coded).where(F.col("field") == root), "code")
        .orderBy(F.desc("users"), "token")
        .limit(most)
        .select("code", "token")
    )
    return {int(code): str(token) for code, token in found.collect()}


def _category_shares(largest: dict[int, str]) -> Column:
    """Shares of the events by root category, names ascending."""
    if not largest:
        return F.map_from_entries(F.array().cast("array<struct<root: string, share: double>>"))
    names = F.create_map(*(F.lit(part) for pair in largest.items() for part in pair))
    pairs = F.arrays_zip("root_codes", "root_events")
    chosen = F.filter(pairs, lambda p: F.map_contains_key(names, p["root_codes"]))
    shares = F.transform(
        chosen,
        lambda p: F.struct(
            names[p["root_codes"]].alias("root"),
            (p["root_events"] / F.col("events")).alias("share"),
        ),
    )
    return F.map_from_entries(F.sort_array(shares))
