"""The one shuffle of the stage: the events of each user brought together, as narrow rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.executor.counts import COUNT_SCHEMA
from kinsight.sequence.executor.histories import (
    EVENT_COLUMNS,
    HISTORY_SCHEMA,
    Histories,
    gather,
    histories_as_rows,
    read_rows,
)
from kinsight.sequence.executor.lookups import Lookups
from kinsight.sequence.executor.rows import (
    BAG_SCHEMA,
    COUNTED_SCHEMA,
    FEATURE_SCHEMA,
    SEQUENCE_SCHEMA,
    RowSettings,
    sequence_rows,
    user_rows,
)

EVENTS_A_TASK = 500_000
"""Events that a task holds at most, about: 100 MB of Python memory with what is made of them."""

EVENTS_A_BATCH = 10_000
"""Events sent to Python at once: narrow rows, so more than of whole histories. Histories that a
new vocabulary was made of come in such batches too; a task holds no more of them than events."""

Parts = Iterable[Histories]
MakeRows = Callable[[Parts, Lookups, RowSettings], Iterator[pa.RecordBatch]]
MakeCounts = Callable[[Parts, Any], Iterator[pa.RecordBatch]]
Batches = Iterable[pa.RecordBatch]


def tasks_for(events: int, least: int) -> int:
    """Tasks, and files of every output, for so many events."""
    return max(least, -(-events // EVENTS_A_TASK))


def narrow_events(numbered: DataFrame, types: Sequence[str], tasks: int) -> DataFrame:
    """The events as numbers, all of a user in one task: see ``EVENT_COLUMNS``.

    Args:
        numbered: Events with column product in place of item_id, category and brand.
        types: Names of all event types, ascending.
        tasks: How many.
    """
    spark = numbered.sparkSession
    places = spark.createDataFrame(list(enumerate(types)), "type INT, event_type STRING")
    slim = numbered.join(F.broadcast(places), "event_type").select(
        "user_id",
        F.unix_micros("event_time").alias("micros"),
        (F.col("product").cast("bigint") * len(types) + F.col("type")).alias("kind"),
        "price",
        "quantity",
        F.xxhash64("session_id").alias("session"),
    )
    return slim.select(*EVENT_COLUMNS).repartition(tasks, "user_id")


def event_types(window: DataFrame) -> list[str]:
    """The types of the events, ascending."""
    return sorted(row[0] for row in window.select("event_type").distinct().collect())


def to_histories(narrow: DataFrame, types: int) -> DataFrame:
    """One row a user with arrays of all events, oldest first; see ``HISTORY_SCHEMA``.

    Args:
        narrow: See :func:`narrow_events`.
        types: Number of event types.
    """
    return narrow.mapInArrow(functools.partial(histories_as_rows, types=types), HISTORY_SCHEMA)


def to_user_rows(
    events: DataFrame, lookups: Lookups, settings: RowSettings, *, are_histories: bool
) -> DataFrame:
    """One row a user with all that the stage publishes of it.

    Args:
        events: From :func:`narrow_events` or :func:`to_histories`.
        lookups: What products and types are.
        settings: The date.
        are_histories: Whether `events` are from :func:`to_histories`.
    """
    types = None if are_histories else len(lookups.types)
    schema = ", ".join((SEQUENCE_SCHEMA, BAG_SCHEMA, FEATURE_SCHEMA, COUNTED_SCHEMA))
    shared = events.sparkSession.sparkContext.broadcast(lookups)
    make = functools.partial(_rows_of_task, types, user_rows, shared, settings)
    return events.mapInArrow(make, f"user_id STRING, {schema}")


def to_sequences(narrow: DataFrame, lookups: Lookups, settings: RowSettings) -> DataFrame:
    """One row a user with the arrays of its sequence alone; see :func:`to_user_rows`."""
    shared = narrow.sparkSession.sparkContext.broadcast(lookups)
    make = functools.partial(_rows_of_task, len(lookups.types), sequence_rows, shared, settings)
    return narrow.mapInArrow(make, f"user_id STRING, {SEQUENCE_SCHEMA}")


def to_counts(histories: DataFrame, count: MakeCounts, more: object) -> DataFrame:
    """Counts over all users: kind, field, code, price, users, events.

    Args:
        histories: See :func:`to_histories`.
        count: Rows of ``COUNT_SCHEMA`` from the users of a task and `more`.
        more: What it needs; sent to each worker once.
    """
    shared = histories.sparkSession.sparkContext.broadcast(more)
    return (
        histories.mapInArrow(functools.partial(_counts_of_task, count, shared), COUNT_SCHEMA)
        .groupBy("kind", "field", "code", "price")
        .agg(F.sum("users").alias("users"), F.sum("events").alias("events"))
    )


def _rows_of_task(
    types: int | None,
    rows: MakeRows,
    shared: Broadcast[Lookups],
    settings: RowSettings,
    batches: Batches,
) -> Iterator[pa.RecordBatch]:
    """Rows of users from events of so many types, or from histories where `types` is None."""
    parts = read_rows(batches) if types is None else gather(batches, types)
    return rows(parts, shared.value, settings)


def _counts_of_task(
    count: MakeCounts, shared: Broadcast[object], batches: Batches
) -> Iterator[pa.RecordBatch]:
    return count(read_rows(batches), shared.value)
