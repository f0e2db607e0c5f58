"""The loss `history_effect`: popularity stays out of the vectors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.objectives.history_effect import HistoryEffect
from tests.histories import SIZES, from_items, make_objective, train

SMALL = {"width": 16, "hidden": 16, "dropout": 0.0, "fields": ["item"]}


def skewed(users: int, seed: int) -> Histories:
    """Some items are met far more often than others, by each of four tastes its own four times."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, 29)
    share = share[np.random.default_rng(0).permutation(28)]
    rows = []
    for _ in range(users):
        own = share * np.where(np.arange(28) % 4 == rng.integers(4), 4, 1)
        rows.append(
            [(int(2 + i), day) for day, i in enumerate(rng.choice(28, 8, p=own / own.sum()))]
        )
    return from_items(rows)


def history_effect(encoder: Encoder, **options: object) -> HistoryEffect:
    objective = make_objective("history_effect", encoder, skewed(300, 1), **options)
    assert isinstance(objective, HistoryEffect)
    return objective


def carrying_popularity() -> Encoder:
    """An encoder trained by a softmax without any bias, so that its vectors carry popularity."""
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = history_effect(encoder)
    with torch.no_grad():
        objective.softmax.bias.zero_()
        objective.softmax.bias.requires_grad_(False)
        objective.log_popularity.zero_()
    train(encoder, objective, skewed(300, 1), steps=50)
    return encoder


def test_the_effect_takes_popularity_out_of_vectors_at_equal_quality() -> None:
    loaded = carrying_popularity()
    held_out = skewed(300, 2)
    carried, quality = [], []
    for name, options in (("next_item", {}), ("history_effect", {"effect_weight": 1.0})):
        encoder = copy.deepcopy(loaded)
        torch.manual_seed(1)
        objective = make_objective(name, encoder, skewed(300, 1), **options)
        train(encoder, objective, skewed(300, 1), steps=80)
        judge = history_effect(encoder)
        judge.load_state_dict(objective.state_dict(), strict=False)
        plain = make_objective("next_item", encoder, skewed(300, 1))
        plain.load_state_dict(objective.state_dict(), strict=False)
        with torch.inference_mode():
            carried.append(judge.measures(encoder.eval(), held_out, 4_096)["effect_of_popularity"])
            quality.append(float(plain(encoder, Batch.of(held_out), torch.Generator()).mean))
    with torch.inference_mode():
        before = history_effect(loaded).measures(loaded.eval(), held_out, 4_096)
    assert before["effect_of_popularity"] > 0.7
    assert 0 <= carried[1] < 0.8 * carried[0]
    assert quality[1] == pytest.approx(quality[0], abs=0.01)


def test_the_second_term_is_that_of_the_effect_among_candidates_of_their_popularity() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1).eval()
    batch = Batch.of(skewed(20, 3))
    with torch.inference_mode():
        one, ten = (history_effect(encoder, effect_weight=weight) for weight in (1.0, 10.0))
        ten.load_state_dict(one.state_dict())
        light, heavy = (o(encoder, batch, torch.Generator()) for o in (one, ten))
        plain = make_objective("next_item", encoder, skewed(300, 1))
        alone = plain(encoder, batch, torch.Generator())
    effect = (float(heavy.mean) - float(light.mean)) / 9
    # The bias begins at popularity, so both terms begin alike.
    assert effect == pytest.approx(float(alone.mean), rel=1e-3)
    assert light.targets == alone.targets
