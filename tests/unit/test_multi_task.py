"""The loss `multi_task`: what its labels are, and that vectors serve a task never trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinsight.config import ObjectiveConfig
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError, RefusedError
from kinsight.objectives.labels import classes_of, labels_of
from kinsight.objectives.multi_task import MultiTask, TaskHead
from kinsight.objectives.registry import build_objectives
from tests.histories import SIZES, from_items, make_objective, random_histories, train, training_set

SMALL = {
    "width": 16,
    "hidden": 16,
    "dropout": 0.0,
    "fields": ["item", "category", "price", "event_type", "hour"],
}


def two_tastes(users: int, seed: int) -> Histories:
    """Two hidden tastes: one shows in the category, one in the price; the brand tells both."""
    rng = np.random.default_rng(seed)
    histories = random_histories([8] * users, seed)
    one, other = (np.repeat(rng.integers(0, 2, users), 8) for _ in range(2))

    def noisy(values: object, labels: int, share: float) -> object:
        return 2 + np.where(
            rng.random(8 * users) < share, rng.integers(0, labels, 8 * users), values
        )

    columns = histories.columns
    columns["category"][:] = noisy(one * 3 + rng.integers(0, 3, 8 * users), 6, 0.5)
    columns["price"][:] = noisy(other * 2 + rng.integers(0, 2, 8 * users), 4, 0.5)
    columns["brand"][:] = noisy(2 * one + other, 4, 0.1)
    columns["seconds"][:] = 1_500_000_000 + 86_400 * np.tile(np.arange(8), users)
    return histories


def test_the_task_held_out_is_served_better_than_by_any_single_task_or_no_training() -> None:
    histories, held_out = two_tastes(400, 1), two_tastes(400, 2)

    def transfer(steps: int, **options: object) -> dict[str, float]:
        torch.manual_seed(1)
        encoder = build_encoder("gru", SMALL, SIZES, seed=1)
        objective = make_objective("multi_task", encoder, histories, **options)
        train(encoder, objective, histories, steps)
        with torch.inference_mode():
            return objective.measures(encoder.eval(), held_out, 4_096)

    found = transfer(60)
    others = [transfer(0), *(transfer(60, tasks=[t]) for t in ("next_category", "next_price"))]
    best = max(other["held_out_next_brand_accuracy"] for other in others)
    assert found["held_out_next_brand_accuracy"] > best + 0.03
    assert found["held_out_next_brand_accuracy"] > found["held_out_next_brand_majority"] + 0.15
    assert found["next_price_accuracy"] > found["next_price_majority"]
    assert 0 <= found["will_buy_auc"] <= 1


def test_the_held_out_task_trains_nothing() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = make_objective("multi_task", encoder, two_tastes(20, 1))
    assert isinstance(objective, MultiTask)
    assert objective.held_out == "next_brand"
    assert list(objective.heads) == ["next_category", "next_price", "next_type", "will_buy"]


def test_labels_are_those_of_the_event_and_buying_then_or_later() -> None:
    histories = from_items([[(3, 1), (4, 2), (5, 2), (6, 4)], [(7, 1), (8, 3)]])
    histories.columns["event_type"][:] = [2, 3, 2, 2, 2, 1]
    histories.columns["category"][:] = [4, 1, 999, 2, 3, 3]
    batch, data = Batch.of(histories), training_set()
    # The second time holds a purchase, so both its events have it; the last one comes after it.
    assert labels_of("will_buy", batch, data).tolist() == [[1, 1, 1, 0], [0, 0, -1, -1]]
    assert labels_of("next_type", batch, data).tolist() == [[0, 1, 0, 0], [0, -1, -1, -1]]
    assert labels_of("next_category", batch, data).tolist() == [[2, -1, -1, 0], [1, 1, -1, -1]]
    # A day and two are powers 16 and 17 of two seconds; a first time has no gap.
    assert labels_of("next_gap", batch, data).tolist() == [[-1, 16, 16, 17], [-1, 17, -1, -1]]


def test_gates_begin_open_and_differ_by_task() -> None:
    head = TaskHead(width=10, fields=4, classes=3)
    vectors = torch.randn(5, 10)
    assert torch.allclose(head(vectors), head.scores(vectors), atol=1e-6)
    with torch.no_grad():
        head.excite[2].bias.copy_(torch.tensor([-50.0, 0.0, 0.0, 0.0]))
    without = vectors.clone()
    without[:, :3] = 0.0
    assert torch.allclose(head(vectors), head.scores(without), atol=1e-6)


def test_default_tasks_without_labels_are_left_out_and_asked_for_ones_refused() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    data = training_set(sizes=SIZES | {"brand": 2, "price": 2}, purchase=None)
    assert classes_of("will_buy", data) == 0
    [(_, objective)] = build_objectives([ObjectiveConfig(name="multi_task")], encoder, data)
    assert isinstance(objective, MultiTask)
    assert list(objective.heads) == ["next_category", "next_type"]
    assert objective.held_out is None
    for options in ({"tasks": ["next_price"]}, {"held_out": "next_brand"}):
        wanted = ObjectiveConfig.model_validate({"name": "multi_task"} | options)
        with pytest.raises(RefusedError, match="no labels for a task"):
            build_objectives([wanted], encoder, data)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tasks": ["next_gap", "next_gap"]}, "names one twice"),
        ({"tasks": ["next_brand"]}, "cannot test transfer"),
        ({"tasks": []}, "at least 1"),
    ],
)
def test_tasks_that_contradict_each_other_are_configuration_errors(
    options: dict[str, object], said: str
) -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    with pytest.raises(ConfigError, match=said):
        make_objective("multi_task", encoder, **options)
