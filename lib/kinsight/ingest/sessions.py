"""Sessions by inactivity, over the borders of files.

A visit that comes in several files, in the order of time, gets the sessions of one file. A late
event that lies between two stored sessions joins the earlier one; stored rows never change.
"""

from __future__ import annotations

import math

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kinsight.ingest.identity import HASH_DIGITS

_MADE = "gap-"
_STORED, _START = "is_stored", "session_start"


def with_sessions(events: DataFrame, gap_minutes: float, stored: DataFrame | None) -> DataFrame:
    """Give events without a session one that ends after a time of inactivity of the user.

    A made id is a hash of the user and the start. Events that continue a stored session take its
    id. Mapped sessions are kept, and their events neither continue nor end made ones.

    Args:
        events: Rows with user_id, event_time and session_id (null where none is mapped).
        gap_minutes: A longer inactivity begins a new session.
        stored: Stored events that stay, or None.

    Returns:
        The events, session_id filled.
    """
    rows = events.withColumn(_STORED, F.lit(False))
    if stored is not None:
        near = _near(events, stored, gap_minutes).withColumn(_STORED, F.lit(True))
        rows = rows.unionByName(near, allowMissingColumns=True)
    rows = rows.withColumn(_START, _session_start(gap_minutes))
    made = _made_id()
    if stored is not None:
        session = Window.partitionBy("user_id", _START)
        oldest = F.min(F.when(F.col(_STORED), F.struct("event_time", "session_id"))).over(session)
        made = F.coalesce(oldest["session_id"], made)
    filled = rows.withColumn("session_id", F.coalesce("session_id", made))
    return filled.where(~F.col(_STORED)).select(*events.columns)


def _session_start(gap_minutes: float) -> Column:
    """Time of the first event of the session of each row; null before any session."""
    by_time = Window.partitionBy("user_id").orderBy("event_time")
    before = by_time.rowsBetween(Window.unboundedPreceding, -1)
    so_far = by_time.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    counted = F.col(_STORED) | F.col("session_id").isNull()
    time = F.when(counted, F.unix_micros("event_time"))
    previous = F.max(time).over(before)
    begins = previous.isNull() | (time - previous > int(gap_minutes * 60_000_000))
    return F.max(F.when(begins, time)).over(so_far)


def _made_id() -> Column:
    content = F.concat_ws("\x1f", "user_id", F.col(_START).cast("string"))
    return F.concat(F.lit(_MADE), F.substring(F.md5(content), 1, HASH_DIGITS))


def _near(events: DataFrame, stored: DataFrame, gap_minutes: float) -> DataFrame:
    """Stored events with made sessions, of the dates that a session can reach from new events."""
    days = math.ceil(gap_minutes / (24 * 60))
    dates = events.where("session_id IS NULL").select(F.to_date("event_time").alias("date"))
    reach = F.sequence(F.date_sub("date", days), F.date_add("date", days))
    reached = dates.distinct().select(F.explode(reach).alias("event_date")).distinct()
    made = stored.where(F.col("session_id").startswith(_MADE))
    return made.join(F.broadcast(reached), "event_date", "left_semi").select(
        "user_id", "event_time", "session_id"
    )
