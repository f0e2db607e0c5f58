"""The events of many users as flat arrays, in the order of each user's history."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[Any]]

LISTS = {
    "micros": pa.int64(),
    "product": pa.int32(),
    "type": pa.int32(),
    "price": pa.float64(),
    "quantity": pa.float64(),
    "session": pa.int64(),
}
"""What is kept of an event: microseconds since 1970 UTC, numbers of its product and type, price and
quantity (NaN where unknown), a hash of its session."""

EVENT_COLUMNS = ("user_id", "micros", "kind", "price", "quantity", "session")
"""What a task is given of each event; ``kind`` is product x types + type. Spark hands each value
of each row to Python one by one, so every column less counts."""

HISTORY_SCHEMA = "user_id STRING, " + ", ".join(
    f"{name} ARRAY<{kind}>"
    for name, kind in zip(
        LISTS, ("BIGINT", "INT", "INT", "DOUBLE", "DOUBLE", "BIGINT"), strict=True
    )
)
"""A row of :func:`history_rows`, as Spark names it."""

CHUNK_EVENTS = 100_000
"""Events worked on at once: some 20 MB of arrays, whatever the size of a task."""


@dataclasses.dataclass(frozen=True)
class Histories:
    """Whole histories of several users, oldest event first.

    Attributes:
        users: User ids, [users], ascending.
        offsets: Where each user's events begin, [users + 1]; every user has at least one.
        micros: [events].
        product: [events].
        type: [events].
        price: [events], NaN where unknown.
        quantity: [events], NaN where unknown.
        session: [events].
    """

    users: pa.Array
    offsets: Ints
    micros: Ints
    product: npt.NDArray[np.int32]
    type: npt.NDArray[np.int32]
    price: Floats
    quantity: Floats
    session: Ints

    def __len__(self) -> int:
        return len(self.users)

    @property
    def length(self) -> Ints:
        """Events of each user, [users]."""
        return np.diff(self.offsets)

    @property
    def user(self) -> Ints:
        """Place of each event's user, [events]."""
        return np.repeat(np.arange(len(self)), self.length)

    def part(self, begin: int, end: int) -> Histories:
        """Some users."""
        cut = slice(int(self.offsets[begin]), int(self.offsets[end]))
        offsets = self.offsets[begin : end + 1] - self.offsets[begin]
        columns = {name: getattr(self, name)[cut] for name in LISTS}
        return Histories(self.users.slice(begin, end - begin), offsets, **columns)

    def chunks(self) -> Iterator[Histories]:
        """All users, in parts of about :data:`CHUNK_EVENTS` events."""
        begin = 0
        while begin < len(self):
            until = self.offsets[begin] + CHUNK_EVENTS
            end = max(begin + 1, int(np.searchsorted(self.offsets, until, side="right")) - 1)
            yield self.part(begin, end)
            begin = end

    def as_rows(self) -> pa.RecordBatch:
        """One row a user, for :data:`HISTORY_SCHEMA`."""
        offsets = pa.array(self.offsets.astype(np.int32))
        lists = [
            pa.ListArray.from_arrays(offsets, pa.array(getattr(self, name), kind))
            for name, kind in LISTS.items()
        ]
        return pa.RecordBatch.from_arrays([self.users, *lists], names=["user_id", *LISTS])


def gather(batches: Iterable[pa.RecordBatch], types: int) -> Iterator[Histories]:
    """The events of a task by user and in order; all that a user has must be in the task.

    Events of equal time have no order of their own: what they say gives one, so that it does not
    depend on how the input was split.

    Args:
        batches: Columns :data:`EVENT_COLUMNS` in any order of rows.
        types: Number of event types.
    """
    parts = list(batches)
    if not sum(part.num_rows for part in parts):
        return
    events = pa.Table.from_batches(parts).combine_chunks()
    del parts
    coded = events["user_id"].combine_chunks().dictionary_encode()
    ranked = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(ranked), np.int64)
    rank[ranked] = np.arange(len(ranked))
    user = rank[coded.indices.to_numpy()]
    columns = {
        name: _numbers(events[name], LISTS.get(name, pa.int64())) for name in EVENT_COLUMNS[1:]
    }
    order = _in_order(user, columns)
    kind = columns.pop("kind")
    columns["product"] = (kind // types).astype(np.int32)
    columns["type"] = (kind % types).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(ranked)))])
    found = {name: values[order] for name, values in columns.items()}
    yield from Histories(coded.dictionary.take(pa.array(ranked)), offsets, **found).chunks()


def read_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[Histories]:
    """Histories from rows of :data:`HISTORY_SCHEMA`."""
    for batch in batches:
        if not batch.num_rows:
            continue
        lists = {name: batch[name] for name in LISTS}
        starts = next(iter(lists.values())).offsets.to_numpy().astype(np.int64)
        columns = {name: _numbers(values.flatten(), LISTS[name]) for name, values in lists.items()}
        yield from Histories(batch["user_id"], starts - starts[0], **columns).chunks()


def history_rows(parts: Iterable[Histories], _: None = None) -> Iterator[pa.RecordBatch]:
    """One row a user, of :data:`HISTORY_SCHEMA`."""
    return (part.as_rows() for part in parts)


def _numbers(values: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> npt.NDArray[Any]:
    """A column as numpy; NaN where a float is null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if values.null_count and pa.types.is_floating(kind):
        values = pc.fill_null(values, float("nan"))
    numbers: npt.NDArray[Any] = values.cast(kind).to_numpy(zero_copy_only=False)
    return numbers


def _in_order(user: Ints, columns: Columns) -> Ints:
    """The order by user, time, and then content."""
    micros = columns["micros"].astype(np.int64)
    first = int(micros.min())
    bits = int(micros.max() - first).bit_length()
    if bits + int(user.max()).bit_length() <= 62:
        key = (user << bits) | (micros - first)
        order: Ints = np.argsort(key, kind="stable")
        key = key[order]
        same = key[1:] == key[:-1]
        tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        if tied.any():
            places = order[tied]
            order[tied] = places[np.lexsort((*_content(columns, places), key[tied]))]
        return order
    of_all: Ints = np.lexsort((*_content(columns, slice(None)), micros, user))
    return of_all


def _content(columns: Columns, places: Ints | slice) -> list[npt.NDArray[Any]]:
    """Keys that order events of equal user and time, the last one first."""
    names = ("session", "quantity", "price", "kind")
    return [columns[name][places] for name in names]
