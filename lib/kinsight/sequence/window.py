"""Which events a run may see: the lookback window before the as-of instant, hot users cut."""

from __future__ import annotations

import dataclasses
import datetime as dt

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kinsight.dates import AsOf
from kinsight.errors import RefusedError

PLACE = ("event_time", "event_id", "source_file_id")
"""What orders a user's events, no two alike."""

RECENT_DAYS = (1, 4, 16, 64, 256)
"""Days before the as-of instant within which a user's events are counted too."""


@dataclasses.dataclass(frozen=True)
class WindowCounts:
    """What the window holds before the cap.

    Attributes:
        events: Events in the window.
        users: Users with at least one.
        hot_users: Users with more events than the cap.
        events_cut: Events of hot users beyond the cap.
        largest: Events of the user with the most.
        hot_days: Days before the as-of instant that hold all that is kept of hot users.
    """

    events: int
    users: int
    hot_users: int
    events_cut: int
    largest: int
    hot_days: int


def events_in_window(events: DataFrame, as_of: AsOf, lookback_days: int) -> DataFrame:
    """The events from so many calendar days before the as-of date up to its instant, exclusive.

    Days are those of the shop's time zone. The condition on ``event_date`` (a UTC date, the
    partition) follows from the one on ``event_time`` and lets Delta skip files.
    """
    start = as_of.days_before(lookback_days).instant
    last_date = (as_of.instant - dt.timedelta(microseconds=1)).date()
    return events.where(
        F.col("event_date").between(F.lit(start.date()), F.lit(last_date))
        & (F.col("event_time") >= F.lit(start))
        & (F.col("event_time") < F.lit(as_of.instant))
    )


def events_by_user(
    window: DataFrame, instant: dt.datetime, lookback_days: int, cap: int
) -> DataFrame:
    """One row a user of the window: user_id, events, and days.

    The latest `cap` events of a user with more lie within so many days before the as-of instant:
    the first of ``RECENT_DAYS`` that suffices, or all days.
    """
    recent = {days: instant - dt.timedelta(days=days) for days in RECENT_DAYS}
    counts = (F.count_if(F.col("event_time") >= F.lit(t)).alias(f"{d}") for d, t in recent.items())
    reaches = (F.when(F.col(f"{d}") >= cap, F.lit(d)) for d in recent)
    # The first day may begin an hour earlier: clocks change.
    days = F.coalesce(*reaches, F.lit(lookback_days + 1))
    by_user = window.groupBy("user_id").agg(F.count("*").alias("events"), *counts)
    return by_user.select("user_id", "events", days.alias("days"))


def count_window(by_user: DataFrame, cap: int) -> WindowCounts:
    """The totals of :func:`events_by_user`."""
    surplus = F.greatest(F.col("events") - cap, F.lit(0))
    row = by_user.agg(
        F.coalesce(F.sum("events"), F.lit(0)),
        F.count("*"),
        F.count_if(surplus > 0),
        F.coalesce(F.sum(surplus), F.lit(0)),
        F.coalesce(F.max("events"), F.lit(0)),
        F.coalesce(F.max(F.when(surplus > 0, F.col("days"))), F.lit(0)),
    ).first()
    return WindowCounts(*row) if row is not None else WindowCounts(0, 0, 0, 0, 0, 0)


def hot_user_thresholds(
    window: DataFrame, by_user: DataFrame, instant: dt.datetime, hot_days: int, cap: int
) -> DataFrame:
    """For each hot user the oldest event that is kept: user_id, oldest (struct of ``PLACE``).

    Only the hot users' rows are ranked, and of those only the days that hold what is kept, so that
    Delta skips the files of other days and a bot with a tenth of all events is not sorted whole.
    What is left Spark cuts to the cap in each task before it is shuffled
    (``spark.sql.optimizer.windowGroupLimitThreshold``).
    """
    hot = by_user.where(F.col("events") > cap).select("user_id", "days")
    since = F.lit(instant) - F.make_dt_interval(F.col("days"))
    # Made event ids are unique within a file only: the same row of two files has one id.
    latest_first = Window.partitionBy("user_id").orderBy(*(F.desc(column) for column in PLACE))
    return (
        window.select("user_id", *PLACE)
        .where(F.col("event_time") >= F.lit(instant - dt.timedelta(days=hot_days)))
        .join(F.broadcast(hot), "user_id")
        .where(F.col("event_time") >= since)
        .withColumn("age", F.row_number().over(latest_first))
        .where((F.col("age") <= cap) & (F.col("age") == cap))
        .select("user_id", F.struct(*PLACE).alias("oldest"))
    )


def cut_hot_users(window: DataFrame, thresholds: DataFrame) -> DataFrame:
    """The window without the events of hot users that are older than their thresholds."""
    kept = F.col("oldest").isNull() | (F.struct(*PLACE) >= F.col("oldest"))
    return window.join(F.broadcast(thresholds), "user_id", "left").where(kept).drop("oldest")


def refuse_empty_window(events: DataFrame, as_of: AsOf, lookback_days: int) -> RefusedError:
    """The refusal where the window holds nothing, with the dates that do have events."""
    first, last = events.agg(F.min("event_time"), F.max("event_time")).first() or (None, None)
    start = as_of.days_before(lookback_days)
    if first is None or last is None:
        found, to_do = "table events is empty", "ingest event files that hold rows"
    else:
        # Spark gives local times.
        first, last = (time.astimezone(dt.timezone.utc) for time in (first, last))
        found = f"events from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} (UTC)"
        to_do = "choose --as-of after the first event and within reach of sequence.lookback_days"
    return RefusedError(
        f"There are no events to look at as of {as_of.date}.",
        expected=f"events from {start.date} up to the midnight that begins {as_of.date} "
        f"({as_of.timezone})",
        found=found,
        to_do=to_do,
    )
