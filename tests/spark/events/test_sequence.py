"""Stage `sequence`: what it writes equals a plain Python reference, whatever the partitioning."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight import lookup
from kinsight.errors import IntegrityError, RefusedError
from kinsight.runs import StageSummary
from kinsight.sequence import job, linking
from kinsight.sequence.job import run_sequence
from kinsight.sequence.products import distinct_products, find_products
from kinsight.sequence.vocabulary import read_vocabulary
from kinsight.sequence.window import (
    count_window,
    cut_hot_users,
    events_by_user,
    hot_user_thresholds,
)
from kinsight.spark import ARROW_ROWS, arrow_batches
from kinsight.workspace import Workspace
from tests.comparison import assert_same_tables, rows_of
from tests.conftest import open_test_workspace
from tests.planting import day, publish
from tests.sequence_reference import Expected, expect

OUTPUTS = ("vocabularies", "sequences", "user_features", "user_bags")
ZONE = "America/New_York"
DATE = "2024-03-15"
SETTINGS = {
    "lookback_days": 10,
    "max_length": 12,
    "hot_user_events": 40,
    "vocabulary_size": 9,
    "price_buckets": 4,
    "hash_buckets": 16,
    "category_shares": 2,
    "crosses": ["brand_in_category", "price_in_category", "price_in_category_1", "price_in_brand"],
}
CLOCK = ((6, 59), (7, 0))
Rows = list[dict[str, Any]]


def event(user: str, when: dt.datetime, number: int = 0, **values: Any) -> dict[str, Any]:
    row = {
        "user_id": user,
        "event_time": when,
        "event_id": f"{user}-{when:%Y%m%dT%H%M%S}-{number}",
        "event_type": "purchase",
        "item_id": "apple",
        "category": None,
        "brand": None,
        "price": 1.0,
        "quantity": 1.0,
        "session_id": f"{user}-{when:%Y%m%d}",
        "channel": None,
        "country": None,
        "source_file_id": "planted",
    } | values
    return row | {"event_date": row["event_time"].astimezone(dt.timezone.utc).date()}


def item(item_id: str, **values: Any) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "valid_from": dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc),
        "category": None,
        "brand": None,
        "title": None,
        "price": None,
        "attributes": None,
        "content_vector": None,
        "source_file_id": "planted",
    } | values


def link(anonymous_id: str, user_id: str, known_from: dt.datetime, **values: Any) -> dict[str, Any]:
    return {
        "anonymous_id": anonymous_id,
        "user_id": user_id,
        "known_from": known_from,
        "valid_from": day("1970-01-01"),
        "valid_to": None,
        "source_file_id": "planted",
    } | values


def random_shop(seed: int, users: int = 14, events: int = 420) -> tuple[Rows, Rows]:
    """Events with ties, gaps of every kind, one hot user, and dates on both sides of the window."""
    rng = random.Random(seed)
    first = dt.datetime(2024, 3, 4, tzinfo=dt.timezone.utc)
    moments = [first + dt.timedelta(minutes=rng.randrange(13 * 1440)) for _ in range(120)]
    # New York, Sunday 2024-03-10: 01:59 is followed by 03:00.
    rows = [event("clock", dt.datetime(2024, 3, 10, *t, tzinfo=dt.timezone.utc)) for t in CLOCK]
    for number in range(events):
        user = "hot" if rng.random() < 0.2 else f"user {rng.randrange(users)}"
        rows.append(
            event(
                user,
                rng.choice(moments),
                number=rng.randrange(10**9),
                event_type=rng.choice(["purchase", "purchase", "return", "view", f"odd {number}"]),
                item_id=rng.choice([None, *(f"item {i}" for i in range(15))]),
                category=rng.choice([None, None, None, "food", "food > fruit > apples"]),
                brand=rng.choice([None, None, "own", "rare" if rng.random() < 0.05 else "good"]),
                price=rng.choice([None, 0.0, round(rng.lognormvariate(1, 1), 2), 2.5]),
                quantity=rng.choice([None, 0.0, 1.0, 2.0, 0.355]),
                session_id=f"session {rng.randrange(60)}",
            )
        )
    items = [
        item(
            f"item {i}",
            valid_from=day("1970-01-01") if revision == 0 else rng.choice(moments),
            category=rng.choice([None, ["food"], ["food", f"aisle {i % 4}"], [None, "x"]]),
            brand=rng.choice([None, f"brand {i % 3}"]),
            title=rng.choice([None, f"Item {i}, revision {revision}"]),
        )
        for i in range(12)
        for revision in range(rng.randrange(1, 3))
    ]
    return rows, items


def planted(
    spark: SparkSession, root: Path, events: Rows, items: Rows, **settings: Any
) -> Workspace:
    workspace = open_test_workspace(spark, root, shop_timezone=ZONE, sequence=SETTINGS | settings)
    publish(workspace, "ingest", {"events": events, "items": items})
    return workspace


def sequence(workspace: Workspace, date: str = DATE, **options: Any) -> StageSummary:
    return run_sequence(workspace, workspace.as_of(date), **options)


@pytest.fixture(scope="module")
def shop() -> tuple[Rows, Rows]:
    return random_shop(seed=5)


@pytest.fixture(scope="module")
def published(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, shop: tuple[Rows, Rows]
) -> tuple[Workspace, StageSummary, Expected]:
    """A random shop, sequenced once, with what the reference expects."""
    workspace = planted(spark, tmp_path_factory.mktemp("random") / "warehouse", *shop)
    summary = sequence(workspace)
    expected = expect(*shop, workspace.as_of(DATE), workspace.config.sequence)
    return workspace, summary, expected


def read(workspace: Workspace, table: str, key: str = "user_id") -> dict[Any, dict[str, Any]]:
    rows = workspace.tables.read(table).collect()
    return {tuple(r[c] for c in key.split(",")): r.asDict(recursive=True) for r in rows}


def same(found: Any, expected: Any) -> bool:
    """Equality of the reference's values: times as instants, numbers to nine digits."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same(found[k], v) for k, v in expected.items()
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, rel=1e-9, abs=1e-9))
    if isinstance(expected, dt.datetime) and found.tzinfo is None:
        found = found.astimezone(dt.timezone.utc)
    return bool(found == expected)


def assert_equals_reference(workspace: Workspace, table: str, expected: Rows, key: str) -> None:
    found = read(workspace, table, key)
    assert found.keys() == {tuple(row[c] for c in key.split(",")) for row in expected}
    for row in expected:
        other = found[tuple(row[c] for c in key.split(","))]
        wrong = {c: (other[c], v) for c, v in row.items() if not same(other[c], v)}
        assert not wrong, f"{table} {row[key.split(',')[0]]}: found, expected: {wrong}"


@pytest.mark.parametrize("table", OUTPUTS)
def test_every_table_equals_the_plain_python_reference(
    published: tuple[Workspace, StageSummary, Expected], table: str
) -> None:
    workspace, _, expected = published
    key = "field,token" if table == "vocabularies" else "user_id"
    assert_equals_reference(workspace, table, getattr(expected, table), key)


def test_the_run_counts_what_it_saw_and_cut(
    published: tuple[Workspace, StageSummary, Expected], shop: tuple[Rows, Rows]
) -> None:
    workspace, summary, expected = published
    as_of = workspace.as_of(DATE)
    start = as_of.days_before(10).instant
    in_window = [e for e in shop[0] if start <= e["event_time"] < as_of.instant]
    of_hot = sum(e["user_id"] == "hot" for e in in_window)
    assert summary.counts["events_in_window"] == len(in_window) < len(shop[0])
    assert summary.counts["users"] == len(expected.sequences)
    assert (summary.counts["hot_users"], summary.counts["events_cut_by_cap"]) == (1, of_hot - 40)
    assert f"the largest has {of_hot}" in summary.warnings[0]
    assert summary.counts["events_truncated"] == sum(
        s["events_total"] - s["length"] for s in expected.sequences
    )
    assert summary.counts["unknown_tokens"] > 0


def test_hours_follow_the_clocks_of_the_shop_across_the_change_to_summer_time(
    published: tuple[Workspace, StageSummary, Expected],
) -> None:
    sunday = 1 + 24 * 6
    row = read(published[0], "sequences")["clock",]
    assert row["hour_of_week"] == [sunday + 1, sunday + 3]


def test_shares_add_up_to_one(published: tuple[Workspace, StageSummary, Expected]) -> None:
    workspace, _, _ = published
    parts = ("morning_share", "afternoon_share", "evening_share", "night_share")
    for row in read(workspace, "user_features").values():
        assert sum(row[p] for p in parts) == pytest.approx(1)
        assert sum(row["hour_shares"]) == pytest.approx(1)
        assert sum(row["weekday_shares"]) == pytest.approx(1)
        assert sum(row["type_shares"].values()) == pytest.approx(1)


def test_sequences_are_written_in_several_files_sorted_by_user(
    spark: SparkSession, published: tuple[Workspace, StageSummary, Expected]
) -> None:
    workspace, _, _ = published
    rows = workspace.tables.read("sequences").select("user_id", F.input_file_name()).collect()
    files: dict[str, list[str]] = {}
    for user, file in rows:
        files.setdefault(file, []).append(user)
    partitions = int(str(spark.conf.get("spark.sql.shuffle.partitions")))
    assert 1 < len(files) <= partitions, "one a shuffle partition"
    assert all(users == sorted(users) for users in files.values())


@pytest.fixture
def other_plans(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another number of partitions, and shuffles where small tables are broadcast elsewhere."""
    others = {"spark.sql.shuffle.partitions": "3", "spark.sql.autoBroadcastJoinThreshold": "-1"}
    before = {name: str(spark.conf.get(name)) for name in others}
    monkeypatch.setattr(job, "BROADCAST_PRODUCTS", 0)
    monkeypatch.setattr(linking, "BROADCAST_SPANS", 0)
    for name, value in others.items():
        spark.conf.set(name, value)
    yield
    for name, value in before.items():
        spark.conf.set(name, value)


@pytest.mark.usefixtures("other_plans")
def test_neither_order_nor_partitioning_nor_clicks_before_a_login_change_anything(
    spark: SparkSession,
    tmp_path: Path,
    published: tuple[Workspace, StageSummary, Expected],
    shop: tuple[Rows, Rows],
) -> None:
    events, items = (random.Random(1).sample(rows, len(rows)) for rows in shop)
    login, visitors = day("2024-03-09"), ("user 3", "user 5", "hot")
    before = [e["user_id"] in visitors and e["event_time"] < login for e in events]
    split = [
        e | {"user_id": f"cookie of {e['user_id']}"} if anonymous else e
        for e, anonymous in zip(events, before, strict=True)
    ]
    other = planted(spark, tmp_path / "warehouse", split, items)
    logins = [link(f"cookie of {u}", u, login + dt.timedelta(n)) for u in visitors for n in (0, 2)]
    publish(other, "ingest", {"events": [], "items": [], "identities": logins})
    counts = sequence(other).counts
    assert_same_tables(published[0], other, OUTPUTS)
    in_window = [e for e, anonymous in zip(split, before, strict=True) if anonymous]
    instant = other.as_of(DATE).days_before(SETTINGS["lookback_days"]).instant
    expected = sum(e["event_time"] >= instant for e in in_window)
    assert (counts["anonymous_ids_linked"], counts["events_reattributed"]) == (3, expected)


def test_late_events_leave_a_published_date_alone_until_the_latest_input_is_asked_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    workspace = planted(
        spark,
        tmp_path / "warehouse",
        [event(u, day("2024-03-08"), i) for u in "ab" for i in range(3)],
        [item("apple", title="Apple", category=["fruit"])],
    )
    first = sequence(workspace)
    before = {table: rows_of(workspace.tables.read(table)) for table in OUTPUTS}
    late = [event("a", day("2024-03-07"), 9), event("late", day("2024-03-07"))]
    publish(
        workspace,
        "ingest",
        {
            "events": late,
            "items": [item("apple", title="Pomme", valid_from=day("2024-02-01"))],
            "identities": [link("b", "a", day("2024-03-08"))],
        },
    )

    again = sequence(workspace)
    assert again.producer == first.producer
    assert {table: rows_of(workspace.tables.read(table)) for table in OUTPUTS} == before

    renewed = sequence(workspace, latest_input=True)
    assert renewed.counts["users"] == 2, "b turned out to be a, and there is one who came late"
    assert renewed.producer == first.producer, "a published vocabulary stays as it is"


def test_of_rows_of_an_item_from_the_same_time_that_of_the_newest_file_counts(
    spark: SparkSession,
) -> None:
    events = spark.createDataFrame(
        [("apple", None, None, "view", 1.0)],
        "item_id STRING, category STRING, brand STRING, event_type STRING, price DOUBLE",
    )
    rows = [
        (f"2024030{number}T000000-f", "apple", day(valid_from), category, brand, title)
        for number, valid_from, category, brand, title in (
            (1, "1970-01-01", ["zoo"], "Zeus", "Zebra"),
            (3, "1970-01-01", ["fruit"], None, "Apple"),
            (3, "1970-01-01", ["fruit"], None, "Aple"),
            (2, "1970-01-01", ["home"], "Young", "Yarn"),
            (4, "2024-03-20", ["later"], "later", "later"),
        )
    ]
    items = spark.createDataFrame(
        rows,
        "source_file_id STRING, item_id STRING, valid_from TIMESTAMP, category ARRAY<STRING>, "
        "brand STRING, title STRING",
    )
    (product,) = find_products(distinct_products(events), items, day(DATE)).collect()
    assert (product["path"], product["brand"], product["title"]) == (["fruit"], None, "Apple")


def test_a_user_with_more_events_than_the_cap_keeps_exactly_the_latest(
    spark: SparkSession, tmp_path: Path
) -> None:
    moment = day("2024-03-08")
    rows = [
        event(user, moment, number, price=float(number))
        for user, events in (("at the cap", 10), ("over the cap", 12))
        for number in range(events)
    ]
    workspace = planted(spark, tmp_path / "warehouse", rows, [], hot_user_events=10)
    summary = sequence(workspace)
    users = read(workspace, "user_features")
    assert {user: row["events"] for (user,), row in users.items()} == {
        "at the cap": 10,
        "over the cap": 10,
    }
    assert not users["at the cap",]["is_hot"]
    assert users["over the cap",]["is_hot"]
    assert summary.counts["events_cut_by_cap"] == 2
    kept = sorted((r for r in rows if r["user_id"] == "over the cap"), key=lambda r: r["event_id"])
    prices = [row["price"] for row in kept[-10:]]
    assert users["over the cap",]["monetary"] == sum(prices), "ties of time are cut by event id"


def test_hot_users_of_any_pace_keep_their_latest_events(spark: SparkSession) -> None:
    instant, cap, lookback_days = day("2024-03-15", 0), 10, 400
    paces = {"minutes": 1 / 1440, "half days": 0.5, "days": 1, "weeks": 7, "months": 30}
    moments = [(user, instant - dt.timedelta(days=pace * n)) for user, pace in paces.items()
               for n in range(1, 31)]  # fmt: skip
    moments += [("few", instant - dt.timedelta(days=n)) for n in range(1, cap + 1)]
    rows = [(user, when, f"{number:03d}", "file") for number, (user, when) in enumerate(moments)]
    window = spark.createDataFrame(
        rows, "user_id STRING, event_time TIMESTAMP, event_id STRING, source_file_id STRING"
    )
    by_user = events_by_user(window, instant, lookback_days, cap)
    counts = count_window(by_user, cap)
    assert (counts.hot_users, counts.events_cut) == (5, 5 * 20)
    assert counts.hot_days == lookback_days + 1, "ten months are more than 256 days"
    assert {r["user_id"]: r["days"] for r in by_user.collect() if r["user_id"] in paces} == {
        "minutes": 1, "half days": 16, "days": 16, "weeks": 256, "months": lookback_days + 1,
    }  # fmt: skip
    thresholds = hot_user_thresholds(window, by_user, instant, counts.hot_days, cap)
    kept = cut_hot_users(window, thresholds).select("user_id", "event_id").collect()
    expected = [(user, event_id) for user, _, event_id, _ in rows if int(event_id) % 30 < cap]
    assert sorted(map(tuple, kept)) == sorted(expected)


def test_a_cap_between_two_rows_of_one_id_from_two_files_keeps_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Two overlapping exports hold the same row, and made ids are unique within a file only."""
    moment = day("2024-03-08")
    rows = [event("twice", moment, n, source_file_id=f) for n in range(8) for f in ("one", "two")]
    workspace = planted(spark, tmp_path / "warehouse", rows, [], hot_user_events=11)
    summary = sequence(workspace)
    assert summary.counts["events_cut_by_cap"] == 5
    assert read(workspace, "user_features")["twice",]["events"] == 11


def test_sequences_are_read_by_their_name(
    published: tuple[Workspace, StageSummary, Expected],
) -> None:
    workspace, summary, _ = published
    assert summary.producer["category_level"] == ["leaf"]
    rows = lookup.published(workspace, "sequences", DATE)
    assert rows.count() == summary.counts["users"]


def test_a_vocabulary_that_is_gone_is_an_error_and_not_all_unknown(
    published: tuple[Workspace, StageSummary, Expected],
) -> None:
    table = published[0].tables.read("vocabularies")
    with pytest.raises(IntegrityError, match="not in table vocabularies"):
        read_vocabulary(table, "v2024-03-15-lost")


def test_batches_of_events_leave_the_sessions_setting_as_it_was(spark: SparkSession) -> None:
    before = spark.conf.get(ARROW_ROWS)
    with arrow_batches(spark, 77):
        assert spark.conf.get(ARROW_ROWS) == "77"
    assert spark.conf.get(ARROW_ROWS) == before


def test_a_shop_of_one_user_and_one_item_without_category_brand_or_price(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [event("only", day("2024-03-08"), n, price=None, quantity=None) for n in range(3)]
    workspace = planted(spark, tmp_path / "warehouse", rows, [])
    sequence(workspace)
    row = read(workspace, "sequences")["only",]
    assert row["item"] == row["category"] == row["brand"] == row["price"] == [1, 1, 1]
    assert row["event_type"] == [2, 2, 2]
    assert read(workspace, "user_features")["only",]["category_shares"] == {}


def plant_model(
    workspace: Workspace, version: str, date: str, vocabulary: str, status: str
) -> None:
    row = {
        "model_version": version,
        "encoder": "gru",
        "objective": "next_item",
        "config": "{}",
        "config_hash": "0",
        "vocabulary_version": vocabulary,
        "dimension": 4,
        "parameters": 1,
        "users_trained": 1,
        "users_held_out": 1,
        "training_table_version": 1,
        "metrics": {},
        "artifact_path": "nowhere",
        "sha256": "0",
        "status": status,
        "created_at": day(date),
    }
    publish(
        workspace,
        "train",
        {"models": [row]},
        as_of=date,
        producer={"model_version": [version]},
        key={"model_version": version},
    )


def test_a_date_uses_the_newest_models_vocabulary_else_the_newest_one_never_a_later_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [
        event(user, day(f"2024-03-{d:02}"), item_id=f"item {d}")
        for user in "ab"
        for d in (4, 9, 19, 24, 25)
    ]
    workspace = planted(spark, tmp_path / "warehouse", rows, [])

    def version(date: str, **options: bool) -> str:
        summary = sequence(workspace, date, **options)
        [made] = summary.producer["vocabulary_version"]
        found = workspace.log.newest(
            "vocabularies", as_of=dt.date.fromisoformat(date), producer={"vocabulary_version": made}
        )
        assert found is not None
        table = workspace.tables.read("vocabularies", found.version)
        assert table.where(F.col("vocabulary_version") == made).count() > 0
        return made

    middle = version("2024-03-10")
    assert middle.startswith("v2024-03-10-")
    assert version("2024-03-20") == middle, "the newest vocabulary that is not later"
    earlier = version("2024-03-05")
    assert earlier.startswith("v2024-03-05-"), "a later vocabulary is never used"
    late = version("2024-03-25", new_vocabulary=True)
    assert late.startswith("v2024-03-25-")
    plant_model(workspace, "old", "2024-03-12", middle, "ready")
    plant_model(workspace, "broken", "2024-03-13", late, "retired")
    assert version("2024-03-26") == middle, "the newest ready model's, though a newer one exists"

    unknown = workspace.tables.read("sequences").where("as_of = DATE '2024-03-26'").first()
    assert unknown is not None
    assert unknown["item"][-1] == 1, "an item that came after the vocabulary was made"
    plant_model(workspace, "wrong", "2024-03-14", late, "ready")
    with pytest.raises(IntegrityError, match="cannot be used as of 2024-03-20"):
        sequence(workspace, "2024-03-20")


def test_a_run_killed_after_its_vocabulary_and_started_again_ends_the_same(
    spark: SparkSession,
    tmp_path: Path,
    published: tuple[Workspace, StageSummary, Expected],
    shop: tuple[Rows, Rows],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = planted(spark, tmp_path / "warehouse", *shop)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "_write_outputs", die)
        with pytest.raises(KeyboardInterrupt):
            sequence(workspace)
    assert workspace.tables.read("vocabularies").count() > 0
    assert workspace.log.newest("vocabularies") is None, "nothing is published by a killed run"
    sequence(workspace)
    assert_same_tables(published[0], workspace, OUTPUTS)


@pytest.mark.parametrize(
    ("date", "found"),
    [
        ("2024-01-01", "events from 2024-03-01 12:00 to 2024-03-20 12:00"),
        ("2024-08-01", "events from 2024-03-01 12:00 to 2024-03-20 12:00"),
    ],
)
def test_a_date_without_events_in_reach_is_refused_with_the_dates_that_have_some(
    spark: SparkSession, tmp_path: Path, date: str, found: str
) -> None:
    rows = [event("u", day("2024-03-01")), event("v", day("2024-03-20"))]
    workspace = planted(spark, tmp_path / "warehouse", rows, [])
    with pytest.raises(RefusedError, match=found):
        sequence(workspace, date)
    assert workspace.log.newest("sequences") is None


def test_without_ingest_the_run_is_refused(workspace: Callable[..., Workspace]) -> None:
    with pytest.raises(RefusedError, match="run `kinsight ingest` first"):
        sequence(workspace())
