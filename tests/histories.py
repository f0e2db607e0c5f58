"""Small histories for the tests of encoders, objectives, training and inference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kinsight.config import ObjectiveConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import COLUMNS, Histories
from kinsight.objectives.base import FittedObjective, Objective, TrainingSet
from kinsight.objectives.registry import build_objectives

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


def training_set(**known: Any) -> TrainingSet:
    """What training knows of random histories, with whatever a test says otherwise."""
    facts: dict[str, Any] = {
        "item_frequency": torch.tensor([0.0, 0.0, *[1.0] * (SIZES["item"] - 2)]).double(),
        "users": 10,
        "users_with_order": 10,
        "longest": 20,
        "batch_tokens": 8_192,
        "type_frequency": torch.tensor([0.0, 0.0, 3.0, 1.0]).double(),
        "purchase": 3,
        "sizes": SIZES,
    }
    return TrainingSet(**(facts | known))


def make_objective(
    name: str, encoder: Encoder, histories: Histories | None = None, **options: Any
) -> Objective:
    """An objective by its name, fitted on histories where it holds something frozen.

    Args:
        name: Registered name.
        encoder: The encoder to train.
        histories: Users to train on; what is known of them becomes the training set.
        options: Its options.
    """
    data = training_set()
    if histories is not None:
        counts = {
            field: torch.bincount(torch.from_numpy(histories.columns[field]), minlength=rows)
            for field, rows in SIZES.items()
        }
        for count in counts.values():
            count[:2] = 0
        data = training_set(
            item_frequency=counts["item"].double(), type_frequency=counts["event_type"].double()
        )
    [(_, objective)] = build_objectives([ObjectiveConfig(name=name, **options)], encoder, data)
    if isinstance(objective, FittedObjective):
        assert histories is not None
        objective.fit(lambda users: [histories.take(np.arange(min(users, len(histories))))])
    return objective


def train(encoder: Encoder, objective: Objective, histories: Histories, steps: int) -> None:
    """Some steps on random batches of 64 users."""
    optimiser = torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=5e-3)
    draws = torch.Generator().manual_seed(1)
    rng = np.random.default_rng(1)
    encoder.train()
    for _ in itertools.repeat(None, steps):
        users = rng.choice(len(histories), 64)
        loss = objective(encoder, Batch.of(histories.take(users)), draws).mean
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
