"""Nothing that happens at or after the as-of instant changes what a date publishes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from kinsight.sequence.job import run_sequence
from kinsight.workspace import Workspace
from tests.comparison import assert_same_tables
from tests.conftest import open_test_workspace
from tests.planting import publish

DATE = "2024-03-15"
SECOND = dt.timedelta(seconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
Rows = list[dict[str, Any]]


def event(user: str, when: dt.datetime, **values: Any) -> dict[str, Any]:
    return {
        "user_id": user,
        "event_time": when,
        "event_id": f"{user}-{when.isoformat()}",
        "event_type": "view",
        "item_id": "old",
        "category": None,
        "brand": None,
        "price": 5.0,
        "quantity": 1.0,
        "session_id": f"{user}-{when.date()}",
        "channel": None,
        "country": None,
        "event_date": when.date(),
        "source_file_id": "planted",
    } | values


def item(item_id: str, valid_from: dt.datetime, category: list[str], title: str) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "valid_from": valid_from,
        "category": category,
        "brand": f"brand of {title}",
        "title": title,
        "price": None,
        "attributes": {"title": title},
        "content_vector": None,
        "source_file_id": "planted",
    }


def user(user_id: str, valid_from: dt.datetime, kind: str) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "valid_from": valid_from,
        "attributes": {"kind": kind},
        "consent": None,
        "source_file_id": "planted",
    }


def login(cookie: str, user_id: str, known_from: dt.datetime, **values: Any) -> dict[str, Any]:
    return {
        "anonymous_id": cookie,
        "user_id": user_id,
        "known_from": known_from,
        "valid_from": EPOCH,
        "valid_to": None,
        "source_file_id": "planted",
    } | values


def past(instant: dt.datetime) -> dict[str, Rows]:
    """What is known at the instant; the last events lie one second before it."""
    moments = [instant - SECOND, *(instant - dt.timedelta(hours=7 * n) for n in range(1, 30))]
    return {
        "events": [
            event(f"user {u}", when, item_id=("old", "other")[(u + n) % 2], price=1.0 + n)
            for u in range(6)
            for n, when in enumerate(moments)
        ]
        + [event(f"cookie {c}", when) for c in range(3) for when in moments[:8]],
        "items": [
            item("old", EPOCH, ["food", "fruit"], "Apple"),
            item("old", instant - SECOND, ["food", "fruit"], "Apple, renamed"),
            item("other", EPOCH, ["home"], "Lamp"),
        ],
        "users": [user(f"user {u}", EPOCH, "known") for u in range(6)],
        "identities": [
            login("cookie 0", "user 0", instant - SECOND),
            login("cookie 1", "user 1", EPOCH, valid_to=moments[3]),
        ],
    }


def future(instant: dt.datetime) -> dict[str, Rows]:
    """Signals that exist only from the instant on, some exactly at it."""
    moments = [instant, *(instant + dt.timedelta(hours=n) for n in range(1, 30))]
    signal = {
        "item_id": "new item",
        "category": "new > deeper > deepest > abyss",
        "brand": "new brand",
        "price": 1_000.0,
        "event_type": "new type",
    }
    return {
        "events": [
            *(event(f"user {u}", when, **signal) for u in range(6) for when in moments),
            *(event("new user", when) for when in moments),
        ],
        "items": [
            item("old", instant, ["toys"], "Apple, exactly at the instant"),
            item("other", instant + dt.timedelta(days=3), ["x", "y", "z"], "Lamp, later"),
            item("new item", instant + SECOND, ["new"], "New"),
        ],
        "users": [user(f"user {u}", instant + SECOND, "churned") for u in range(6)],
        "identities": [
            login("cookie 0", "user 5", instant, valid_from=instant - dt.timedelta(days=1)),
            login("cookie 1", "user 1", instant, valid_from=moments[0] - dt.timedelta(days=1)),
            login("cookie 2", "user 2", instant),
            login("user 3", "user 4", instant + SECOND),
        ],
    }


def world(spark: SparkSession, root: Path, zone: str, *, with_future: bool) -> Workspace:
    """A shop as ingest publishes it, with or without what lies in the future of the date."""
    workspace = open_test_workspace(
        spark,
        root,
        shop_timezone=zone,
        sequence={"lookback_days": 60, "max_length": 20, "price_buckets": 5},
    )
    instant = workspace.as_of(DATE).instant
    tables = past(instant)
    if with_future:
        tables = {name: rows + future(instant)[name] for name, rows in tables.items()}
    publish(workspace, "ingest", tables)
    return workspace


@pytest.mark.parametrize(
    "zone", ["Pacific/Kiritimati", pytest.param("Pacific/Pago_Pago", marks=pytest.mark.heavy)]
)
def test_sequence_writes_the_same_whether_or_not_the_future_is_there(
    spark: SparkSession, tmp_path: Path, zone: str
) -> None:
    with_future = world(spark, tmp_path / "with", zone, with_future=True)
    without = world(spark, tmp_path / "without", zone, with_future=False)
    summaries = [run_sequence(w, w.as_of(DATE)) for w in (with_future, without)]
    assert summaries[0].producer == summaries[1].producer, "not even the vocabulary's hash differs"
    assert summaries[0].counts == summaries[1].counts
    assert_same_tables(
        with_future, without, ("vocabularies", "sequences", "user_features", "user_bags")
    )

    features = with_future.tables.read("user_features").collect()
    events = {row["user_id"]: row["events"] for row in features}
    assert events == {
        "user 0": 30 + 8,  # a login one second before the instant: clicks before it count
        "user 1": 30 + 4,  # those before the end of the link
        "cookie 1": 4,
        "cookie 2": 8,  # its login comes at the instant: too late
        **{f"user {u}": 30 for u in range(2, 6)},
    }
    day_in_seconds = 86_400
    recency = {round(row["recency_days"] * day_in_seconds, 3) for row in features}
    assert recency == {1.0}
    titles = with_future.tables.read("vocabularies").where("token = 'old'").first()
    assert titles is not None
    assert titles["label"] == "Apple, renamed", "known one second before the instant"
