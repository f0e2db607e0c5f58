"""Small histories for the tests of encoders, objectives, training and inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinsight.encoders.histories import COLUMNS, Histories

SIZES = {"item": 30, "event_type": 4, "category": 8, "brand": 6, "price": 7}
DAY = 86_400


def random_histories(lengths: Sequence[int], seed: int = 0, items: int = 30) -> Histories:
    """Users with random events, about half of which share their time with the one before.

    Args:
        lengths: Events of each user.
        seed: Seed of the draws.
        items: Rows of the item table; items are drawn from 2 on.
    """
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    columns = {
        name: rng.integers(2, items if name == "item" else size, total).astype(np.int32)
        for name, size in SIZES.items()
    }
    columns["hour_of_week"] = rng.integers(1, 169, total).astype(np.int32)
    steps = rng.integers(0, 5, total) * rng.integers(0, 2, total) * 3_600
    seconds = 1_500_000_000 + np.cumsum(steps)
    columns["seconds"] = seconds.astype(np.int64)
    return Histories(columns, np.asarray(lengths, dtype=np.int64))


def from_items(users: Sequence[Sequence[tuple[int, int]]]) -> Histories:
    """Users given as (item, day) pairs; all other fields are the same for every event."""
    events = [event for user in users for event in user]
    columns = {name: np.full(len(events), 2, dtype=np.int32) for name in COLUMNS}
    columns["item"] = np.array([item for item, _ in events], dtype=np.int32)
    columns["seconds"] = np.array([day * DAY for _, day in events], dtype=np.int64)
    return Histories(columns, np.array([len(user) for user in users], dtype=np.int64))
