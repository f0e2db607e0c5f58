"""The loss `type_then_item`, and how next purchases are measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinsight.config import ObjectiveConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import RefusedError
from kinsight.objectives.base import Objective
from kinsight.objectives.ranking import latest_items, next_purchase_measures, split_latest
from kinsight.objectives.registry import build_objectives
from tests.histories import SIZES, from_items, train, training_set

CLICK, PURCHASE = 2, 3


def typed(users: list[list[tuple[int, int, int]]]) -> Histories:
    """Users given as (item, day, event type)."""
    histories = from_items([[(item, day) for item, day, _ in user] for user in users])
    histories.columns["event_type"][:] = [kind for user in users for _, _, kind in user]
    return histories


def shoppers(users: int, seed: int) -> Histories:
    """Whoever clicks item i, the one before it and noise buys item i + 10 a day later.

    Clicks go anywhere; purchases follow from the last click alone.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(users):
        row = []
        for visit in range(3):
            item = int(rng.integers(2, 12))
            row += [(int(rng.integers(2, 12)), 3 * visit, CLICK), (item, 3 * visit + 1, CLICK)]
            row.append((item + 10, 3 * visit + 2, PURCHASE))
        rows.append(row)
    return typed(rows)


def objective_of(encoder: Encoder, name: str = "type_then_item", **options: object) -> Objective:
    config = ObjectiveConfig(name=name, **options)  # type: ignore[arg-type]  # options are its own
    [(_, objective)] = build_objectives([config], encoder, training_set())
    return objective


@pytest.mark.parametrize("options", [{}, {"full_softmax_items": 0, "negatives": 16}])
def test_planted_purchases_are_found_where_popularity_fails(options: dict[str, object]) -> None:
    encoder = build_encoder(
        "gru", {"width": 16, "hidden": 16, "dropout": 0.0, "pooling": "last"}, SIZES, seed=1
    )
    objective = objective_of(encoder, **options)
    train(encoder, objective, shoppers(300, 1), steps=150)
    with torch.inference_mode():
        found = objective.measures(encoder.eval(), shoppers(100, 2), 4_096)
    assert found["purchase_hit_rate_10"] > 0.95
    assert found["purchase_popularity_hit_rate_10"] < 0.7
    assert found["purchase_recent_hit_rate_10"] < 0.7
    assert found["purchase_users"] == 100
    assert found["hit_rate_10"] > found["popularity_hit_rate_10"]


def test_training_begins_at_the_loss_of_next_item_and_of_guessed_types() -> None:
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=1).eval()
    batch = Batch.of(shoppers(20, 3))
    with torch.inference_mode():
        both = objective_of(encoder)(encoder, batch, torch.Generator())
        light = objective_of(encoder, type_weight=0.5)(encoder, batch, torch.Generator())
        alone = objective_of(encoder, "next_item")(encoder, batch, torch.Generator())
    assert both.targets == alone.targets
    types = 2 * (float(both.mean) - float(light.mean))
    assert float(both.mean) - types == pytest.approx(float(alone.mean), abs=1e-4)
    assert 0.3 < types < 1.5


def test_events_of_unknown_type_are_no_targets() -> None:
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=1)
    batch = Batch.of(typed([[(3, 1, CLICK), (4, 2, 1), (5, 3, 9), (6, 4, PURCHASE)]]))
    assert objective_of(encoder)(encoder, batch, torch.Generator()).targets == 1


def test_a_single_type_is_refused_with_the_objective_to_use() -> None:
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=1)
    data = training_set(type_frequency=torch.tensor([0.0, 0.0, 4.0]))
    with pytest.raises(RefusedError, match="next_item"):
        build_objectives([ObjectiveConfig(name="type_then_item")], encoder, data)


def test_the_latest_purchase_is_predicted_from_strictly_earlier_events_only() -> None:
    histories = typed(
        [
            [(3, 1, CLICK), (4, 2, PURCHASE), (5, 4, CLICK), (6, 4, PURCHASE), (7, 9, CLICK)],
            [(3, 1, CLICK), (4, 2, CLICK)],  # never buys
            [(3, 1, PURCHASE), (4, 2, CLICK)],  # nothing before the purchase
        ]
    )
    past, following = split_latest(histories, PURCHASE)
    assert past.columns["item"].tolist() == [3, 4]
    assert following.columns["item"].tolist() == [6]


def test_purchases_are_measured_beside_popularity_and_what_was_met_last() -> None:
    histories = typed(
        [
            [(8, 1, CLICK), (9, 2, PURCHASE)],
            [(8, 1, CLICK), (7, 2, CLICK), (8, 3, PURCHASE)],
        ]
    )
    assert latest_items(histories)[1].tolist() == [8, 7, *[-1] * 8]
    frequency = torch.zeros(30)
    frequency[20:] = 1.0
    found = next_purchase_measures(
        lambda batch: torch.arange(30.0).repeat(len(batch.length), 1).flip(1),
        training_set(item_frequency=frequency),
        histories,
        64,
    )
    assert found == {
        "purchase_hit_rate_10": 1.0,
        "purchase_popularity_hit_rate_10": 0.0,
        "purchase_recent_hit_rate_10": 0.5,
        "purchase_users": 2.0,
    }
    assert next_purchase_measures(None, training_set(purchase=None), histories, 64) == {}  # type: ignore[arg-type]  # never called
