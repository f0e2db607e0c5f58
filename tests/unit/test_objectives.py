"""The loss `next_item`: what it predicts, that it learns, and that nothing leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.config import ObjectiveConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError, RefusedError
from kinsight.objectives.base import Objective
from kinsight.objectives.next_events import split_at_random_time, vectors_before
from kinsight.objectives.ranking import next_item_measures, reciprocal_ranks, split_latest
from kinsight.objectives.registry import build_objectives
from tests.histories import SIZES, from_items, random_histories, train, training_set

SMALL = {"width": 16, "dropout": 0.0}


def next_item(encoder: Encoder, **options: object) -> Objective:
    data = training_set()
    [(_, objective)] = build_objectives(
        [ObjectiveConfig(name="next_item", **options)], encoder, data
    )
    return objective


@settings(deadline=None)  # timing depends on the machine
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 1_000))
def test_each_later_event_is_a_target_once_of_all_that_came_before(
    lengths: list[int], seed: int
) -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1).eval()
    batch = Batch.of(random_histories(lengths, seed))
    with torch.inference_mode():
        vectors, users, places = vectors_before(encoder, batch, torch.Generator())
    expected = [
        (user, place)
        for user, length in enumerate(lengths)
        for place in range(length)
        if batch.seconds[user, place] > batch.seconds[user, 0]
    ]
    assert list(zip(users.tolist(), places.tolist(), strict=True)) == expected
    for vector, (user, place) in zip(vectors, expected, strict=True):
        earlier = int((batch.seconds[user, :place] < batch.seconds[user, place]).sum())
        one = batch.gather(user * batch.item.shape[1] + torch.arange(earlier)[None],
                           torch.tensor([earlier]))  # fmt: skip
        with torch.inference_mode():
            alone = encoder.read(encoder.encode(one))[0, 0]
        torch.testing.assert_close(vector, alone, atol=1e-5, rtol=1e-4)


@settings(deadline=None)  # timing depends on the machine
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 1_000))
def test_a_random_cut_shows_only_strictly_earlier_events(lengths: list[int], seed: int) -> None:
    batch = Batch.of(random_histories(lengths, seed))
    past, following = split_at_random_time(batch, torch.Generator().manual_seed(seed))
    for user, length in enumerate(lengths):
        seen = batch.seconds[user, : int(past.length[user])]
        comes = batch.seconds[user][following[user]]
        if len(set(batch.seconds[user, :length].tolist())) == 1:
            assert len(seen) == length
            assert len(comes) == 0
        else:
            assert len(seen)
            assert len(set(comes.tolist())) == 1
            assert seen.max() < comes.min()


@pytest.mark.parametrize(
    ("options", "encoder_options"),
    [
        ({}, {"pooling": "last"}),
        ({"full_softmax_items": 0, "negatives": 16}, {"pooling": "last"}),
        ({}, {"pooling": "cls"}),
        ({}, {"causal": False, "pooling": "mean_std"}),
    ],
)
def test_a_planted_transition_is_learned(
    options: dict[str, object], encoder_options: dict[str, object]
) -> None:
    # After item i comes item i + 1, round; one item a day.
    rng = np.random.default_rng(1)
    histories = from_items(
        [[(2 + (start + day) % 28, day) for day in range(6)] for start in rng.integers(0, 28, 200)]
    )
    encoder = build_encoder("transformer", SMALL | encoder_options, SIZES, seed=1)
    objective = next_item(encoder, **options)
    train(encoder, objective, histories, steps=80)
    measures = objective.measures(encoder.eval(), histories, 4_096)
    assert measures["recall_10"] > 0.9
    assert measures["popularity_recall_10"] < 0.6


def test_items_of_one_time_do_not_give_each_other_away() -> None:
    # Two items a day, the second always the first plus one, and the days independent: whoever sees
    # the first of a day knows the second, but nothing earlier tells either.
    rng = np.random.default_rng(2)
    histories = from_items(
        [
            [(int(i) + o, day) for day, i in enumerate(rng.integers(2, 29, 8)) for o in (0, 1)]
            for _ in range(100)
        ]
    )
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1)
    objective = next_item(encoder)
    fresh = from_items(
        [
            [(int(i) + o, day) for day, i in enumerate(rng.integers(2, 29, 8)) for o in (0, 1)]
            for _ in range(100)
        ]
    )
    train(encoder, objective, histories, steps=60)
    with torch.inference_mode():
        loss = objective(encoder.eval(), Batch.of(fresh), torch.Generator().manual_seed(1))
    # Guessing by frequency alone gives the entropy of the items, log 28 at most.
    assert float(loss.mean) > 3.2


def test_histories_without_order_or_known_items_give_no_loss() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1)
    objective = next_item(encoder)
    batch = Batch.of(from_items([[(3, 1), (4, 1)], [(3, 1), (1, 2)], [(3, 1), (999, 2)]]))
    loss = objective(encoder, batch, torch.Generator())
    assert loss.targets == 0
    loss.mean.backward()


def test_the_sampled_loss_estimates_the_full_one() -> None:
    # With the correction, the sampled loss approaches the full one as draws grow.
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1).eval()
    batch = Batch.of(random_histories([20] * 30, seed=4))
    with torch.inference_mode():
        full = next_item(encoder)(encoder, batch, torch.Generator())
        sampled = next_item(encoder, full_softmax_items=0, negatives=4_000)(
            encoder, batch, torch.Generator().manual_seed(1)
        )
    assert full.targets == sampled.targets
    assert float(sampled.mean) == pytest.approx(float(full.mean), abs=0.1)


def popular_first(items: int) -> Callable[[Batch], torch.Tensor]:
    """Scores of a model for which a lower index is likelier, whoever it is."""
    return lambda batch: -torch.arange(float(items)).expand(len(batch.length), -1).clone()


def test_reciprocal_ranks_take_the_best_item_of_each_of_the_latest_times() -> None:
    # Of seven times the five latest count: items 6 and 3, 4, 1 (unknown), 2, and 9 of no catalogue.
    times = [[8], [2], [6, 3], [4], [1], [2], [9]]
    history = [(item, day) for day, items in enumerate(times) for item in items]
    total, counted = reciprocal_ranks(popular_first(8), 8, from_items([history, [(3, 1)]]), 64)
    assert counted == 3
    assert total == pytest.approx(1 / 2 + 1 / 3 + 1)


def test_items_of_equal_score_count_as_before_one_another_and_no_number_has_no_rank() -> None:
    held_out = from_items([[(2, 1), (4, 2)]])
    equal = reciprocal_ranks(lambda b: torch.zeros(len(b.length), 7), 7, held_out, 64)
    assert equal == (pytest.approx(1 / 5), 1)
    broken = reciprocal_ranks(lambda b: torch.full((len(b.length), 7), torch.nan), 7, held_out, 64)
    assert broken == (0.0, 1)


def test_of_a_large_catalogue_fewer_users_are_ranked() -> None:
    held_out = from_items([[(2, 1), (4, 2)]] * 30)
    assert reciprocal_ranks(popular_first(8), 8, held_out, 64, most_scores=8 * 5 * 10)[1] == 10


def test_a_catalogue_of_one_item_is_refused_with_a_way_out() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1)
    one = training_set(item_frequency=torch.tensor([0.0, 0.0, 9.0]))
    with pytest.raises(RefusedError, match="name: random"):
        build_objectives([ObjectiveConfig(name="next_item")], encoder, one)


def test_events_of_one_single_time_are_refused() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1)
    with pytest.raises(RefusedError, match="bear one time"):
        build_objectives(
            [ObjectiveConfig(name="next_item")], encoder, training_set(users_with_order=0)
        )


def test_unknown_objectives_and_options_are_named() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=1)
    data = training_set()
    with pytest.raises(ConfigError, match="did you mean `next_item`"):
        build_objectives([ObjectiveConfig(name="next_items")], encoder, data)
    with pytest.raises(ConfigError, match="did you mean `negatives`"):
        build_objectives([ObjectiveConfig(name="next_item", negative=3)], encoder, data)


def test_measures_count_hits_among_distinct_items_of_the_latest_time() -> None:
    histories = from_items(
        [
            [(5, 1), (6, 2), (6, 2), (7, 2)],  # 6 is ranked high, 7 is not
            [(5, 1), (1, 2)],  # nothing known to find
            [(5, 1)],  # nothing later
            [(5, 1), (9, 2)],
        ]
    )
    past, following = split_latest(histories)
    assert past.length.tolist() == [1, 1, 1]
    assert following.length.tolist() == [3, 1, 1]
    scores = torch.zeros(30)
    scores[[6, 10, 11, 12, 13, 14, 15, 16, 17, 18]] = 1.0
    frequency = torch.zeros(30, dtype=torch.float64)
    frequency[[9, 20, 21, 22, 23, 24, 25, 26, 27, 28]] = 1.0
    found = next_item_measures(lambda b: scores.repeat(len(b.length), 1), frequency, histories, 64)
    assert found == {
        "hit_rate_10": 0.5,
        "recall_10": 0.25,
        "popularity_hit_rate_10": 0.5,
        "popularity_recall_10": 0.5,
        "ranked_users": 2.0,
    }
