"""Scorers: what every one of them promises, and what each is for."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier

from kinsight.encoders.encoding import encode_histories
from kinsight.encoders.histories import COLUMNS
from kinsight.errors import IntegrityError
from kinsight.expand.measures import auc
from kinsight.expand.scorers import tuning
from kinsight.expand.scorers.bag_basis import basis_fields, fit_basis
from kinsight.expand.scorers.base import Scorer, cross_fit, inner_folds
from kinsight.expand.scorers.blend import Fusion, Ranks, blend
from kinsight.expand.scorers.boosted import BINS, Boosted, bins_of, cuts_of, trees_of
from kinsight.expand.scorers.centroid import Centroid, seed_centres, spherical_centres
from kinsight.expand.scorers.finetuned import Finetuned, Tuning, epochs_worth
from kinsight.expand.scorers.knn import MOST_BACKGROUND, MOST_SEEDS, Knn
from kinsight.expand.scorers.logistic import Logistic
from kinsight.expand.scorers.many import ManyModels, score_many, stack_parts
from kinsight.expand.scorers.registry import OF_HISTORIES, SCORERS
from kinsight.expand.scorers.tree_model import tree_inputs
from kinsight.expand.scorers.users import (
    PARTS,
    Reading,
    Users,
    decode,
    inverse_document_frequency,
    tf_idf,
)
from kinsight.expand.scorers.vectors import unit
from kinsight.hashing import hash_fractions
from tests.unit.planted_users import Mask, equally, masks, planted_readers, planted_users

ALL = pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS.keys())


@ALL
def test_a_planted_taste_is_found(scorer: Scorer) -> None:
    users, taste = planted(scorer, 600)
    seeds, background, hidden = masks(users, taste)
    scores = cross_fit(scorer, users, seeds, background).score(users)
    least = 0.8 if scorer.name in OF_HISTORIES else 0.9  # the encoder is an untrained one
    assert auc(scores[background], hidden[background]) > least


@ALL
def test_the_same_users_get_the_same_scores_to_the_bit(scorer: Scorer) -> None:
    users, taste = planted(scorer, 300)
    seeds, background, _ = masks(users, taste)
    first = cross_fit(scorer, users, seeds, background).score(users)
    again = cross_fit(scorer, users, seeds, background).score(users)
    assert (first == again).all()


@ALL
def test_a_score_does_not_depend_on_the_users_beside_it(scorer: Scorer) -> None:
    users, taste = planted(scorer, 300)
    seeds, background, _ = masks(users, taste)
    models = cross_fit(scorer, users, seeds, background)
    alone = np.arange(len(users)) % 7 == 3
    np.testing.assert_allclose(
        models.score(users)[alone],
        models.score(users.rows(alone)),
        # Torch's last bits hang on what is beside.
        atol=1e-3 if scorer.name in OF_HISTORIES else 1e-12,
    )


@ALL
def test_users_without_anything_share_one_score_in_a_part(scorer: Scorer) -> None:
    users, taste = planted(scorer, 300)
    seeds, background, _ = masks(users, taste)
    empty = np.arange(len(users)) < 30
    users = dataclasses.replace(
        users,
        bags={f: sparse.diags((~empty).astype(float)) @ bag for f, bag in users.bags.items()},
        vectors=np.where(empty[:, None], 0, users.vectors).astype(np.float32),
        has_vector=~empty,
        activity=np.where(empty, 0, users.activity),
        features=np.where(empty[:, None], np.nan, users.features),
        components=np.where(empty[:, None], 0, users.components).astype(np.float32),
        histories=users.histories and users.histories.head(users.histories.length * ~empty),
    )
    scores = cross_fit(scorer, users, seeds, background).score(users)
    assert np.isfinite(scores).all()
    for part in range(PARTS):
        assert len(np.unique(scores[empty & (users.part == part)])) == 1


@ALL
def test_scores_of_the_parts_are_comparable(scorer: Scorer) -> None:
    users, taste = planted(scorer, 900)
    seeds, background, _ = masks(users, taste)
    scores = cross_fit(scorer, users, seeds, background).score(users)
    for part in range(PARTS):
        own = scores[background & (users.part == part)]
        assert own.mean() == pytest.approx(0, abs=1e-6)
        assert own.std() == pytest.approx(1)


@ALL
def test_nobody_is_scored_by_a_model_that_learned_from_him(scorer: Scorer) -> None:
    users, taste = planted(scorer, 300)
    seeds, background, _ = masks(users, taste)
    settings = scorer.tune(users, seeds, background)
    changed = dataclasses.replace(
        users,
        vectors=users.vectors.copy(),
        features=np.array(users.features),
        components=np.array(users.components),
    )
    own = background & (users.part == 0)
    one = np.flatnonzero(own)[0]
    changed.vectors[one] += 5
    for part in (changed.features, changed.components):
        assert part is not None
        part[one] = 7
    bags = {f: bag.tolil() for f, bag in users.bags.items()}
    for bag in bags.values():
        bag[one] = 0
    changed = dataclasses.replace(changed, bags={f: b.tocsr() for f, b in bags.items()})
    if users.histories is not None:
        shorter = users.histories.length - (np.arange(len(users)) == one)
        changed = dataclasses.replace(changed, histories=users.histories.head(shorter))
    rest = background & ~own
    calibration = own & (np.arange(len(users)) != one)
    before = scorer.fit(users, seeds, rest, calibration, settings).score(users)
    after = scorer.fit(changed, seeds, rest, calibration, settings).score(users)
    assert (before == after).all()


def planted(scorer: Scorer, n: int) -> tuple[Users, Mask]:
    """Users with what a scorer reads."""
    return planted_readers(n) if scorer.name in OF_HISTORIES else planted_users(n)


def test_models_of_many_audiences_score_together_as_they_do_alone() -> None:
    users, taste = planted_readers(300)
    users = dataclasses.replace(users, has_vector=np.arange(300) % 9 != 4)
    seeds, background, _ = masks(users, taste)
    by_name = {n: cross_fit(scorer, users, seeds, background) for n, scorer in SCORERS.items()}
    weighted = Fusion({"logistic": 0.2, "boosted": 0.5, "knn": 0.0, "bag_logistic": 0.3})
    fusions = [weighted, equally(list(SCORERS)), equally(list(SCORERS), by_rank=True)]
    fitted = [
        *by_name.values(),
        cross_fit(SCORERS["logistic"], users, ~seeds & taste, ~taste),
        *(blend(fusion, by_name, users, background) for fusion in fusions),
    ]
    together = score_many(stack_parts(fitted), users)
    alone = np.column_stack([models.score(users) for models in fitted])
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_trees_as_arrays_give_what_scikit_learn_gives() -> None:
    users, taste = planted_users(600)
    inputs = tree_inputs(dataclasses.replace(users, has_vector=np.arange(600) % 5 != 2))
    assert np.isnan(inputs).any()
    cuts = cuts_of(inputs[:500])
    assert max(map(len, cuts)) == BINS - 1
    bins = bins_of(inputs, cuts)
    model = HistGradientBoostingClassifier(max_iter=30, max_depth=3, random_state=0)
    expected = model.fit(bins, taste).decision_function(bins)
    difference = expected - trees_of(model, cuts).sums(inputs)
    np.testing.assert_allclose(difference, difference[0], atol=1e-9)


def test_trees_use_readable_features_and_components_where_there_are_any() -> None:
    users, taste = planted_users(600)
    seeds, background, hidden = masks(users, taste)
    none = np.zeros(len(users), dtype=bool)
    bare = dataclasses.replace(users, has_vector=none, features=None, components=None)

    def quality(known: Users) -> float:
        scores = cross_fit(Boosted(), known, seeds, background).score(known)
        return auc(scores[background], hidden[background])

    assert quality(bare) < 0.65
    assert quality(dataclasses.replace(bare, features=users.features)) > 0.7
    assert quality(dataclasses.replace(bare, components=users.components)) > 0.8


def test_a_basis_is_the_singular_vectors_of_the_bags() -> None:
    users, _ = planted_users(200)
    basis = fit_basis(users.bags, 5)
    found = basis.project(users.bags, 200)
    dense = np.hstack([users.bags[field].toarray() for field in sorted(users.bags)])
    strength = np.linalg.svd(dense, compute_uv=False)[:5]
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), strength, rtol=1e-4)
    assert (found == fit_basis(users.bags, 5).project(users.bags, 200)).all()


def test_a_basis_is_of_the_deepest_category_and_the_crosses_where_there_are_any() -> None:
    crosses = ["brand_in_category", "price_in_category"]
    fields = ["item", "brand", "category_1", "category_2", "category_10", *crosses]
    assert basis_fields(fields) == ["brand_in_category", "category_10", "price_in_category"]
    assert basis_fields(["item", "brand"]) == ["brand", "item"]


def test_a_basis_of_nothing_has_no_numbers() -> None:
    assert fit_basis({}).project({}, 3).shape == (3, 0)
    empty = {"item": sparse.csr_matrix((4, 0))}
    assert fit_basis(empty).project(empty, 4).shape == (4, 0)


def test_ranks_go_on_beyond_the_scores_that_they_are_counted_among() -> None:
    scores = np.random.default_rng(3).normal(size=5_000)
    ranks = Ranks.among(scores)
    expected = (np.argsort(np.argsort(scores)) + 0.5) / len(scores)
    np.testing.assert_allclose(ranks.of(scores), expected, atol=2e-3)
    outside = ranks.of(np.array([scores.min() - 2, scores.min() - 1, 9.0, 10.0]))
    assert (np.diff(outside) > 0).all()
    assert outside[1] < 0
    assert outside[2] > 1
    assert Ranks.among(np.ones(4)).of(np.array([0.0, 1.0, 2.0])).tolist() == [0.0, 0.5, 1.0]


def test_a_field_that_says_nothing_is_left_out() -> None:
    users, taste = planted_users(600)
    seeds, background, _ = masks(users, taste)
    settings = SCORERS["bag_logistic"].tune(users, seeds, background)
    assert settings["item"].weight > 20 * settings["noise"].weight


def test_several_centres_find_a_seed_with_two_modes() -> None:
    rng = np.random.default_rng(5)
    users, _ = planted_users(600)
    mode = np.arange(600) % 6  # modes 0 and 3 are opposite directions, both of them seeds
    angle = mode * np.pi / 3
    vectors = np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.1, (600, 2))
    users = dataclasses.replace(users, vectors=vectors.astype(np.float32))
    seeds, background, hidden = masks(users, (mode == 0) | (mode == 3))
    scorer = Centroid()
    assert scorer.tune(users, seeds, background) > 1
    scores = cross_fit(scorer, users, seeds, background).score(users)
    assert auc(scores[background], hidden[background]) > 0.9


def test_the_common_part_of_vectors_is_taken_off() -> None:
    users, taste = planted_users(600)
    seeds, background, hidden = masks(users, taste)
    shifted = dataclasses.replace(users, vectors=users.vectors + np.float32(100))
    model = seed_centres(shifted, seeds, background, modes=1)
    assert auc(model.cosine(shifted)[background], hidden[background]) > 0.9


def test_centres_of_no_vector_are_zero_and_of_few_are_few() -> None:
    assert (spherical_centres(np.zeros((0, 3)), 4) == 0).all()
    assert len(spherical_centres(unit(np.eye(3)[:2]), 4)) <= 2


VECTORS = pytest.mark.parametrize("scorer", [Knn(), Logistic(), Centroid()], ids=lambda s: s.name)


@VECTORS
def test_users_without_a_vector_get_a_neutral_score(scorer: Scorer) -> None:
    users, taste = planted_users(600)
    seeds, background, _ = masks(users, taste)
    without = np.arange(len(users)) % 5 == 0
    users = dataclasses.replace(
        users,
        vectors=np.where(without[:, None], 0, users.vectors).astype(np.float32),
        has_vector=~without,
    )
    scores = cross_fit(scorer, users, seeds, background).score(users)
    assert np.abs(scores[without]).max() < 0.2
    assert scores[taste & ~without].mean() > 1


@VECTORS
def test_an_audience_where_nobody_has_a_vector_is_scored_alike(scorer: Scorer) -> None:
    users, taste = planted_users(300)
    seeds, background, _ = masks(users, taste)
    none = np.zeros(len(users), dtype=bool)
    users = dataclasses.replace(users, vectors=np.zeros((300, 0), np.float32), has_vector=none)
    assert (cross_fit(scorer, users, seeds, background).score(users) == 0).all()


@VECTORS
def test_the_scale_of_the_vectors_changes_no_ranking(scorer: Scorer) -> None:
    users, taste = planted_users(300)
    seeds, background, _ = masks(users, taste)
    longer = dataclasses.replace(users, vectors=users.vectors * np.float32(64))
    scores, scaled = (cross_fit(scorer, u, seeds, background).score(u) for u in (users, longer))
    np.testing.assert_allclose(scores, scaled, atol=0.02)


def test_crowded_regions_without_seeds_of_their_own_are_not_preferred() -> None:
    """Half of the users sit in a dense crowd with few seeds, the seeds' own region is thin."""
    rng = np.random.default_rng(8)
    users, _ = planted_users(900)
    crowd = np.arange(900) % 2 == 0
    centre = np.where(crowd[:, None], np.eye(8)[0] + np.eye(8)[1], np.eye(8)[0])
    spread = np.where(crowd[:, None], 0.05, 0.6)
    vectors = (centre + spread * rng.normal(size=(900, 8))).astype(np.float32)
    users = dataclasses.replace(users, vectors=vectors)
    seeds = (hash_fractions(users.ids, "seeds") < np.where(crowd, 0.05, 0.3)) & (vectors[:, 2] > 0)
    background = ~seeds
    model = cross_fit(Knn(), users, seeds, background)
    scores = model.score(users)
    likes = ~crowd & (vectors[:, 2] > 0)
    assert auc(scores[background], likes[background]) > 0.75


def test_a_knn_model_keeps_a_bounded_number_of_vectors() -> None:
    users, taste = planted_users(12_000)
    seeds, background, _ = masks(users, taste)
    nobody = np.zeros(len(users), dtype=bool)
    model = Knn().fit(users, seeds, background, nobody, 3)
    assert seeds.sum() > len(model.seeds) == MOST_SEEDS
    assert background.sum() > len(model.background) == MOST_BACKGROUND
    assert len(pickle.dumps(model)) < 200_000


def test_fitted_models_are_read_without_scikit_learn() -> None:
    users, taste = planted_readers(300)
    seeds, background, _ = masks(users, taste)
    by_name = {n: cross_fit(scorer, users, seeds, background) for n, scorer in SCORERS.items()}
    fitted = blend(equally(list(SCORERS), by_rank=True), by_name, users, background)
    code = (
        "import pickle, sys\n"
        "pickle.load(sys.stdin.buffer)\n"
        "assert not {m for m in sys.modules if m.startswith(('sklearn', 'pyspark', 'torch'))}\n"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(fitted), check=True)


def test_finetuning_finds_what_the_untuned_vectors_hide_and_leaves_the_model_alone() -> None:
    users, taste = planted_readers(600)
    assert users.model is not None
    before = users.model.weights
    seeds, background, hidden = masks(users, taste)
    tuned = cross_fit(Finetuned(), users, seeds, background)
    assert all(0 < len(pickle.dumps(model)) < 60_000 for model in tuned.models)
    assert users.model.weights == before
    found = tuned.score(users)
    head = cross_fit(Logistic(), users, seeds, background).score(users)
    quality = [auc(scores[background], hidden[background]) for scores in (found, head)]
    assert quality[0] > quality[1] + 0.02, quality


@pytest.mark.parametrize("encoder", ["gru", "multi_interest"])
def test_finetuning_for_no_epoch_is_the_head_alone(encoder: str) -> None:
    users, taste = planted_readers(300, encoder)
    seeds, background, nobody = masks(users, taste)
    model = Finetuned().fit(users, seeds, background, nobody & False, Tuning(0.1, 0))
    head = Logistic().regress(users, seeds, background, 0.1)
    np.testing.assert_allclose(model.score(users), head.score(users), atol=1e-4)
    if encoder == "multi_interest":
        assert (head.score(users) > users.vectors @ head.coefficients + 1e-6).any()


def test_a_gain_within_chance_is_no_reason_to_fine_tune() -> None:
    sure = np.array([[0.6, 0.66, 0.65], [0.5, 0.58, 0.6], [0.7, 0.75, 0.73]])
    assert epochs_worth(sure) == 1
    assert epochs_worth(sure - [[0, 0.1, 0.1], [0, 0, 0], [0, 0.05, 0]]) == 0
    assert epochs_worth(sure[:, ::-1]) == 0


def test_without_histories_of_a_kind_nothing_is_learned() -> None:
    users, taste = planted_readers(300)
    seeds, background, _ = masks(users, taste)
    assert users.histories is not None
    none = users.histories.head(users.histories.length * ~seeds)
    users = dataclasses.replace(users, histories=none)
    assert (cross_fit(Finetuned(), users, seeds, background).score(users) == 0).all()
    assert (
        cross_fit(Finetuned(), users.without_histories(), seeds, background).score(users) == 0
    ).all()


def test_every_user_weighs_the_same_in_fine_tuning_however_long_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users, taste = planted_readers(300)
    assert users.histories is not None
    assert users.model is not None
    length = np.where(np.arange(300) % 2 == 0, users.histories.length, 1)
    histories = users.histories.head(length)
    users = dataclasses.replace(users, histories=histories)
    monkeypatch.setattr(tuning, "GRADIENT_NORM", np.inf)
    monkeypatch.setattr(tuning, "TOKENS", 100)
    tuner = tuning.Tuner.start(users, taste, np.zeros(users.vectors.shape[1]))
    tuner.optimiser = torch.optim.SGD([tuner.head], lr=1e-4)
    tuner.epoch()
    vectors = encode_histories(users.model.build(), histories, np.argsort(length), 4_096)[0][:, 0]
    # With a head of zeros the chance of each user is a half.
    weight = np.where(taste, 0.5 - 1.0, 0.5) * 150.0 / np.where(taste, taste.sum(), (~taste).sum())
    slope = (weight[:, None] * vectors.numpy()).sum(axis=0) / tuning.USERS_A_STEP
    np.testing.assert_allclose(tuner.head.detach().numpy(), -1e-4 * slope, rtol=1e-2, atol=1e-6)


def test_inner_folds_keep_seeds_and_background_apart_and_even() -> None:
    users, taste = planted_users(300)
    seeds, background, _ = masks(users, taste)
    asked = np.zeros(300, dtype=int)
    for training, validation in inner_folds(users, seeds, background):
        assert not (training & validation).any()
        assert ((training | validation) == (seeds | background)).all()
        assert (seeds & validation).sum() == pytest.approx(seeds.sum() / 3, abs=1)
        asked += validation
    assert (asked == (seeds | background)).all()


def test_tf_idf_rows_are_sublinear_and_of_unit_length() -> None:
    weights = np.array([0.0, 0.0, 1.0, 2.0])
    tokens = pa.array([[2, 3], None, [1, 3], [], [9, 2]], pa.list_(pa.int32()))
    counts = pa.array([[np.e, 1.0], None, [5.0, 2.0], [], [1.0, 1.0]], pa.list_(pa.float32()))
    rows = tf_idf(tokens, counts, weights).toarray()
    np.testing.assert_allclose(rows[0], [0, 0, 2**-0.5, 2**-0.5], atol=1e-7)
    np.testing.assert_allclose(rows[[1, 3]], 0)  # no tokens
    np.testing.assert_allclose(rows[2], [0, 0, 0, 1])  # index 1 is unknown and weighs nothing
    np.testing.assert_allclose(rows[4], [0, 0, 1, 0])  # index 9 is of no vocabulary


def test_users_are_decoded_from_a_slice_of_arrow_with_missing_parts() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "user_id": ["x", "a", "b", "c"],
            "events": [1, 1, 10, 100],
            "order": [0.0, 0.1, 0.2, 0.3],
            "part": [0, 0, 1, 2],
            "vector": pa.array([[9, 9], [1, 2], None, [3, 4]], pa.list_(pa.float32())),
            "tokens_item": pa.array([[3], [2], [2, 3], None], pa.list_(pa.int32())),
            "counts_item": pa.array([[1], [1], [1, 1], None], pa.list_(pa.float32())),
        }
    ).slice(1)
    weights = {"item": np.array([0, 0, 1.0, 1.0])}
    users = decode(batch, Reading(weights, 2))
    assert list(users.ids) == ["a", "b", "c"]
    np.testing.assert_allclose(users.activity, np.log([1, 10, 100]))
    assert users.has_vector.tolist() == [True, False, True]
    np.testing.assert_allclose(users.vectors, [[1, 2], [0, 0], [3, 4]])
    np.testing.assert_allclose(users.bags["item"].toarray()[0], [0, 0, 1, 0])
    assert users.bags["item"][2].nnz == 0


def test_several_vectors_of_a_user_stand_one_after_another() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "user_id": ["a", "b"],
            "events": [1, 1],
            "order": [0.1, 0.2],
            "part": [0, 1],
            "vector": pa.array([[1, 2, 3, 4, 5, 6], None], pa.list_(pa.float32())),
        }
    )
    users = decode(batch, Reading({}, 2, 3))
    assert [vectors[0].tolist() for vectors in users.all_vectors()] == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(IntegrityError, match="different widths"):
        decode(batch, Reading({}, 2, 2))


@pytest.mark.parametrize("name", ["centroid", "knn", "logistic"])
def test_a_user_scores_by_the_vector_that_is_most_like_the_seeds(name: str) -> None:
    alone, taste = planted_users(600)
    seeds, background, hidden = masks(alone, taste)
    # The taste of every other hidden user stands in the second vector, the first is anybody's.
    moved = hidden & (np.arange(600) % 2 == 0)
    anybody = alone.vectors[np.flatnonzero(~taste)[np.arange(600) % (~taste).sum()]]
    users = dataclasses.replace(
        alone,
        vectors=np.where(moved[:, None], anybody, alone.vectors),
        further=np.where(moved[:, None], alone.vectors, anybody)[:, None],
    )
    scorer = SCORERS[name]
    settings = scorer.tune(users, seeds, background)
    model = scorer.fit(users, seeds, background, background, settings)
    main = model.score(dataclasses.replace(users, further=None))
    best = model.score(users)
    assert (best >= main - 1e-9).all()
    rest = background & ~hidden
    assert auc(best[moved | rest], moved[moved | rest]) > 0.6
    assert auc(main[moved | rest], moved[moved | rest]) < 0.6
    many = ManyModels.of([model])
    np.testing.assert_allclose(many.score(users)[:, 0], best)


def test_rare_tokens_weigh_more() -> None:
    weights = inverse_document_frequency(np.array([1, 10, 100]), 100)
    assert (np.diff(weights) < 0).all()
    assert weights[2] == 1.0


def test_users_without_a_history_have_an_empty_one() -> None:
    whole = pa.array([[3, 4], None, [5]], pa.list_(pa.int32()))
    batch = pa.RecordBatch.from_pydict(
        {
            "user_id": ["a", "b", "c"],
            "events": [2, 1, 1],
            "order": [0.1, 0.2, 0.3],
            "part": [0, 1, 2],
            "vector": pa.array([[1.0], None, [2.0]], pa.list_(pa.float32())),
            **{f"history_{name}": whole for name in COLUMNS},
        }
    )
    model = planted_readers(20)[0].model
    histories = decode(batch, Reading({}, 1, model=model)).histories
    assert histories is not None
    assert histories.length.tolist() == [2, 0, 1]
    assert histories.columns["brand"].tolist() == [3, 4, 5]
    assert decode(batch, Reading({}, 1)).histories is None
