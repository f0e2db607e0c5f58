"""Builds the arrays of ``sequences`` from sorted events, with numpy on Arrow buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

ARRAY_COLUMNS = (
    "item",
    "event_type",
    "category",
    "brand",
    "price",
    "hour_of_week",
    "seconds",
)

SEQUENCE_SCHEMA = (
    "user_id STRING, length INT, events_total BIGINT, "
    "first_event_time TIMESTAMP, last_event_time TIMESTAMP, "
    "item ARRAY<INT>, event_type ARRAY<INT>, category ARRAY<INT>, brand ARRAY<INT>, "
    "price ARRAY<INT>, hour_of_week ARRAY<INT>, seconds ARRAY<BIGINT>"
)

CHUNK_EVENTS = 50_000
"""Events turned into arrays at once: some MB, and far more than one user has."""


def build_sequences(encoded: DataFrame) -> DataFrame:
    """One row a user with equal-length arrays, oldest event first; files sorted by user.

    Args:
        encoded: See :func:`kinsight.sequence.encoding.encode_events`; partitioned by user.
    """
    columns = ("user_id", "age", "events_total", "event_time", *ARRAY_COLUMNS)
    in_order = encoded.select(*columns).sortWithinPartitions("user_id", "age", ascending=[1, 0])
    return in_order.mapInArrow(arrays_of_batches, SEQUENCE_SCHEMA)


def arrays_of_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Turn events into one row a user; the events of a user may span batches.

    Args:
        batches: Events sorted by user and falling age; the age of a user's last event is 1.

    Yields:
        Rows of :data:`SEQUENCE_SCHEMA`.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(part.num_rows for part in waiting) >= CHUNK_EVENTS:
            events = _combine(waiting)
            ends = _user_ends(events)
            if len(ends):
                yield _arrays(events.slice(0, ends[-1]), ends)
                events = events.slice(ends[-1])
            waiting = [events]
    if waiting:
        events = _combine(waiting)
        if events.num_rows:
            yield _arrays(events, _user_ends(events))


def _combine(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _user_ends(events: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each user's events end (exclusive): after the one of age 1."""
    return np.flatnonzero(events.column("age").to_numpy() == 1) + 1


def _arrays(
    events: pa.RecordBatch, ends: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> pa.RecordBatch:
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    first, last = pa.array(offsets[:-1]), pa.array(offsets[1:] - 1)
    columns = {
        "user_id": events.column("user_id").take(last),
        "length": pa.array(np.diff(offsets)),
        "events_total": events.column("events_total").take(last),
        "first_event_time": events.column("event_time").take(first),
        "last_event_time": events.column("event_time").take(last),
    }
    for name in ARRAY_COLUMNS:
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), events.column(name))
    return pa.RecordBatch.from_pydict(columns)
