"""The one shuffle of the stage: the events of each user brought together, as narrow rows."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kinsight.sequence.window import PLACE


def gather_events(numbered: DataFrame, timezone: str, partitions: int) -> DataFrame:
    """The events by user, each with its place in the user's history.

    The result is partitioned by user, and everything that is counted for each user from it needs
    no further shuffle. The order of a history is that of ``PLACE``, so that it does not depend on
    how the input was split.

    Args:
        numbered: Events with column product in place of item_id, category and brand.
        timezone: The shop's time zone, which gives hours and days their meaning.
        partitions: Tasks, and files of every output.

    Returns:
        user_id, age (INT, 1 = the user's latest event), events_total (BIGINT, of the user),
        event_time, seconds (BIGINT, since 1970 UTC), hour_of_week (INT, 1 + 24 x weekday + hour
        in the shop), ends_day (BOOLEAN, the user's last event of a day in the shop), event_type,
        odd_day (BOOLEAN, of days since 1970 in the shop), session_id, product, price, quantity.
    """
    local = F.from_utc_timestamp("event_time", timezone)
    slim = numbered.select(
        "user_id",
        "event_time",
        "event_id",
        "source_file_id",
        F.unix_seconds("event_time").alias("seconds"),
        local.cast("date").alias("day"),
        (1 + 24 * F.weekday(local) + F.hour(local)).alias("hour_of_week"),
        "event_type",
        "session_id",
        "product",
        "price",
        "quantity",
    )
    history = Window.partitionBy("user_id").orderBy(*(F.desc(column) for column in PLACE))
    whole = history.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    return (
        # The explicit number keeps adaptive execution from merging partitions, which would make
        # Spark forget that the rows are already together by user.
        slim.repartition(partitions, "user_id")
        .withColumns(
            {
                "odd_day": F.unix_date("day") % 2 == 1,
                "age": F.row_number().over(history),
                "events_total": F.count("*").over(whole),
                "ends_day": ~F.col("day").eqNullSafe(F.lag("day").over(history)),
            }
        )
        .drop("event_id", "source_file_id", "day")
    )


def count_user_tokens(gathered: DataFrame, coded: DataFrame) -> DataFrame:
    """How often each user met each token: user_id, field, code, events, odd_events (on odd days).

    Every event counts once for every field; a null code is an event without such a token.

    Args:
        gathered: See :func:`gather_events`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
    """
    return (
        gathered.select("user_id", "product", "odd_day")
        .join(coded.select("product", "field", "code"), "product")
        .groupBy("user_id", "field", "code")
        .agg(F.count("*").alias("events"), F.count_if("odd_day").alias("odd_events"))
    )
