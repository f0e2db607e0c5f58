"""Builds the arrays of ``sequences`` from sorted events, with numpy on Arrow buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

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
        encoded: See :func:`kinsight.sequence.encoding.encode_events`.
    """
    oldest_first = Window.partitionBy("user_id").orderBy(F.desc("age"))
    # A window brings users together and sorts them, and costs no shuffle where they already are.
    in_order = encoded.withColumn("place", F.row_number().over(oldest_first))
    columns = ("user_id", "place", "events_total", "event_time", *ARRAY_COLUMNS)
    return in_order.select(*columns).mapInArrow(arrays_of_batches, SEQUENCE_SCHEMA)


def arrays_of_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Turn events into one row a user; the events of a user may span batches.

    Args:
        batches: Events sorted by user and place; the place of a user's first event is 1.

    Yields:
        Rows of :data:`SEQUENCE_SCHEMA`.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(part.num_rows for part in waiting) >= CHUNK_EVENTS:
            events = _combine(waiting)
            starts = _user_starts(events)
            # The last user may go on in the next batch.
            yield from _arrays(events.slice(0, starts[-1]), starts[:-1]).to_batches()
            waiting = events.slice(starts[-1]).to_batches()
    if waiting:
        events = _combine(waiting)
        yield from _arrays(events, _user_starts(events)).to_batches()


def _combine(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).combine_chunks()


def _user_starts(events: pa.Table) -> npt.NDArray[np.int32]:
    """Where each user's events start."""
    return np.flatnonzero(events["place"].to_numpy() == 1).astype(np.int32)


def _arrays(events: pa.Table, starts: npt.NDArray[np.int32]) -> pa.Table:
    offsets = np.append(starts, np.int32(events.num_rows))
    first, last = pa.array(offsets[:-1]), pa.array(offsets[1:] - 1)
    columns = {
        "user_id": events["user_id"].take(last),
        "length": pa.array(np.diff(offsets)),
        "events_total": events["events_total"].take(last),
        "first_event_time": events["event_time"].take(first),
        "last_event_time": events["event_time"].take(last),
    }
    for name in ARRAY_COLUMNS:
        flat = events[name].combine_chunks()
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), flat)
    return pa.Table.from_pydict(columns)
