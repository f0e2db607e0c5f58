"""Histories from the events of a task: order, batches, chunks, and the shop's clock."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.sequence.executor import histories
from kinsight.sequence.executor.clock import local_times
from kinsight.sequence.executor.counts import count_pairs
from kinsight.sequence.executor.histories import (
    EVENT_COLUMNS,
    LISTS,
    gather,
    history_rows,
    read_rows,
)
from kinsight.sequence.executor.lookups import price_indices

TYPES = 3
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        *((name, LISTS.get(name, pa.int64())) for name in EVENT_COLUMNS[1:]),
    ]
)

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["anna", "bob", "änne", "z"]),
        st.sampled_from([0, 1, 10**15, 10**15 + 1]),
        st.integers(TYPES, 3 * TYPES),
        st.sampled_from([None, 0.0, 2.5]),
        st.sampled_from([None, 1.0]),
        st.integers(-(2**63), 2**63 - 1),
    ),
    min_size=1,
    max_size=40,
)


def batch(events: list[tuple[object, ...]]) -> pa.RecordBatch:
    rows = [dict(zip(EVENT_COLUMNS, event, strict=True)) for event in events]
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def in_order(events: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    def place(event: tuple[object, ...]) -> tuple[object, ...]:
        user, micros, kind, price, quantity, session = event
        last = float("inf")  # unknown numbers come last
        numbers = (last if value is None else value for value in (price, quantity))
        return (str(user).encode(), micros, kind, *numbers, session)

    return sorted(events, key=place)


@settings(deadline=None)
@given(EVENTS, st.integers(1, 7), st.integers(1, 12), st.randoms(use_true_random=False))
def test_histories_are_in_order_however_events_come(
    events: list[tuple[object, ...]], rows: int, chunk: int, rng: object
) -> None:
    shuffled = list(events)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # random.Random
    whole = batch(shuffled)
    batches = [whole.slice(at, rows) for at in range(0, whole.num_rows, rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories, "CHUNK_EVENTS", chunk)
        made = list(history_rows(gather(batches, TYPES)))
        again = list(read_rows(made))
    found = []
    for part in again:
        assert (part.length > 0).all()
        columns = [getattr(part, name) for name in LISTS]
        users = part.users.take(pa.array(part.user)).to_pylist()
        for user, *values in zip(users, *(column.tolist() for column in columns), strict=True):
            found.append((user, *(None if v != v else v for v in values)))
    expected = [
        (user, micros, kind // TYPES, kind % TYPES, *others)  # type: ignore[operator]  # integers
        for user, micros, kind, *others in in_order(events)
    ]
    assert found == expected
    users = [user for part in made for user in part["user_id"].to_pylist()]
    assert len(users) == len(set(users)), "a user is in one row"


def test_a_window_too_wide_for_one_key_is_sorted_all_the_same() -> None:
    events = [("a", 2**61, 3, None, None, 0), ("b", -(2**61), 3, None, None, 0)]
    events += [("a", -(2**61), 6, None, None, 0), ("b", 5, 6, None, None, 0)]
    [part] = gather([batch(list(reversed(events)))], TYPES)
    assert part.micros.tolist() == [-(2**61), 2**61, -(2**61), 5]


def test_an_empty_task_has_no_histories() -> None:
    assert list(gather([], TYPES)) == []
    assert list(gather([batch([])], TYPES)) == []


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_the_shops_clock_is_that_of_zoneinfo(zone: str) -> None:
    rng = np.random.default_rng(1)
    micros = rng.integers(1_577_836_800, 1_735_689_600, 20_000) * 1_000_000 + 999_999
    found = local_times(micros, zone)
    for place in range(0, len(micros), 7):
        moment = dt.datetime.fromtimestamp(int(micros[place]) // 1_000_000, ZoneInfo(zone))
        assert found.hour[place] == moment.hour
        assert found.weekday[place] == moment.weekday()
        assert found.day[place] == (moment.date() - dt.date(1970, 1, 1)).days


def test_pairs_are_counted_like_numpy_counts_them() -> None:
    rng = np.random.default_rng(2)
    user, code, odd = (rng.integers(0, n, 5_000) for n in (40, 300, 2))
    counts = count_pairs(user, code, np.ones(5_000, np.int64), odd)
    pairs, times = np.unique(np.stack([user, code]), axis=1, return_counts=True)
    assert np.array_equal(np.stack([counts.user, counts.code]), pairs)
    assert np.array_equal(counts.events, times)
    assert counts.odd.sum() == odd.sum()


def test_a_price_on_an_edge_belongs_below_it() -> None:
    price = np.array([np.nan, 0.0, 0.5, 1.0, 1.01, 9.0])
    assert price_indices(price, [1.0, 2.0]).tolist() == [1, 1, 2, 2, 3, 4]
    assert price_indices(price, None).tolist() == [1] * 6
