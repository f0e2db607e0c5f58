"""The loss `autoencode_frozen_basis`: vectors of two versions lie in one space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import RefusedError
from kinsight.objectives.autoencode_frozen_basis import AutoencodeFrozenBasis
from kinsight.objectives.next_events import later_places, vectors_long_before
from kinsight.objectives.vectors import history_vectors
from tests.histories import SIZES, from_items, make_objective, random_histories, train

SMALL = {"width": 8, "hidden": 8, "dropout": 0.0, "fields": ["item"]}


def mixed_tastes(users: int, seed: int) -> Histories:
    """Six tastes of four items each, mixed by every user in her own way."""
    rng = np.random.default_rng(seed)
    rows = []
    for mix in rng.dirichlet(np.full(6, 0.4), users):
        items = 2 + rng.choice(6, 8, p=mix) + 6 * rng.integers(0, 4, 8)
        rows.append([(int(item), day) for day, item in enumerate(items)])
    return from_items(rows)


def version(objective_name: str, seed: int) -> tuple[Tensor, dict[str, float]]:
    """Vectors of held-out users by a training with a seed, and its measures."""
    encoder = build_encoder("gru", SMALL, SIZES, seed=seed)
    torch.manual_seed(seed)
    objective = make_objective(objective_name, encoder, mixed_tastes(400, 1))
    train(encoder, objective, mixed_tastes(400, 1), steps=100)
    held_out = mixed_tastes(100, 2)
    with torch.inference_mode():
        vectors = history_vectors(encoder.eval(), held_out, 4_096)
        return vectors, objective.measures(encoder, held_out, 4_096)


def test_versions_of_different_seeds_can_be_compared_and_those_of_next_item_cannot() -> None:
    (one, found), (other, _) = (version("autoencode_frozen_basis", seed) for seed in (1, 2))
    same = F.cosine_similarity(one, other)
    strangers = F.cosine_similarity(one, other.roll(1, 0))
    assert float(same.mean()) > 0.8
    assert float(same.mean()) > float(strangers.mean()) + 0.4
    assert found["hit_rate_10"] > found["popularity_hit_rate_10"] + 0.1
    turned = F.cosine_similarity(*(version("next_item", seed)[0] for seed in (1, 2)))
    assert abs(float(turned.mean())) < 0.5


def test_versions_of_different_users_can_be_compared_once_the_later_one_knows_the_earlier() -> None:
    held_out = mixed_tastes(100, 2)
    vectors = []
    basis = None
    for seed in (1, 3):
        users = mixed_tastes(400, seed)
        encoder = build_encoder("gru", SMALL, SIZES, seed=seed)
        objective = make_objective("autoencode_frozen_basis", encoder, users)
        assert isinstance(objective, AutoencodeFrozenBasis)
        if basis is not None:
            alone = objective.basis
            found = objective.fit(lambda _, users=users: [users], basis.numpy())  # type: ignore[misc]  # mypy sees no default of a lambda
            assert found["content_kept_cosine"] > 0.8
            assert float(F.cosine_similarity(alone[2:], basis[2:]).mean()) < 0.5
        train(encoder, objective, users, steps=100)
        basis = objective.basis
        with torch.inference_mode():
            vectors.append(history_vectors(encoder.eval(), held_out, 4_096))
    same = F.cosine_similarity(*vectors)
    strangers = F.cosine_similarity(vectors[0], vectors[1].roll(1, 0))
    assert float(same.mean()) > 0.7
    assert float(same.mean()) > float(strangers.mean()) + 0.4


def test_nothing_but_the_encoder_learns() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = make_objective("autoencode_frozen_basis", encoder, mixed_tastes(100, 1))
    assert not [name for name, p in objective.named_parameters() if p.requires_grad]
    assert "basis" in objective.state_dict()


def test_a_vector_wider_than_the_items_span_is_refused() -> None:
    encoder = build_encoder("gru", SMALL | {"hidden": 40}, SIZES, seed=1)
    with pytest.raises(RefusedError, match="wider than the space") as refused:
        make_objective("autoencode_frozen_basis", encoder, mixed_tastes(100, 1))
    assert "train.encoder.width" in refused.value.to_do


@pytest.mark.parametrize("causal", [True, False])
def test_targets_are_all_later_events_sooner_or_later(causal: bool) -> None:
    batch = Batch.of(random_histories([9, 1, 6], 3))
    encoder = build_encoder("transformer", {"width": 8, "causal": causal}, SIZES, seed=1)
    draws = torch.Generator().manual_seed(1)
    met: set[tuple[int, int]] = set()
    for _ in range(100):
        _, users, places = vectors_long_before(encoder, encoder.item_vectors(), batch, draws)
        met |= set(zip(users.tolist(), places.tolist(), strict=True))
        later = later_places(batch, draws)
        before, after = torch.nonzero(later >= 0, as_tuple=True)
        assert (batch.group[before, later[before, after]] > batch.group[before, after]).all()
    users, places = torch.nonzero(batch.present & (batch.group > 0), as_tuple=True)
    assert met == set(zip(users.tolist(), places.tolist(), strict=True))


def test_the_basis_hangs_on_no_seed() -> None:
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        encoder = build_encoder("gru", SMALL, SIZES, seed=seed)
        objective = make_objective("autoencode_frozen_basis", encoder, mixed_tastes(100, 1))
        assert isinstance(objective, AutoencodeFrozenBasis)
        made.append(objective.basis)
    assert torch.equal(*made)
