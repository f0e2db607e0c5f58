"""Item vectors of `content_mean`: what they tell, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from kinsight.encoders.base import FittedEncoder
from kinsight.encoders.basis import token_basis
from kinsight.encoders.batch import Batch
from kinsight.encoders.registry import build_encoder
from kinsight.errors import RefusedError
from tests.histories import SIZES, from_items


def two_tastes(users: int = 60, seed: int = 1) -> csr_matrix:
    """Even users meet items 2 to 15, odd ones 16 to 28; everybody meets item 29; no categories."""
    rng = np.random.default_rng(seed)
    bags = np.zeros((users, SIZES["item"] + SIZES["category"]))
    for user in range(users):
        own = np.arange(2, 16) if user % 2 == 0 else np.arange(16, 29)
        bags[user, rng.choice(own, 5)] = 1
        bags[user, 29] = 4
    return csr_matrix(bags)


@pytest.fixture(scope="module")
def encoder() -> FittedEncoder:
    made = build_encoder("content_mean", {"width": 2}, SIZES, seed=1)
    assert isinstance(made, FittedEncoder)
    measures = made.fit_tokens(two_tastes(), seed=1)
    assert measures["basis_users"] == 60
    assert measures["basis_tokens"] == 28
    assert 0.3 < measures["basis_variance_explained"] < 1
    return made


def cosines(encoder: FittedEncoder, users: list[list[tuple[int, int]]]) -> torch.Tensor:
    with torch.inference_mode():
        read = encoder.read(encoder.encode(Batch.of(from_items(users))))[:, 0]
    unit = torch.nn.functional.normalize(read, dim=1)
    return unit @ unit.T


def test_users_of_one_taste_lie_near_though_they_share_no_item(encoder: FittedEncoder) -> None:
    users = [[(2, 1), (5, 2)], [(9, 1), (12, 3)], [(17, 1), (20, 2)], [(24, 1), (27, 3)]]
    same = cosines(encoder, users)
    assert same[0, 1] > 0.5
    assert same[2, 3] > 0.5
    assert same[:2, 2:].max() < 0


def test_old_and_new_events_weigh_the_same(encoder: FittedEncoder) -> None:
    with torch.inference_mode():
        users = from_items([[(2, 1), (17, 400)], [(17, 1), (2, 400)]])
        one, other = encoder.read(encoder.encode(Batch.of(users)))[:, 0]
    assert torch.allclose(one, other)


def test_what_everybody_meets_and_unknown_items_say_little(encoder: FittedEncoder) -> None:
    length = encoder.item_vectors().norm(dim=1)
    assert length[29] < length[2:29].min()
    assert length[:2].tolist() == [0.0, 0.0]


def test_equal_bags_and_seeds_give_equal_vectors() -> None:
    one, other = (token_basis(two_tastes(), 8, seed=3) for _ in range(2))
    assert np.array_equal(one.vectors, other.vectors)


def test_more_columns_than_items_are_left_empty() -> None:
    basis = token_basis(two_tastes(users=4), 64, seed=3)
    assert np.isfinite(basis.vectors).all()
    assert not basis.vectors[:, 4:].any()
    assert basis.variance_explained == pytest.approx(1.0)


def test_a_catalogue_of_one_item_is_refused() -> None:
    with pytest.raises(RefusedError, match="tell items apart"):
        token_basis(csr_matrix(([1.0, 1.0], ([0, 1], [7, 7])), shape=(2, 30)), 8, seed=3)
