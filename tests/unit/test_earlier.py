"""What a new model takes from the one before it: weights by token, a readable space, drift."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from kinsight.config import TrainConfig
from kinsight.encoders.artifact import Artifact, read_artifact
from kinsight.encoders.base import FittedEncoder
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import ENCODERS, build_encoder, encoder_options
from kinsight.objectives.vectors import history_vectors
from kinsight.train.earlier import EarlierModel, drift
from kinsight.train.reading import rows_by_token
from tests.histories import SIZES, from_items, random_histories

GROWN = SIZES | {"item": 40}
OPTIONS = {"width": 8, "dropout": 0.0}


def item_rows() -> np.ndarray:
    """Today's items 2 to 29 were 29 to 2; the ten beyond are new."""
    then = {str(index): index for index in range(2, 30)}
    now = {str(31 - index): index for index in range(2, 30)} | {
        f"new {index}": index for index in range(30, 40)
    }
    return rows_by_token(now, then, GROWN["item"])


def earlier(name: str, encoder: Any, basis: torch.Tensor | None = None) -> EarlierModel:
    same = {field: np.arange(size) for field, size in SIZES.items()}
    given = {"width": 4} if name == "content_mean" else OPTIONS
    options = encoder_options(name, given).model_dump(mode="json")
    rows = same | {"item": item_rows()}
    return EarlierModel("old", name, options, encoder.eval(), basis, SIZES, rows)


def test_rows_pass_from_token_to_token() -> None:
    rows = item_rows()
    assert rows[:4].tolist() == [0, 1, 29, 28]
    assert rows[30:].tolist() == [1] * 10
    wide = rows_by_token({"a": 2}, {"a": 3}, 5)
    assert wide.tolist() == [0, 1, 3, 1, 1], "a table may be wider than the level that is used"


@pytest.mark.parametrize(
    ("changed", "seen"),
    [({}, False), ({"seed": 8}, True), ({"holdout_share": 0.2}, True),
     ({"holdout_share": 0.05}, False)],
)  # fmt: skip
def test_a_model_that_learned_from_todays_held_out_users_is_told(
    changed: dict[str, Any], seen: bool
) -> None:
    config = TrainConfig.model_validate({"seed": 7, "holdout_share": 0.1} | changed)
    model = earlier("gru", build_encoder("gru", OPTIONS, SIZES, seed=1))
    assert not model.has_seen_held_out(config), "of before this was recorded"
    model = dataclasses.replace(model, held_out_by=(7, 0.1))
    assert model.has_seen_held_out(config) == seen


LEARNED = sorted(name for name, kind in ENCODERS.items() if kind.learns)


@pytest.mark.parametrize("name", LEARNED)
def test_a_warm_start_reads_known_tokens_as_before_and_new_ones_afresh(name: str) -> None:
    old = build_encoder(name, OPTIONS, SIZES, seed=1)
    new = build_encoder(name, OPTIONS, GROWN, seed=2).eval()
    fresh = new.item_vectors().detach().clone()
    model = earlier(name, old)
    model.start(new)
    today = random_histories([5, 1, 9], seed=3)
    with torch.inference_mode():
        one = history_vectors(new, today, 100)
        other = history_vectors(old, model.translate(today), 100)
    assert torch.allclose(one, other, atol=1e-6)
    assert torch.equal(new.item_vectors()[30:], fresh[30:])
    assert torch.equal(new.item_vectors()[2:30], old.item_vectors()[2:].flip(0))


def test_only_the_same_encoder_with_the_same_options_is_begun_with() -> None:
    model = earlier("gru", build_encoder("gru", OPTIONS, SIZES, seed=1))

    def config(**encoder: Any) -> TrainConfig:
        return TrainConfig.model_validate({"encoder": encoder})

    assert model.is_like(config(name="gru", **OPTIONS))
    assert not model.is_like(config(name="gru", **OPTIONS | {"width": 16}))
    assert not model.is_like(config(name="transformer", **OPTIONS))
    # An option that came later has its default in the models before it.
    older = {name: value for name, value in model.options.items() if name != "pooling"}
    assert dataclasses.replace(model, options=older).is_like(config(name="gru", **OPTIONS))


def tastes(users: int, seed: int) -> csr_matrix:
    """Bags of users of four tastes over items 2 to 29, without categories."""
    rng = np.random.default_rng(seed)
    bags = np.zeros((users, 30 + SIZES["category"]))
    for user in range(users):
        own = 2 + 7 * (user % 4) + np.arange(7)
        bags[user, rng.choice(own, 4)] = 1
        bags[user, rng.integers(2, 30)] += 1
    return csr_matrix(bags)


def fitted(bags: csr_matrix, sizes: dict[str, int], before: Any = None) -> FittedEncoder:
    made = build_encoder("content_mean", {"width": 4}, sizes, seed=1)
    assert isinstance(made, FittedEncoder)
    measures = made.fit_tokens(bags, 1, before)
    assert ("basis_kept_cosine" in measures) == (before is not None)
    return made


def test_vectors_of_content_mean_stay_readable_across_retraining() -> None:
    old = fitted(tastes(200, seed=1), SIZES)
    model = earlier("content_mean", old)
    # Other users, items under other indices, and some new ones that nobody has met yet.
    later = tastes(200, seed=2).toarray()
    renamed = np.zeros((200, 40 + SIZES["category"]))
    renamed[:, 2:30] = later[:, 2:30][:, ::-1]
    bags = csr_matrix(renamed)
    turned = fitted(bags, GROWN, model.frozen_tokens())
    plain = fitted(bags, GROWN)
    # Users of one taste each; all their items bear today's indices.
    rng = np.random.default_rng(5)
    own = [31 - (2 + 7 * (user % 4) + rng.choice(7, 4)) for user in range(40)]
    today = from_items([[(int(item), day) for day, item in enumerate(items)] for items in own])
    with torch.inference_mode():
        then = history_vectors(old, model.translate(today), 1_000)
        now, unturned = (history_vectors(e, today, 1_000) for e in (turned, plain))

    def alike(vectors: torch.Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(vectors, then).mean())

    assert alike(now) > 0.8
    assert alike(unturned) < 0.5, "singular vectors alone would have been enough"
    # Turning changes no angle within the new version.
    assert torch.allclose(now @ now.T, unturned @ unturned.T, atol=1e-5)


def test_drift_is_none_for_the_same_model_and_chance_for_an_unrelated_one() -> None:
    held_out = random_histories([6] * 120, seed=7)
    old = build_encoder("gru", OPTIONS, SIZES, seed=1)
    model = earlier("gru", old)
    same = build_encoder("gru", OPTIONS, GROWN, seed=2).eval()
    model.start(same)
    found = drift(same, model, held_out, 500)
    assert found["drift_neighbours_kept"] == 1.0
    assert found["drift_users"] == 120
    other = build_encoder("gru", OPTIONS, GROWN, seed=3).eval()
    strange = drift(other, model, shuffled(held_out), 500)
    assert strange["drift_chance"] < strange["drift_neighbours_kept"] < 0.6
    assert drift(same, model, held_out.take(np.arange(5)), 500) == {}


def shuffled(histories: Histories) -> Histories:
    return histories.take(np.random.default_rng(1).permutation(len(histories)))


def test_the_space_of_an_objective_is_kept_with_the_model_and_read_in_todays_items(
    tmp_path: Path,
) -> None:
    encoder = build_encoder("gru", OPTIONS, SIZES, seed=1)
    basis = torch.arange(30.0)[:, None].repeat(1, 3)
    Artifact.of(encoder, "gru", OPTIONS, "v1", SIZES, basis).write(tmp_path / "model")
    artifact = read_artifact(tmp_path / "model")
    kept = artifact.item_basis()
    assert kept is not None
    assert torch.equal(kept, basis)
    assert artifact.build().dimension == encoder.dimension
    today = earlier("gru", encoder, kept).basis_of_items()
    assert today is not None
    assert today[2:30, 0].tolist() == [31 - index for index in range(2, 30)]
    assert not today[30:].any()
    assert not today[:2].any()
