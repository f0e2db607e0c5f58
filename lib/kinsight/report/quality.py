"""What the report says of the data: files, refused rows, events over time, histories."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kinsight.report.sources import Sources, empty, small

MAXIMUM_REASONS = 30
MAXIMUM_TYPES = 6
RAW_CHARACTERS = 300
DAILY_UP_TO = 62  # days; longer windows are drawn by week
HISTORY_LENGTHS = (
    ("1–2", 1, 2),
    ("3–5", 3, 5),
    ("6–20", 6, 20),
    ("21–100", 21, 100),
    ("over 100", 101, 2**62),
)
OTHER_TYPES = "other types"


@dataclasses.dataclass(frozen=True)
class Quality:
    """Small frames about the data; None or empty where a stage has not published.

    Attributes:
        sources: source, kind, files, rows_read, rows_accepted, rows_quarantined,
            rows_deduplicated, rows_identical, first_event_time, last_event_time.
        refused: source, kind, reason, rows, first_example, last_example; most frequent first.
        refused_reasons: Number of (source, reason) pairs, shown or not.
        events: start, end, event_type, events; by day or week in the shop's zone.
        period: ``day`` or ``week``.
        types: event_type, events; most frequent first.
        users: users, events, hot, and one number a label of ``HISTORY_LENGTHS``.
    """

    sources: pd.DataFrame
    refused: pd.DataFrame
    refused_reasons: int
    events: pd.DataFrame
    period: str
    types: pd.DataFrame
    users: dict[str, int] | None


def collect_quality(sources: Sources, lookback_days: int) -> Quality:
    """Count what was delivered and what the date's histories are made of.

    Args:
        sources: Where to read.
        lookback_days: Days before the date whose events count.
    """
    refused, reasons = _refused(sources.ingested("quarantine"))
    daily = _daily_events(sources, lookback_days)
    events, period = _by_period(daily)
    types = daily.groupby("event_type", sort=False)["events"].sum().reset_index()
    return Quality(
        sources=_delivered(sources.ingested("ingested_files")),
        refused=refused,
        refused_reasons=reasons,
        events=events,
        period=period,
        types=types,
        users=_users(sources.published("user_features")),
    )


def _delivered(files: DataFrame | None) -> pd.DataFrame:
    """One row a source: bounded by the configuration, whatever the number of files."""
    if files is None:
        return empty("kind", "source")
    counts = ("rows_read", "rows_accepted", "rows_quarantined", "rows_deduplicated")
    return small(
        files.groupBy("kind", "source")
        .agg(
            F.count("*").alias("files"),
            *(F.sum(name).alias(name) for name in (*counts, "rows_identical")),
            F.min("first_event_time").alias("first_event_time"),
            F.max("last_event_time").alias("last_event_time"),
        )
        .orderBy("kind", "source")
    )


def _refused(quarantine: DataFrame | None) -> tuple[pd.DataFrame, int]:
    """The most frequent reasons with two examples each, and how many reasons there are."""
    if quarantine is None:
        return empty("source", "kind", "reason", "rows"), 0
    raw = F.substring("raw", 1, RAW_CHARACTERS)
    reasons = quarantine.groupBy("source", "kind", "reason").agg(
        F.count("*").alias("rows"),
        F.min(raw).alias("first_example"),
        F.max(raw).alias("last_example"),
    )
    reasons = reasons.withColumn("reasons", F.expr("count(*) OVER ()"))
    ordered = reasons.orderBy(F.desc("rows"), "source", "reason")
    shown = small(ordered.limit(MAXIMUM_REASONS))
    return shown, int(shown["reasons"].iloc[0]) if len(shown) else 0


def _daily_events(sources: Sources, lookback_days: int) -> pd.DataFrame:
    """day, event_type, events in the lookback window; rare types folded into one."""
    events = sources.ingested("events")
    if events is None:
        return empty("day", "event_type", "events")
    until = sources.as_of
    since = until.days_before(lookback_days)
    window = events.where(
        (F.col("event_date") >= F.lit(since.instant.date()))
        & (F.col("event_time") >= F.lit(since.instant))
        & (F.col("event_time") < F.lit(until.instant))
    )
    day = F.to_date(F.from_utc_timestamp("event_time", until.timezone)).alias("day")
    counts = window.groupBy(day, "event_type").agg(F.count("*").alias("events"))
    totals = counts.withColumn("total", F.sum("events").over(Window.partitionBy("event_type")))
    order = Window.orderBy(F.desc("total"), "event_type")
    ranked = totals.withColumn("place", F.dense_rank().over(order))
    rare = F.col("place") > MAXIMUM_TYPES
    folded = ranked.groupBy(
        F.when(rare, MAXIMUM_TYPES + 1).otherwise(F.col("place")).alias("place"),
        F.when(rare, OTHER_TYPES).otherwise(F.col("event_type")).alias("event_type"),
        "day",
    ).agg(F.sum("events").alias("events"))
    return small(folded.orderBy("place", "day").select("day", "event_type", "events"))


def _by_period(daily: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Days as they are, or weeks from Monday where there are many."""
    if daily.empty:
        return empty("start", "end", "event_type", "events"), "day"
    start = pd.to_datetime(daily["day"])
    days = 1
    if (start.max() - start.min()).days > DAILY_UP_TO:
        start, days = start - pd.to_timedelta(start.dt.weekday, unit="D"), 7
    frame = daily.assign(start=start).groupby(["event_type", "start"], sort=False)["events"].sum()
    periods = frame.reset_index()
    periods["end"] = periods["start"] + dt.timedelta(days=days)
    return periods, "day" if days == 1 else "week"


def _users(features: DataFrame | None) -> dict[str, int] | None:
    """Customers by length of history."""
    if features is None:
        return None
    within: list[Any] = [
        F.count_if(F.col("events").between(low, high)).alias(label)
        for label, low, high in HISTORY_LENGTHS
    ]
    row = features.agg(
        F.count("*").alias("users"),
        F.coalesce(F.sum("events"), F.lit(0)).alias("events"),
        F.count_if("is_hot").alias("hot"),
        *within,
    ).first()
    return None if row is None else {name: int(value) for name, value in row.asDict().items()}
