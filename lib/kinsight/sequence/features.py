"""The readable numbers of each user: the rows of ``user_features``."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.products import field_number, tokens_of

SECONDS_A_DAY = 86_400.0
DAY_PARTS = {
    "morning_share": range(5, 12),
    "afternoon_share": range(12, 17),
    "evening_share": range(17, 22),
    "night_share": (22, 23, 0, 1, 2, 3, 4),
}


def user_features(
    gathered: DataFrame,
    user_tokens: DataFrame,
    coded: DataFrame,
    hot_users: DataFrame | None,
    *,
    instant: dt.datetime,
    level: int,
    category_shares: int,
) -> DataFrame:
    """One row a user. All parts are grouped by user, so joining them needs no shuffle.

    Args:
        gathered: See :func:`kinsight.sequence.gather.gather_events`.
        user_tokens: See :func:`kinsight.sequence.gather.count_user_tokens`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        hot_users: Has user_id of the users that were cut; None where nobody was.
        instant: The as-of instant.
        level: Category level that is counted; 0 where the shop has no categories.
        category_shares: Root categories that get a share.
    """
    features = (
        _totals(gathered, instant)
        .join(_sessions(gathered), "user_id")
        .join(_habits(gathered), "user_id")
        .join(_type_shares(gathered), "user_id")
        .join(_tastes(user_tokens, coded, level, category_shares), "user_id")
    )
    if hot_users is None:
        return features.withColumn("is_hot", F.lit(False))
    marked = F.broadcast(hot_users.select("user_id", F.lit(True).alias("hot")))
    return features.join(marked, "user_id", "left").select(
        *features.columns, F.coalesce("hot", F.lit(False)).alias("is_hot")
    )


def _totals(gathered: DataFrame, instant: dt.datetime) -> DataFrame:
    """Counts, money and times. Sums of money run in the order of the history: same bits."""
    is_purchase, is_return = F.col("event_type") == "purchase", F.col("event_type") == "return"
    amount = F.coalesce("price", F.lit(0.0)) * F.coalesce("quantity", F.lit(1.0))
    signed = F.when(is_purchase, amount).when(is_return, -amount).otherwise(0.0)

    def days_since(time: Column) -> Column:
        return (F.unix_micros(F.lit(instant)) - F.unix_micros(time)) / (SECONDS_A_DAY * 1e6)

    return gathered.groupBy("user_id").agg(
        days_since(F.max("event_time")).alias("recency_days"),
        days_since(F.min("event_time")).alias("tenure_days"),
        F.count_if("ends_day").alias("frequency"),
        F.sum(signed).alias("monetary"),
        F.count("*").alias("events"),
        F.count_if(is_purchase).alias("purchases"),
        F.count_if(is_return).alias("returns"),
        F.avg("price").alias("average_price"),
    )


def _sessions(gathered: DataFrame) -> DataFrame:
    # Two groupings need no shuffle here; count_distinct would add two.
    by_session = gathered.groupBy("user_id", "session_id").agg(F.count("*").alias("n"))
    return by_session.groupBy("user_id").agg(
        F.count("*").alias("sessions"),
        (F.sum("n") / F.count("*")).alias("events_per_session"),
    )


def _habits(gathered: DataFrame) -> DataFrame:
    """Shares by hour, part of the day and weekday, from counts by hour of the week."""
    by_hour = gathered.groupBy("user_id", "hour_of_week").agg(F.count("*").alias("n"))
    hour = (F.col("hour_of_week") - 1) % 24
    weekday = F.floor((F.col("hour_of_week") - 1) / 24)

    def share(condition: Column) -> Column:
        return F.sum(F.when(condition, F.col("n")).otherwise(0)) / F.sum("n")

    return by_hour.groupBy("user_id").agg(
        share(weekday >= 5).alias("weekend_share"),
        *(share(hour.isin(*hours)).alias(name) for name, hours in DAY_PARTS.items()),
        F.array(*(share(hour == h) for h in range(24))).alias("hour_shares"),
        F.array(*(share(weekday == d) for d in range(7))).alias("weekday_shares"),
    )


def _type_shares(gathered: DataFrame) -> DataFrame:
    by_type = gathered.groupBy("user_id", "event_type").agg(
        F.count("*").alias("n"), F.first("events_total").alias("total")
    )
    share = F.struct(F.col("event_type"), F.col("n") / F.col("total"))
    return by_type.groupBy("user_id").agg(
        F.map_from_entries(F.sort_array(F.collect_list(share))).alias("type_shares")
    )


def _tastes(
    user_tokens: DataFrame, coded: DataFrame, level: int, category_shares: int
) -> DataFrame:
    """Distinct items, brands and categories, and the shares of the largest root categories.

    The largest are those of this date with the most users (then by name), whatever the
    vocabulary, so that the features of a date do not depend on the vocabulary's version.
    """
    has_token = F.col("code").isNotNull()
    root = field_number("category_1")
    largest = (
        user_tokens.where((F.col("field") == root) & has_token)
        .groupBy("field", "code")
        .agg(F.count("*").alias("users"))
        .join(tokens_of(coded), ["field", "code"])
        .orderBy(F.desc("users"), "token")
        .limit(category_shares)
        .select("field", "code", F.col("token").alias("root"))
    )

    def distinct(field: str) -> Column:
        return F.count_if((F.col("field") == field_number(field)) & has_token)

    every_event_once = F.when(F.col("field") == field_number("item"), F.col("events"))
    counted = F.when(F.col("root").isNotNull(), F.struct("root", "events"))
    entries = F.transform("roots", lambda e: F.struct(e["root"], e["events"] / F.col("total")))
    return (
        user_tokens.join(F.broadcast(largest), ["field", "code"], "left")
        .groupBy("user_id")
        .agg(
            distinct("item").alias("items"),
            distinct("brand").alias("brands"),
            (distinct(f"category_{level}") if level else F.lit(0)).alias("categories"),
            F.sort_array(F.collect_list(counted)).alias("roots"),
            F.sum(every_event_once).alias("total"),
        )
        .withColumn("category_shares", F.map_from_entries(entries))
        .drop("roots", "total")
    )
