"""The loss `contrastive_views`: how views are cut, and that it tells users apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.config import ObjectiveConfig
from kinsight.encoders.base import Encoder, FittedEncoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError, RefusedError
from kinsight.objectives.base import Objective
from kinsight.objectives.contrastive_views import halves, two_views
from kinsight.objectives.registry import build_objectives
from tests.histories import SIZES, from_items, random_histories, train, training_set

NO_DROPOUT = {"width": 16, "dropout": 0.0}


def views_objective(encoder: Encoder, **options: object) -> Objective:
    config = ObjectiveConfig(name="contrastive_views", **options)  # type: ignore[arg-type]  # options are its own
    [(_, objective)] = build_objectives([config], encoder, training_set())
    return objective


@settings(deadline=None)  # timing depends on the machine
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 1_000))
def test_a_view_is_a_stretch_of_whole_times(lengths: list[int], seed: int) -> None:
    batch = Batch.of(random_histories(lengths, seed))
    views, users = two_views(batch, 0.2, 0.8, torch.Generator().manual_seed(seed))
    rows = [r for r, n in enumerate(lengths) if len(set(batch.seconds[r, :n].tolist())) > 1]
    assert users == len(rows)
    assert len(views.length) == 2 * users
    for view, row in enumerate(rows * 2):
        whole = list(zip(batch.seconds[row].tolist(), batch.item[row].tolist(), strict=True))
        whole = whole[: lengths[row]]
        length = int(views.length[view])
        seconds, items = views.seconds[view, :length], views.item[view, :length]
        times = sorted({s for s, _ in whole})
        inside = sorted(set(seconds.tolist()))
        begin = times.index(inside[0])
        assert inside == times[begin : begin + len(inside)]
        assert len(inside) < len(times)
        part = [(s, i) for s, i in whole if s in inside]
        assert part == list(zip(seconds.tolist(), items.tolist(), strict=True))


def test_halves_share_no_time_and_lose_no_event() -> None:
    histories = from_items([[(3, 1), (4, 1), (5, 2), (6, 4)], [(7, 1), (8, 1)], [(9, 1), (2, 2)]])
    earlier, later = halves(histories)
    assert earlier.columns["item"].tolist() == [3, 4, 9]
    assert later.columns["item"].tolist() == [5, 6, 2]
    assert earlier.length.tolist() == [2, 1]


def regulars(users: int, seed: int) -> Histories:
    """Each user keeps to three items of her own among 12 to 29, and every day meets two of 2 to 11.

    The latter drown the former for whoever has not learned that they tell nothing.
    """
    rng = np.random.default_rng(seed)
    own = [rng.choice(np.arange(12, 30), 3, replace=False) for _ in range(users)]
    return from_items(
        [
            [(int(i), day) for day in range(12) for i in (rng.choice(o), *rng.integers(2, 12, 2))]
            for o in own
        ]
    )


@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_halves_of_held_out_users_lie_nearer_after_training(name: str) -> None:
    options = NO_DROPOUT | ({"fields": ["item"]} if name == "transformer" else {"hidden": 16})
    encoder = build_encoder(name, options, SIZES, seed=1)
    objective = views_objective(encoder)
    held_out = regulars(100, 2)

    def measured() -> dict[str, float]:
        with torch.inference_mode():
            return objective.measures(encoder.eval(), held_out, 4_096)

    before = measured()
    train(encoder, objective, regulars(400, 1), steps=120)
    after = measured()
    assert after["view_chance_1"] == 0.01
    assert after["view_users"] == 100
    assert after["view_recall_1"] > max(0.15, 2 * before["view_recall_1"])
    assert after["view_nearer"] > before["view_nearer"] + 0.05


def test_equal_vectors_for_everybody_are_worth_chance() -> None:
    encoder = build_encoder("content_mean", {"width": 4}, SIZES, seed=1)
    assert isinstance(encoder, FittedEncoder)
    with torch.no_grad():
        encoder.frozen_tokens().fill_(1.0)
    objective = views_objective(build_encoder("gru", NO_DROPOUT, SIZES, seed=1))
    with torch.inference_mode():
        found = objective.measures(encoder, random_histories([12] * 40), 4_096)
    assert found["view_recall_1"] == pytest.approx(found["view_chance_1"])
    assert found["view_nearer"] == pytest.approx(0.5)


def test_the_loss_is_that_of_the_paper_on_the_nearest_strangers() -> None:
    encoder = build_encoder("gru", NO_DROPOUT, SIZES, seed=1).eval()
    batch = Batch.of(random_histories([9, 8, 11, 10], seed=3))
    loss = views_objective(encoder, hard_negatives=2, margin=1.0)(
        encoder, batch, torch.Generator().manual_seed(5)
    )
    views, users = two_views(batch, 0.2, 0.8, torch.Generator().manual_seed(5))
    read = encoder.read(encoder.encode(views))[:, 0].detach()
    vectors = torch.nn.functional.normalize(read, dim=1)
    expected = 0.0
    for view in range(2 * users):
        strangers = [o for o in range(2 * users) if o % users != view % users]
        far = sorted(float((vectors[view] - vectors[o]).norm()) for o in strangers)
        expected += sum(max(0.0, 1.0 - distance) ** 2 for distance in far[:2])
        own = vectors[(view + users) % (2 * users)]
        expected += float((vectors[view] - own).square().sum()) / 2
    assert loss.targets == users == 4
    assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-4)


def test_a_single_user_and_users_of_one_time_give_no_loss() -> None:
    encoder = build_encoder("gru", NO_DROPOUT, SIZES, seed=1)
    batch = Batch.of(from_items([[(3, 1), (4, 2)], [(5, 1), (6, 1)]]))
    loss = views_objective(encoder)(encoder, batch, torch.Generator())
    assert loss.targets == 0
    loss.mean.backward()
    only_one = from_items([[(3, 1), (4, 2)]])
    assert views_objective(encoder).measures(encoder, only_one, 64) == {}


def test_batches_of_too_few_users_are_refused_with_the_size_that_serves() -> None:
    encoder = build_encoder("gru", NO_DROPOUT, SIZES, seed=1)
    wanted = [ObjectiveConfig(name="contrastive_views")]
    with pytest.raises(RefusedError) as refused:
        build_objectives(wanted, encoder, training_set(longest=200, batch_tokens=1_024))
    assert "1600" in refused.value.to_do
    with pytest.raises(RefusedError, match="bear one time"):
        build_objectives(wanted, encoder, training_set(users_with_order=1))


def test_a_shortest_view_above_the_longest_is_a_configuration_error() -> None:
    encoder = build_encoder("gru", NO_DROPOUT, SIZES, seed=1)
    with pytest.raises(ConfigError, match="greater than"):
        views_objective(encoder, shortest=0.9)
