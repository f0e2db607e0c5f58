"""What the quality harness makes of events equals the plain Python form of stage `sequence`."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks.quality.history import EVENT_COLUMNS, FEATURES, Past, before

from kinsight.config import SequenceConfig
from kinsight.dates import AsOf
from kinsight.encoders.histories import COLUMNS
from tests.sequence_reference import Expected, expect

SETTINGS = SequenceConfig(lookback_days=20, max_length=12, price_buckets=4, vocabulary_size=6)
AS_OF = AsOf.of("2024-01-31", "UTC")
PATHS = (None, "food", "food > fruit", "food > fruit > citrus", "garden > tools")


def drawn_events() -> list[dict[str, Any]]:
    """Events of 40 users: baskets, missing values, uneven paths, some too early or too late."""
    draws = np.random.default_rng(3)
    events = []
    for number in range(900):
        item = int(draws.integers(12))
        user = f"user {int(40 * draws.random() ** 2)}"
        day, hour = int(draws.integers(5, 36)), int(draws.integers(0, 24, 3).min())
        moment = dt.datetime(2024, 1, 1, hour, 30, tzinfo=dt.timezone.utc) + dt.timedelta(days=day)
        events.append(
            {
                "user_id": user,
                "item_id": f"item {item}",
                "event_type": str(draws.choice(["click", "purchase", "return"])),
                "event_time": moment,
                "event_id": f"{number:04d}",
                "category": PATHS[item % len(PATHS)],
                "brand": None if item % 4 == 0 else f"brand {item % 3}",
                "price": None if draws.random() < 0.1 else float(draws.integers(0, 9)),
                "quantity": None if draws.random() < 0.1 else float(draws.integers(1, 4)),
                "session_id": f"{user} {moment:%d}",
            }
        )
    return events


@pytest.fixture(scope="module")
def both() -> tuple[Past, Expected]:
    """The harness's form and the reference's."""
    events = drawn_events()
    frame = pd.DataFrame(events).rename(columns={"session_id": "session"})
    frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True)
    for column in ("category", "brand"):
        frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    instant = pd.Timestamp(AS_OF.instant)
    return before(frame[list(EVENT_COLUMNS)], instant, SETTINGS), expect(
        events, [], AS_OF, SETTINGS
    )


def test_tokens_have_the_indices_of_the_stage(both: tuple[Past, Expected]) -> None:
    past, expected = both
    for field, tokens in past.tokens.items():
        rows = [r for r in expected.vocabularies if r["field"] == field]
        if field == "price":
            assert len(tokens.names) == 2 + len(rows)
            continue
        assert tokens.names[2:].tolist() == [r["token"] for r in rows]
        assert tokens.users[2:].tolist() == [r["users"] for r in rows]
        assert tokens.events[2:].tolist() == [r["frequency"] for r in rows]


def test_sequences_are_those_of_the_stage(both: tuple[Past, Expected]) -> None:
    past, expected = both
    rows = {row["user_id"]: row for row in expected.sequences}
    assert past.ids.tolist() == sorted(rows)
    for user, start, length in zip(
        past.ids, past.histories.start, past.histories.length, strict=True
    ):
        for column in COLUMNS:
            found = past.histories.columns[column][start : start + length]
            assert found.tolist() == rows[user][column], (user, column)


def test_bags_and_features_are_those_of_the_stage(both: tuple[Past, Expected]) -> None:
    past, expected = both
    features = {row["user_id"]: row for row in expected.user_features}
    bags = {row["user_id"]: row["bags"] for row in expected.user_bags}
    values = past.features()
    for place, user in enumerate(past.ids):
        told = [features[user][name] for name in FEATURES]
        wanted = np.array([np.nan if value is None else value for value in told], dtype=np.float64)
        assert np.allclose(values[place], wanted, equal_nan=True), user
    for field in past.fields:
        counts = past.counts(field)
        for place, user in enumerate(past.ids):
            row = counts[place]
            assert row.indices.tolist() == bags[user][field]["tokens"]
            assert row.data.tolist() == bags[user][field]["counts"]
