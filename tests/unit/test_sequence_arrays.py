"""Arrays from sorted events, however the events are cut into Arrow batches."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.sequence import arrays
from kinsight.sequence.arrays import ARRAY_COLUMNS, arrays_of_batches

START = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)


def events_of(lengths: list[int]) -> pa.RecordBatch:
    rows = [
        {
            "user_id": f"u{user}",
            "place": 1 + place,
            "events_total": length + user,
            "event_time": START + dt.timedelta(hours=place),
            **{name: 100 * user + 10 * place + n for n, name in enumerate(ARRAY_COLUMNS)},
        }
        for user, length in enumerate(lengths)
        for place in range(length)
    ]
    whole = [(name, pa.int32()) for name in ARRAY_COLUMNS[:-1]]
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("place", pa.int32()),
            ("events_total", pa.int64()),
            ("event_time", pa.timestamp("us", "UTC")),
            *whole,
            (ARRAY_COLUMNS[-1], pa.int64()),
        ]
    )
    return pa.RecordBatch.from_pylist(rows, schema)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    batch_rows=st.integers(1, 9),
    chunk_events=st.integers(1, 12),
)
def test_users_may_span_batches(lengths: list[int], batch_rows: int, chunk_events: int) -> None:
    events = events_of(lengths)
    batches = [events.slice(at, batch_rows) for at in range(0, events.num_rows, batch_rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "CHUNK_EVENTS", chunk_events)
        made = pa.Table.from_batches(list(arrays_of_batches(batches))).to_pylist()
    assert [row["user_id"] for row in made] == [f"u{user}" for user in range(len(lengths))]
    for user, (row, length) in enumerate(zip(made, lengths, strict=True)):
        assert (row["length"], row["events_total"]) == (length, length + user)
        assert row["first_event_time"] == START
        assert row["last_event_time"] == START + dt.timedelta(hours=length - 1)
        for n, name in enumerate(ARRAY_COLUMNS):
            assert row[name] == [100 * user + 10 * place + n for place in range(length)]


def test_no_events_give_no_rows() -> None:
    assert list(arrays_of_batches([])) == []
    assert list(arrays_of_batches([events_of([])])) == []
