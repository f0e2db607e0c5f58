"""The pull to items that a user met before."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.config import ObjectiveConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.objectives.item_softmax import ItemSoftmax, ItemSoftmaxOptions
from kinsight.objectives.next_item import NextItem
from kinsight.objectives.registry import build_objectives
from kinsight.objectives.repeats import SCALE, Repeats, met_before, met_so_far
from tests.histories import SIZES, from_items, random_histories, train, training_set

SMALL = {"width": 16, "dropout": 0.0}
CLICK, PURCHASE = 2, 3


def objective_of(encoder: Encoder, name: str = "next_item", **options: object) -> NextItem:
    """The objective with a pull that has learned something."""
    config = ObjectiveConfig(name=name, **options)  # type: ignore[arg-type]  # options are its own
    [(_, objective)] = build_objectives([config], encoder, training_set())
    assert isinstance(objective, NextItem)
    assert objective.repeats is not None
    stir(objective.repeats)
    return objective


def stir(repeats: Repeats) -> None:
    with torch.no_grad():
        for seed, parameter in enumerate(repeats.parameters()):
            draws = torch.Generator().manual_seed(seed)
            parameter.copy_(torch.randn(parameter.shape, generator=draws) / SCALE + 0.1)


def test_a_pull_follows_the_formula_over_strictly_earlier_events() -> None:
    histories = from_items([[(5, 1), (6, 1), (5, 3), (1, 3), (999, 3), (5, 7), (7, 7)], [(8, 2)]])
    histories.columns["event_type"][:] = [2, 2, 3, 2, 2, 2, 2, 2]
    batch = Batch.of(histories)
    repeats = Repeats(4, SIZES["event_type"])
    stir(repeats)
    vectors = torch.randn(1, 4)
    users, places = torch.tensor([0]), torch.tensor([6])
    met, value = repeats.pull(vectors, met_before(batch, users, places, SIZES["item"]))
    gain = SCALE * repeats.gain + vectors[0] @ repeats.gain_of_vector

    def pull(*events: tuple[int, int]) -> float:
        total = sum(
            math.exp(SCALE * (repeats.of_type[kind] + repeats.of_age[age]).item())
            for kind, age in events
        )
        return gain.item() * math.log1p(total)

    # Item 5: type 2 two times ago (bucket 1) and type 3 at the time before (bucket 0).
    assert met.item.tolist() == [5, 6]
    assert met.place.tolist() == [2, 1]
    assert value.tolist() == pytest.approx([pull((2, 1), (3, 0)), pull((2, 1))], rel=1e-5)
    whole = met_so_far(batch, SIZES["item"])
    assert list(zip(whole.row.tolist(), whole.item.tolist(), strict=True)) == [
        (0, 5), (0, 6), (0, 7), (1, 8),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["next_item", "history_effect", "type_then_item"])
@settings(deadline=None, max_examples=20)  # timing depends on the machine
@given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(0, 1_000))
def test_the_loss_of_a_target_is_the_score_of_the_history_before_it(
    name: str, lengths: list[int], seed: int
) -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1).eval()
    other = {"history_effect": {"effect_weight": 1e-9}, "type_then_item": {"type_weight": 1e-9}}
    objective = objective_of(encoder, name, **other.get(name, {}))
    histories = random_histories(lengths, seed, items=6)
    histories.columns["event_type"][:] = PURCHASE
    batch = Batch.of(histories)
    expected, targets = 0.0, 0
    with torch.inference_mode():
        for user, length in enumerate(lengths):
            for place in range(length):
                earlier = int((batch.seconds[user, :place] < batch.seconds[user, place]).sum())
                target = batch.item[user, place]
                if not earlier or target <= 1:
                    continue
                at = user * batch.item.shape[1] + torch.arange(earlier)[None]
                one = batch.gather(at, torch.tensor([earlier]))
                scores = objective.purchase_scores(encoder, one)[:, 2:].log_softmax(1)
                expected -= float(scores[0, target - 2])
                targets += 1
        loss = objective(encoder, batch, torch.Generator())
    assert loss.targets == targets
    assert float(loss.total) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_loss_of_an_encoder_that_reads_both_ways_is_the_score_of_what_it_was_shown() -> None:
    encoder = build_encoder("gru", {**SMALL, "bidirectional": True}, SIZES, seed=1).eval()
    objective = objective_of(encoder)
    # Two times each, so that there is one place to cut.
    batch = Batch.of(from_items([[(3, 1), (4, 1), (3, 2), (9, 2)], [(5, 1), (5, 4)]]))
    past = Batch.of(from_items([[(3, 1), (4, 1)], [(5, 1)]]))
    with torch.inference_mode():
        scores = objective.scores(encoder, past)[:, 2:].log_softmax(1)
        loss = objective(encoder, batch, torch.Generator().manual_seed(1))
    expected = -scores[[0, 0, 1], [1, 7, 3]].sum()
    assert float(loss.total) == pytest.approx(float(expected), rel=1e-4)


def test_products_are_those_of_each_vector_with_each_item_before_it() -> None:
    batch = Batch.of(random_histories([6, 1, 9], seed=3))
    users, places = torch.nonzero(batch.present & (batch.group > 0), as_tuple=True)
    shuffled = torch.randperm(len(users), generator=torch.Generator().manual_seed(1))
    met = met_before(batch, users[shuffled], places[shuffled], 20)
    vectors, table = torch.randn(len(users), 4), torch.randn(20, 4)
    expected = (vectors[met.row] * table[met.item]).sum(1)
    torch.testing.assert_close(met.products(vectors, table), expected)


def test_of_long_histories_fewer_targets_are_scored() -> None:
    softmax = ItemSoftmax(torch.ones(30), ItemSoftmaxOptions())
    target, draws = torch.full((100_000,), 5), torch.Generator().manual_seed(1)
    assert len(softmax.choose(target, draws)) == 100_000
    assert len(softmax.choose(target, draws, events=1_000)) == 4_194


def test_the_sampled_loss_with_a_pull_estimates_the_full_one() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1).eval()
    batch = Batch.of(random_histories([20] * 30, seed=4))
    with torch.inference_mode():
        full = objective_of(encoder)(encoder, batch, torch.Generator())
        sampled = objective_of(encoder, full_softmax_items=0, negatives=4_000)(
            encoder, batch, torch.Generator().manual_seed(1)
        )
    assert full.targets == sampled.targets
    assert float(sampled.mean) == pytest.approx(float(full.mean), abs=0.1)


def test_candidates_that_a_history_holds_are_not_drawn_beside_it() -> None:
    # Of four items each is drawn many times over, so the sample's sum is the catalogue's to a hair.
    data = training_set(item_frequency=torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).double())
    encoder = build_encoder("transformer", SMALL, {**SIZES, "item": 6}, seed=1).eval()
    histories = from_items([[(2, 1), (3, 2), (2, 3), (4, 4), (2, 5)]] * 40)
    batch = Batch.of(histories)
    losses = []
    for options in ({}, {"full_softmax_items": 0, "negatives": 20_000}):
        config = ObjectiveConfig(name="next_item", **options)
        [(_, objective)] = build_objectives([config], encoder, data)
        assert isinstance(objective, NextItem)
        assert isinstance(objective.softmax, ItemSoftmax)
        assert objective.repeats is not None
        stir(objective.repeats)
        with torch.no_grad():
            objective.repeats.gain.fill_(0.4)
            losses.append(float(objective(encoder, batch, torch.Generator().manual_seed(2)).mean))
    assert losses[0] == pytest.approx(losses[1], abs=0.01)


def returning(users: int, seed: int) -> Histories:
    """Everybody clicks here and there, and buys again and again the one thing he once bought."""
    rng = np.random.default_rng(seed)
    rows, kinds = [], []
    for _ in range(users):
        own, row = int(rng.integers(2, 30)), []
        for visit in range(4):
            row += [(int(rng.integers(2, 30)), 2 * visit), (own, 2 * visit + 1)]
            kinds += [CLICK, PURCHASE]
        rows.append(row)
    histories = from_items(rows)
    histories.columns["event_type"][:] = kinds
    return histories


@pytest.mark.parametrize("options", [{}, {"full_softmax_items": 0, "negatives": 16}])
@pytest.mark.parametrize("name", ["next_item", "type_then_item"])
def test_planted_returns_are_found_after_few_steps(name: str, options: dict[str, object]) -> None:
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=1)
    config = ObjectiveConfig(name=name, **options)  # type: ignore[arg-type]  # options are its own
    [(_, objective)] = build_objectives([config], encoder, training_set())
    train(encoder, objective, returning(300, 1), steps=60)
    with torch.inference_mode():
        found = objective.measures(encoder.eval(), returning(100, 2), 4_096)
        batch = Batch.of(returning(100, 3))
        best = objective.purchase_scores(encoder, batch).argmax(1)
    assert found["purchase_hit_rate_10"] > 0.98
    assert found["purchase_popularity_hit_rate_10"] < 0.6
    # Among what each met it is what he bought, not what he clicked on.
    assert (best == batch.item[:, -1]).float().mean() > 0.9


def test_where_nobody_returns_what_was_met_is_ranked_last() -> None:
    rng = np.random.default_rng(1)
    histories = from_items(
        [[(int(item), day) for day, item in enumerate(rng.permutation(28) + 2)] for _ in range(200)]
    )
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=1)
    config = ObjectiveConfig(name="next_item")
    [(_, objective)] = build_objectives([config], encoder, training_set())
    train(encoder, objective, histories, steps=60)
    batch = Batch.of(histories.head(np.full(200, 14)))
    with torch.inference_mode():
        best = objective.scores(encoder.eval(), batch)[:, 2:].topk(10).indices + 2
    assert not (best[:, :, None] == batch.item[:, None]).any()


def test_without_repeats_nothing_is_learned_of_them() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1)
    config = ObjectiveConfig(name="next_item", repeats=False)
    [(_, objective)] = build_objectives([config], encoder, training_set())
    assert {name for name, _ in objective.named_parameters()} == {"softmax.bias"}
