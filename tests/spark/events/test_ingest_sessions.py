"""Sessions and event ids: equal however the events were cut into files and partitions."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.ingest.batch import Batch, Tally
from kinsight.ingest.files import SourceFile
from kinsight.ingest.identity import (
    IS_REPEATED,
    is_identical,
    suspects,
    with_event_ids,
    with_repetitions,
)
from kinsight.ingest.output import complete_events, split_repeated
from kinsight.ingest.sessions import with_sessions
from kinsight.spark import kept_frames
from tests.comparison import rows_of

START = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
GAP = 30
SCHEMA = (
    "user_id STRING, event_time TIMESTAMP, event_type STRING, item_id STRING, category STRING, "
    "brand STRING, price DOUBLE, quantity DOUBLE, session_id STRING, channel STRING, "
    "country STRING, event_id STRING, source_file_id STRING"
)


def events(
    spark: SparkSession, rows: list[tuple[str, float, str | None, str | None, str]]
) -> DataFrame:
    """Events from (user, minutes since START, session, event id, file)."""
    return spark.createDataFrame(
        [
            (
                user,
                START + dt.timedelta(minutes=minutes),
                "view",
                "item",
                *[None] * 4,
                session,
                None,
                None,
                event_id,
                file,
            )
            for user, minutes, session, event_id, file in rows
        ],
        SCHEMA,
    )


def drawn(users: int, seed: int) -> list[tuple[str, float, str | None, str | None, str]]:
    """Visits of users over four days; some events with a mapped session, some at one moment."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, float, str | None, str | None, str]] = []
    for user in range(users):
        gaps = rng.choice([0, 1, 10, 29.5, 30, 30.5, 200, 1500], 25)
        for minutes in np.cumsum(gaps):
            mapped = "basket" if rng.random() < 0.2 else None
            rows.append((f"u{user}", float(minutes), mapped, None, "file"))
    return rows


def expected_starts(rows: list[tuple[str, float, str | None, str | None, str]]) -> list[float]:
    """Start of the session of each row without a mapped one, in the order of user and time."""
    starts: list[float] = []
    last: dict[str, tuple[float, float]] = {}
    for user, minutes, session, *_ in sorted(rows, key=lambda row: (row[0], row[1])):
        if session is not None:
            continue
        start, previous = last.get(user, (minutes, minutes))
        start = minutes if minutes - previous > GAP else start
        last[user] = (start, minutes)
        starts.append(start)
    return starts


def stored(frame: DataFrame) -> DataFrame:
    return frame.withColumn("event_date", F.to_date("event_time"))


def test_a_session_ends_after_the_gap_and_is_named_by_user_and_start(spark: SparkSession) -> None:
    rows = drawn(users=20, seed=1)
    seen = with_sessions(events(spark, rows), GAP, None)
    made = seen.where("session_id <> 'basket'").orderBy("user_id", "event_time").collect()
    starts = expected_starts(rows)
    assert len(made) == len(starts)
    sessions = {(row["user_id"], start) for row, start in zip(made, starts, strict=True)}
    assert len({row["session_id"] for row in made}) == len(sessions)
    pairs = {(r["session_id"], r["user_id"], s) for r, s in zip(made, starts, strict=True)}
    assert len(pairs) == len(sessions)


@pytest.mark.parametrize("boundary_minutes", [24 * 60, 36 * 60 + 7])
def test_sessions_over_a_file_boundary_equal_those_of_one_file(
    spark: SparkSession, boundary_minutes: float
) -> None:
    rows = drawn(users=30, seed=2)
    together = with_sessions(events(spark, rows), GAP, None)
    early = [row for row in rows if row[1] < boundary_minutes]
    late = [row for row in rows if row[1] >= boundary_minutes]
    first = with_sessions(events(spark, early), GAP, None)
    second = with_sessions(events(spark, late), GAP, stored(first))
    assert rows_of(first.unionByName(second)) == rows_of(together)


def test_a_late_event_joins_the_stored_session_that_it_leads_to(spark: SparkSession) -> None:
    first = with_sessions(events(spark, [("u", 60, None, None, "a")]), GAP, None)
    late = events(spark, [("u", 40, None, None, "b"), ("u", 0, None, None, "b")])
    (before, joined) = with_sessions(late, GAP, stored(first)).orderBy("event_time").collect()
    assert joined["session_id"] == first.collect()[0]["session_id"] != before["session_id"]


def test_partitions_do_not_matter(spark: SparkSession) -> None:
    frame = events(spark, drawn(users=10, seed=3))
    one, many = (with_sessions(with_event_ids(frame.repartition(n)), GAP, None) for n in (1, 7))
    assert rows_of(one) == rows_of(many)


def test_identical_rows_are_numbered_within_their_file(spark: SparkSession) -> None:
    row = ("u", 0.0, None, None)
    frame = events(
        spark, [(*row, "a"), (*row, "a"), (*row, "a"), (*row, "b"), ("v", 0, *row[2:], "a")]
    )
    seen = with_event_ids(frame)
    base = seen.where("source_file_id = 'b'").collect()[0]["event_id"]
    ids = sorted(
        r["event_id"] for r in seen.where("user_id = 'u' AND source_file_id = 'a'").collect()
    )
    assert ids == [base, f"{base}-2", f"{base}-3"]
    assert seen.where(is_identical()).count() == 2


@pytest.mark.parametrize("broadcast", [True, False])
def test_a_mapped_id_is_kept_once_the_first_by_time_and_path(
    spark: SparkSession, broadcast: bool
) -> None:
    frame = events(
        spark,
        [
            ("u", 5, None, "twice", "a"),
            ("u", 4, None, "twice", "b"),
            ("u", 9, None, "same time", "a"),
            ("u", 9, None, "same time", "b"),
            ("u", 1, None, "stored", "a"),
            ("u", 1, None, "once", "a"),
            ("u", 1, None, None, "a"),
            ("u", 1, None, None, "a"),
        ],
    )
    files = spark.createDataFrame([("a", "/z"), ("b", "/y")], "source_file_id STRING, path STRING")
    old = events(spark, [("x", 0, None, "stored", "c")])
    suspected = suspects(frame, old, broadcast)
    assert sorted(map(tuple, suspected.collect())) == [
        ("same time", False),
        ("stored", True),
        ("twice", False),
    ]
    marked = with_repetitions(frame, files, suspected)
    kept = marked.where(~F.col(IS_REPEATED)).select("event_id", "source_file_id").collect()
    assert sorted(map(tuple, kept)) == [("same time", "b"), ("twice", "b")]
    assert marked.where(IS_REPEATED).count() == 3


def test_rows_are_kept_or_counted_as_repeated(spark: SparkSession) -> None:
    files = [SourceFile("events", "clicks", f"/{n}", f"/{n}", f"file:/{n}", 1, 0) for n in "ab"]
    rows = [
        ("u", n, None, None if n % 3 == 0 else f"id{n % 7}", files[n % 2].id) for n in range(40)
    ]
    new = events(spark, rows)
    mapped = sum(row[3] is not None for row in rows)
    tally = Tally(files[0].id, None, len(rows), mapped)
    before = persisted(spark)
    old = events(spark, [("x", 0, None, "id1", "c")])
    with kept_frames() as keep:
        batch = Batch({file.id: file for file in files}, {}, {"events": [tally]}, {}, keep)
        kept, repeated = split_repeated(spark, batch, new, old)
        ids = [row["event_id"] for row in kept.collect()]
        assert persisted(spark) == before + 2
    assert persisted(spark) == before
    assert ids.count(None) == len(rows) - mapped
    assert sorted(filter(None, ids)) == [f"id{n}" for n in range(7) if n != 1]
    assert len(ids) + sum(repeated.values()) == len(rows)


def persisted(spark: SparkSession) -> int:
    """Frames that Spark holds at the moment."""
    return int(spark.sparkContext._jsc.getPersistentRDDs().size())


@pytest.mark.parametrize(("session", "tasks"), [("s1", 2), (None, 1)])
def test_where_sessions_are_mapped_one_id_is_no_matter_of_one_task(
    spark: SparkSession, session: str | None, tasks: int
) -> None:
    rows = [("guest", float(minute), session, None, "f") for minute in range(50)]
    tally = Tally("f", None, len(rows), without_session=0 if session else len(rows))
    with kept_frames() as keep:
        batch = Batch({}, {}, {"events": [tally]}, {}, keep)
        # Rows stay where they were numbered: without adaptive execution nothing is rebalanced.
        complete = complete_events(events(spark, rows), batch, GAP, None)
        by_task = complete.groupBy(F.spark_partition_id()).count().collect()
    assert len(by_task) == tasks
    assert sum(row["count"] for row in by_task) == len(rows)
