"""The one shuffle of the stage: the events of each user brought together, as narrow rows."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def gather_events(numbered: DataFrame, timezone: str, partitions: int) -> DataFrame:
    """The events by user, each with its place in the user's history.

    The result is partitioned by user, and everything that is counted for each user from it needs
    no further shuffle. The order of a history is (event_time, event_id), so that it does not
    depend on how the input was split.

    Args:
        numbered: Events with column product in place of item_id, category and brand.
        timezone: The shop's time zone, which gives hours and days their meaning.
        partitions: Tasks, and files of every output.

    Returns:
        user_id, age (INT, 1 = the user's latest event), events_total (BIGINT, of the user),
        event_time, seconds (BIGINT, since 1970 UTC), day (INT, days since 1970 in the shop),
        hour_of_week (INT, 1 + 24 x weekday + hour in the shop), event_type, session_id, product,
        price, quantity.
    """
    local = F.from_utc_timestamp("event_time", timezone)
    slim = numbered.select(
        "user_id",
        "event_time",
        "event_id",
        F.unix_seconds("event_time").alias("seconds"),
        F.unix_date(local.cast("date")).alias("day"),
        (1 + 24 * F.weekday(local) + F.hour(local)).alias("hour_of_week"),
        "event_type",
        "session_id",
        "product",
        "price",
        "quantity",
    )
    history = Window.partitionBy("user_id").orderBy(F.desc("event_time"), F.desc("event_id"))
    whole = history.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    return (
        # The explicit number keeps adaptive execution from merging partitions, which would make
        # Spark forget that the rows are already together by user.
        slim.repartition(partitions, "user_id")
        .withColumn("age", F.row_number().over(history))
        .withColumn("events_total", F.count("*").over(whole))
        .drop("event_id")
    )


def count_user_tokens(gathered: DataFrame, coded: DataFrame) -> DataFrame:
    """How often each user met each token: user_id, field, code, events.

    Every event counts once for every field; a null code is an event without such a token.

    Args:
        gathered: See :func:`gather_events`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
    """
    by_product = gathered.groupBy("user_id", "product").agg(F.count("*").alias("events"))
    return (
        by_product.join(coded.select("product", "field", "code"), "product")
        .groupBy("user_id", "field", "code")
        .agg(F.sum("events").alias("events"))
    )
