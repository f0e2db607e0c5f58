"""The loss `neighbour_contrastive`: who is whose neighbour, and that tastes come together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import RefusedError
from kinsight.objectives.content import content_of
from kinsight.objectives.neighbour_contrastive import NeighbourContrastive
from kinsight.objectives.vectors import history_vectors
from tests.histories import SIZES, from_items, make_objective, train

SMALL = {"width": 16, "hidden": 16, "dropout": 0.0, "fields": ["item"]}


def two_tastes(users: int, seed: int) -> Histories:
    """Even users meet items 2 to 15 more often, odd ones 16 to 29; the category tells which."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        own = 2 + 14 * (user % 2) + rng.integers(0, 14, 6)
        items = np.where(rng.random(6) < 0.6, own, rng.integers(2, 30, 6))
        rows.append([(int(item), day) for day, item in enumerate(items)])
    histories = from_items(rows)
    histories.columns["category"][:] = 2 + (histories.columns["item"] >= 16)
    return histories


def neighbours(encoder: Encoder, histories: Histories, **options: object) -> NeighbourContrastive:
    options = {"width": 8, "bank_users": 200, "anchors": 32} | options
    objective = make_objective("neighbour_contrastive", encoder, histories, **options)
    assert isinstance(objective, NeighbourContrastive)
    return objective


def test_users_of_one_taste_come_nearer_to_each_other_than_to_the_rest() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = neighbours(encoder, two_tastes(300, 1))
    held_out = two_tastes(100, 2)
    same = (torch.arange(100)[:, None] - torch.arange(100)) % 2 == 0

    def measured() -> tuple[float, float]:
        with torch.inference_mode():
            vectors = F.normalize(history_vectors(encoder.eval(), held_out, 4_096), dim=1)
            alike = vectors @ vectors.T
            found = objective.measures(encoder, held_out, 4_096)
        gap = alike[same & ~torch.eye(100, dtype=torch.bool)].mean() - alike[~same].mean()
        return float(gap), found["neighbours_shared_10"]

    gap, shared = measured()
    train(encoder, objective, two_tastes(300, 1), steps=30)
    nearer, more = measured()
    assert nearer > gap + 0.05
    assert more > shared + 0.1


def test_a_user_is_never_her_own_neighbour_and_the_nearest_are_found() -> None:
    histories = two_tastes(60, 3)
    objective = neighbours(build_encoder("gru", SMALL, SIZES, seed=1), histories)
    batch = Batch.of(histories)
    place = content_of(batch, objective.basis)
    near = objective.bank.nearest(batch, place, 5)
    assert not (near == torch.arange(60)[:, None]).any()
    for user in range(60):
        alike = (place @ place[user]).tolist()
        alike[user] = -2.0
        best = sorted(alike, reverse=True)[:5]
        assert [alike[row] for row in near[user].tolist()] == pytest.approx(best)


def test_the_bank_keeps_the_latest_events_and_places_by_all() -> None:
    histories = from_items([[(3, 1), (4, 2), (5, 3)], [(6, 1), (7, 5)], [(20, 2), (21, 3), (3, 9)]])
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = neighbours(encoder, histories, bank_events=2)
    kept = objective.bank.histories(torch.tensor([2, 0]))
    assert kept.item.tolist() == [[21, 3], [4, 5]]
    assert kept.length.tolist() == [2, 2]
    assert torch.allclose(objective.bank.place, content_of(Batch.of(histories), objective.basis))


def test_a_swapped_item_is_a_near_one_and_brings_its_category() -> None:
    histories = two_tastes(200, 4)
    objective = neighbours(build_encoder("gru", SMALL, SIZES, seed=1), histories, neighbours=3)
    batch = Batch.of(histories.take(np.arange(50)))
    swapped = objective.substitutes.swap(batch, 0.2, torch.Generator().manual_seed(1))
    changed = swapped.item != batch.item
    assert 0.1 < float(changed.float().mean()) < 0.3
    assert torch.equal(swapped.seconds, batch.seconds)
    assert torch.equal(swapped.category, 2 + (swapped.item >= 16).long())
    unit = objective.basis
    for old, new in zip(batch.item[changed].tolist(), swapped.item[changed].tolist(), strict=True):
        alike = unit @ unit[old]
        alike[old] = -2.0
        assert float(alike[new]) >= float(alike.topk(3).values[-1]) - 1e-5


def test_items_without_a_place_stay_and_are_never_swapped_in() -> None:
    histories = two_tastes(200, 4)
    histories.columns["item"][histories.columns["item"] == 5] = 6
    objective = neighbours(build_encoder("gru", SMALL, SIZES, seed=1), histories)
    batch = Batch.of(from_items([[(1, 1), (5, 2), (999, 3)]]))
    swapped = objective.substitutes.swap(batch, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(swapped.item, batch.item)
    assert not (objective.substitutes.near == 5).any()


def test_one_user_alone_has_no_neighbours() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    with pytest.raises(RefusedError, match="no neighbours"):
        neighbours(encoder, from_items([[(3, 1), (4, 2), (5, 3)]]))
