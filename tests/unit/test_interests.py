"""Objectives over encoders of several vectors a user, and that every encoder learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinsight.config import ObjectiveConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import ENCODERS, build_encoder
from kinsight.objectives.base import Objective
from kinsight.objectives.next_events import (
    best_over_interests,
    main_vectors_before,
    nearest_interest,
    split_at_random_time,
    vectors_before,
)
from kinsight.objectives.registry import build_objectives
from tests.histories import SIZES, from_items, random_histories, train, training_set

SMALL = {"width": 16, "dropout": 0.0}
VARIANTS = [
    *[(name, {}) for name, kind in ENCODERS.items() if kind.learns],
    ("multi_interest", {"routing": "dynamic"}),
    ("folded", {"fold_by": "item"}),
]


def built(name: str, options: dict[str, object]) -> tuple[Encoder, Objective]:
    encoder = build_encoder(name, SMALL | options, SIZES, seed=1)
    [(_, objective)] = build_objectives(
        [ObjectiveConfig(name="next_item")], encoder, training_set()
    )
    return encoder, objective


def test_the_interest_nearest_to_the_target_is_taken_and_learns() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 1.0]]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    found = nearest_interest(vectors, target)
    assert found.tolist() == [[0.0, 2.0], [3.0, 0.0]]
    found.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad[:, :, 0].tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_each_target_is_predicted_by_one_of_its_users_interests() -> None:
    encoder, _ = built("multi_interest", {})
    batch = Batch.of(random_histories([9, 1, 6, 14]))
    found, users, places = vectors_before(encoder, batch, torch.Generator().manual_seed(3))
    assert len(found) == len(users) == len(places)
    past = batch.seconds[users, places]
    assert (past > batch.seconds[users, 0]).all()
    assert found.shape == (len(users), 16)


def test_what_is_no_item_is_predicted_from_the_main_vector() -> None:
    encoder, _ = built("multi_interest", {})
    encoder.eval()
    batch = Batch.of(random_histories([9, 1, 6, 14]))
    with torch.inference_mode():
        found, users, _ = main_vectors_before(encoder, batch, torch.Generator().manual_seed(3))
        past, _ = split_at_random_time(batch, torch.Generator().manual_seed(3))
        assert torch.equal(found, encoder.read(encoder.encode(past))[users, 0])


def test_targets_of_a_later_vocabulary_choose_an_interest_too() -> None:
    encoder, objective = built("multi_interest", {})
    batch = Batch.of(from_items([[(3, 1), (999, 2)], [(4, 1), (5, 2)]]))
    loss = objective(encoder, batch, torch.Generator().manual_seed(3))
    assert loss.targets == 1
    loss.mean.backward()


def test_a_user_scores_the_best_of_the_interests() -> None:
    encoder, _ = built("multi_interest", {"interests": 3})
    batch = Batch.of(random_histories([9, 4]))
    with torch.inference_mode():
        items = encoder.item_vectors()
        best = best_over_interests(encoder.eval(), batch, lambda vectors: vectors @ items.T)
        every = encoder.read(encoder.encode(batch)) @ items.T
    assert torch.allclose(best, every.amax(1), atol=1e-5)


def two_tastes(users: int, seed: int) -> Histories:
    """Each user has two of four groups of seven items, and takes one item of either a day."""
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(users):
        groups = rng.choice(4, 2, replace=False)
        days = range(8)
        histories.append(
            [(2 + 7 * int(rng.choice(groups)) + int(rng.integers(7)), d) for d in days]
        )
    return from_items(histories)


@pytest.mark.parametrize("routing", ["self_attention", "dynamic"])
def test_two_tastes_of_a_user_get_vectors_of_their_own(routing: str) -> None:
    encoder, objective = built("multi_interest", {"routing": routing, "interests": 2})
    train(encoder, objective, two_tastes(300, 1), steps=300)
    fresh = two_tastes(100, 2)
    with torch.inference_mode():
        items = encoder.eval().item_vectors()
        vectors = encoder.read(encoder.encode(Batch.of(fresh)))
        groups = torch.stack([items[2 + 7 * group : 9 + 7 * group].mean(0) for group in range(4)])
        near = (vectors @ groups.T).argmax(2)
    taken = (fresh.columns["item"].reshape(100, 8) - 2) // 7
    both = [set(own.tolist()) == set(of) for own, of in zip(near, taken.tolist(), strict=True)]
    # Two interests of chance point at both tastes of a user one time in eight.
    assert np.mean(both) > 0.5


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_encoder_learns_what_its_users_take(name: str, options: dict[str, object]) -> None:
    encoder, objective = built(name, options)
    histories, fresh = two_tastes(300, 1), two_tastes(100, 2)
    train(encoder, objective, histories, steps=150)
    with torch.inference_mode():
        found = objective.measures(encoder.eval(), fresh, 4_096)
    # Half of the catalogue is of a user's tastes: 14 of 28 items, ten of which are ranked.
    assert found["hit_rate_10"] > found["popularity_hit_rate_10"] + 0.15
