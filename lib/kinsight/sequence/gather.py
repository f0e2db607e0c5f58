"""The one shuffle of the stage: the events of each user brought together, as narrow rows."""

from __future__ import annotations

import dataclasses
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
    history_rows,
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

Batches = Iterable[pa.RecordBatch]
Parts = Iterable[Histories]
ReadParts = Callable[[Batches], Iterator[Histories]]
MakeRows = Callable[[Parts, Any], Iterator[pa.RecordBatch]]


@dataclasses.dataclass(frozen=True)
class UserEvents:
    """Rows of which a task holds all events of its users, and how it reads them.

    Attributes:
        rows: The rows.
        read: From their Arrow batches to histories.
    """

    rows: DataFrame
    read: ReadParts

    def as_histories(self, keep: Callable[[DataFrame], DataFrame]) -> UserEvents:
        """The same as one row a user with arrays, for whoever reads them several times.

        Args:
            keep: Persists a frame.
        """
        return UserEvents(keep(self._made(history_rows, None, HISTORY_SCHEMA)), read_rows)

    def to_user_rows(self, lookups: Lookups, settings: RowSettings) -> DataFrame:
        """One row a user with all that the stage publishes of it.

        Args:
            lookups: What products and types are.
            settings: The date.
        """
        schema = ", ".join((SEQUENCE_SCHEMA, BAG_SCHEMA, FEATURE_SCHEMA, COUNTED_SCHEMA))
        rows = functools.partial(user_rows, settings=settings)
        return self._made(rows, lookups, f"user_id STRING, {schema}")

    def to_sequences(self, lookups: Lookups, settings: RowSettings) -> DataFrame:
        """One row a user with the arrays of its sequence alone; see :meth:`to_user_rows`."""
        rows = functools.partial(sequence_rows, settings=settings)
        return self._made(rows, lookups, f"user_id STRING, {SEQUENCE_SCHEMA}")

    def to_counts(self, count: MakeRows, more: object) -> DataFrame:
        """Counts over all users: kind, field, code, price, users, events.

        Args:
            count: Rows of ``COUNT_SCHEMA`` from the users of a task and `more`.
            more: What it needs.
        """
        return (
            self._made(count, more, COUNT_SCHEMA)
            .groupBy("kind", "field", "code", "price")
            .agg(F.sum("users").alias("users"), F.sum("events").alias("events"))
        )

    def _made(self, make: MakeRows, more: object, schema: str) -> DataFrame:
        """Rows made of the histories of each task and of `more`, a broadcast."""
        shared = self.rows.sparkSession.sparkContext.broadcast(more)
        return self.rows.mapInArrow(
            functools.partial(_rows_of_task, self.read, make, shared), schema
        )


def tasks_for(events: int, least: int) -> int:
    """Tasks, and files of every output, for so many events."""
    return max(least, -(-events // EVENTS_A_TASK))


def narrow_events(numbered: DataFrame, types: Sequence[str], tasks: int) -> UserEvents:
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
    rows = slim.select(*EVENT_COLUMNS).repartition(tasks, "user_id")
    return UserEvents(rows, functools.partial(gather, types=len(types)))


def _rows_of_task(
    read: ReadParts, make: MakeRows, shared: Broadcast[Any], batches: Batches
) -> Iterator[pa.RecordBatch]:
    return make(read(batches), shared.value)
