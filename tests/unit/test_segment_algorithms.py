"""Spherical k-means, size limits and assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import adjusted_rand_score

from kinsight.segment.algorithms.assignment import MANY_CENTROIDS, _nearest_two, assign
from kinsight.segment.algorithms.limits import Limits, fit_within_limits
from kinsight.segment.algorithms.quality import seed_stability, silhouette
from kinsight.segment.algorithms.space import Blocks, fit_space
from kinsight.segment.algorithms.spherical import (
    Floats,
    fit_centroids,
    mean_directions,
    nearest,
    objective,
    unit_rows,
)
from kinsight.segment.algorithms.tastes import axes_for, fit_tastes

# A crowded machine is slow; that is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def planted(users: int, clusters: int, width: int, noise: float, seed: int = 0) -> tuple:
    """Unit vectors around random directions, and the direction of each."""
    rng = np.random.default_rng(seed)
    directions = unit_rows(rng.normal(size=(clusters, width)))
    labels = rng.integers(0, clusters, users)
    return unit_rows(directions[labels] + rng.normal(0, noise, (users, width))), labels


def test_planted_clusters_are_recovered() -> None:
    vectors, truth = planted(900, 6, 16, noise=0.1)
    centroids = fit_centroids(vectors, 6, iterations=20, restarts=4, seed=1)
    assert adjusted_rand_score(truth, nearest(vectors, centroids)) == 1.0
    assert silhouette(vectors, centroids) > 0.5
    assert seed_stability(vectors, centroids, iterations=20, restarts=4, seed=2) == 1.0


def test_the_objective_is_as_good_as_that_of_scikit_learn() -> None:
    vectors, _ = planted(1_500, 12, 24, noise=0.25)
    ours = objective(vectors, fit_centroids(vectors, 8, iterations=25, restarts=10, seed=3))
    reference = KMeans(8, n_init=10, max_iter=50, random_state=3).fit(vectors)
    theirs = objective(vectors, unit_rows(reference.cluster_centers_))
    assert ours > theirs - 0.005


def test_equal_arguments_give_equal_centroids() -> None:
    vectors, _ = planted(500, 5, 8, noise=0.5)
    first, second = (fit_centroids(vectors, 5, 10, 3, seed=9) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert np.allclose(np.linalg.norm(first, axis=1), 1)


def test_the_space_tells_users_of_a_narrow_cone_apart() -> None:
    vectors, truth = planted(600, 4, 8, noise=0.1)
    blocks = Blocks(vectors + 10, None)
    points = fit_space(blocks, seed=1).points(blocks)
    labels = nearest(points, fit_centroids(points, 4, 20, 4, 1))
    assert adjusted_rand_score(truth, labels) == 1.0


def bags(users: int, seed: int = 0) -> tuple[csr_matrix, np.ndarray]:
    """Counts of 40 tokens: three tastes of twelve tokens, activity that says nothing."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 3, users)
    rate = np.full((users, 40), 0.05)
    for user in range(users):
        rate[user, 2 + 12 * taste[user] : 14 + 12 * taste[user]] = 0.5
    rate *= rng.lognormal(0.5, 1, users)[:, None]
    counts = rng.poisson(rate).astype(np.float32)
    counts[:, 1] = 50
    return csr_matrix(counts), taste


def test_tastes_come_from_bags_whatever_the_activity_and_the_unknown_token() -> None:
    counts, taste = bags(900)
    blocks = Blocks(None, counts)
    points = fit_space(blocks, seed=1).points(blocks)
    labels = nearest(points, fit_centroids(points, 3, 20, 4, 1))
    assert adjusted_rand_score(taste, labels) > 0.85


def test_taste_vectors_are_those_of_scikit_learn() -> None:
    counts, _ = bags(300)
    tastes = fit_tastes(counts[:, 2:36].tocsr(), seed=3)
    log = counts[:, 2:36].log1p()
    reference = TfidfTransformer(smooth_idf=False).fit(log > 0)
    having = np.asarray((log > 0).sum(axis=0)).ravel()
    reference.idf_ = np.where(np.arange(34) < 2, 0, np.log(301 / (1 + having)))
    weighted = reference.transform(log)
    vectors = tastes.vectors(counts[:, 2:36].tocsr())
    assert np.allclose(vectors @ vectors.T, (weighted @ weighted.T).toarray(), atol=1e-6)


def test_segments_have_the_axes_that_they_can_follow() -> None:
    assert [axes_for(number) for number in (2, 10, 30, 1_000)] == [8, 9, 29, 64]


def test_many_rows_go_on_from_the_best_start_on_few() -> None:
    vectors, truth = planted(24_000, 6, 16, noise=0.1)
    found = fit_centroids(vectors, 6, iterations=20, restarts=8, seed=1)
    assert adjusted_rand_score(truth, nearest(vectors, found)) > 0.999
    few = fit_centroids(vectors[:20_000], 6, iterations=20, restarts=8, seed=1)
    assert objective(vectors, found) >= objective(vectors, few) - 1e-6


def test_two_blocks_weigh_the_same_whatever_their_scale() -> None:
    counts, _ = bags(400)
    vectors, _ = planted(400, 4, 8, noise=0.2)
    small, large = (Blocks(np.float32(scale) * vectors, counts) for scale in (1, 1_000))
    points = fit_space(large, seed=1).points(large)
    assert np.allclose(points, fit_space(small, seed=1).points(small), atol=1e-5)
    weights = [(part.astype(float) ** 2).sum() for part in (points[:, :8], points[:, 8:])]
    assert 0.6 < weights[0] / weights[1] < 1.6


def test_a_user_is_the_same_point_alone_and_among_others() -> None:
    counts, _ = bags(200)
    blocks = Blocks(None, counts)
    space = fit_space(blocks, seed=1)
    alone = space.points(blocks.rows(np.arange(200) == 17))
    assert np.array_equal(alone[0], space.points(blocks)[17])
    nobody = Blocks(None, csr_matrix((1, 40), dtype=np.float32))
    assert np.isfinite(space.points(nobody)).all()


def test_a_lloyd_step_never_lowers_the_objective_and_keeps_empty_centroids() -> None:
    vectors, _ = planted(300, 5, 8, noise=0.4)
    centroids = unit_rows(np.vstack([vectors[:4], -vectors.mean(axis=0)]))
    labels = nearest(vectors, centroids)
    labels[labels == 4] = 0
    moved = mean_directions(vectors, labels, centroids)
    assert objective(vectors, moved) >= objective(vectors, centroids) - 1e-6
    assert np.array_equal(moved[4], centroids[4])


@settings(PATIENT, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    clusters=st.integers(2, 12),
    width=st.integers(3, 12),
    skew=st.floats(0, 0.97),
    minimum=st.floats(0, 0.04),
    maximum=st.floats(0.2, 0.6),
)
def test_size_limits_hold_however_skewed_the_users_are(
    seed: int, clusters: int, width: int, skew: float, minimum: float, maximum: float
) -> None:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(clusters, width))
    labels = np.where(rng.random(400) < skew, 0, rng.integers(0, clusters, 400))
    vectors = unit_rows(directions[labels] + rng.normal(0, 0.3, (400, width)))
    limits = Limits(minimum, maximum)
    centroids = fit_within_limits(vectors, fit_centroids(vectors, clusters, 5, 1, seed), limits)
    assert limits.hold(np.bincount(nearest(vectors, centroids), minlength=len(centroids)))
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)


def test_within_limits_centroids_change_by_lloyd_steps_only() -> None:
    vectors, _ = planted(600, 5, 8, noise=0.3)
    centroids = fit_centroids(vectors, 5, 20, 4, seed=2)
    kept = fit_within_limits(vectors, centroids, Limits(0.01, 0.9))
    assert len(kept) == 5
    assert objective(vectors, kept) >= objective(vectors, centroids) - 1e-6


def test_rows_that_lie_close_without_being_equal_are_halved() -> None:
    draws = np.random.default_rng(3)
    rows = np.column_stack([np.ones(200_000), draws.normal(0, 0.005, (200_000, 2))])
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    far = np.array([[1, 0, 0], [0, 0, -1]], dtype=np.float32)
    found = fit_within_limits(rows, far, Limits(0.2, 0.6))
    shares = np.bincount(nearest(rows, found)) / len(rows)
    assert np.allclose(shares, 0.5, atol=0.1), "the far one holds nobody and is dissolved"


def test_equal_users_cannot_be_split_and_the_search_still_ends() -> None:
    vectors = unit_rows(np.ones((200, 4)))
    centroids = fit_within_limits(vectors, unit_rows(np.eye(4)), Limits(0.05, 0.4))
    assert np.isfinite(centroids).all()
    assert len(centroids) == 2


@pytest.mark.parametrize("share", [0.3, 0.4, 0.6])
def test_equal_users_over_the_limit_stay_together_and_the_other_clusters_keep_it(
    share: float,
) -> None:
    vectors, _ = planted(2_000, 10, 8, noise=0.3)
    equal = int(share * len(vectors))
    vectors[:equal] = vectors[0]
    limits = Limits(0.022, 0.27)
    centroids = fit_within_limits(vectors, fit_centroids(vectors, 10, 20, 4, seed=0), limits)
    sizes = np.bincount(nearest(vectors, centroids), minlength=len(centroids))
    others = np.delete(sizes, sizes.argmax())
    assert equal <= sizes.max() < equal + limits.minimum * len(vectors)
    assert others.min() >= limits.minimum * len(vectors)
    assert others.max() <= limits.maximum * len(vectors)


class TestAssignment:
    """The contract of ``assign``."""

    centroids: Floats = np.eye(3, dtype=np.float32)

    def test_the_centroid_itself_is_at_distance_nought_with_full_confidence(self) -> None:
        found = assign(np.eye(3, dtype=np.float32), self.centroids)
        assert found.nearest.tolist() == [0, 1, 2]
        assert found.distance.tolist() == [0, 0, 0]
        assert found.confidence.tolist() == [1, 1, 1]

    def test_on_the_border_confidence_is_nought_and_the_lower_index_wins(self) -> None:
        found = assign(unit_rows(np.array([[1, 1, 0.5]])), self.centroids)
        assert (found.nearest[0], found.second[0], found.confidence[0]) == (0, 1, 0)

    def test_a_user_at_the_centre_gets_a_segment_without_confidence(self) -> None:
        found = assign(np.zeros((1, 3), dtype=np.float32), self.centroids)
        assert (found.distance[0], found.confidence[0]) == (1, 0)

    @PATIENT
    @given(rows=st.integers(1, 40), cut=st.integers(0, 40))
    def test_batches_do_not_matter(self, rows: int, cut: int) -> None:
        vectors = unit_rows(np.random.default_rng(rows).normal(size=(rows, 3)))
        whole = assign(vectors, self.centroids)
        parts = [assign(part, self.centroids) for part in (vectors[:cut], vectors[cut:])]
        for name in ("nearest", "second", "distance", "confidence"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(getattr(whole, name), joined)


@pytest.mark.parametrize("rows", [1, 2])
def test_the_silhouette_of_too_few_users_is_nought(rows: int) -> None:
    vectors: Floats = unit_rows(np.eye(3)[:rows])
    assert silhouette(vectors, unit_rows(np.eye(3))) == 0.0


@pytest.mark.parametrize("width", [2, 64])
def test_many_centroids_are_compared_as_a_few_are(width: int) -> None:
    rng = np.random.default_rng(5)
    centroids = unit_rows(rng.normal(size=(MANY_CENTROIDS, width)))
    centroids[9] = centroids[7] = centroids[3]
    around = centroids[rng.integers(0, 12, 500)] + rng.normal(0, 1e-4, (500, width))
    unknown = np.full((2, width), np.nan, dtype=np.float32)
    points = np.vstack([unit_rows(rng.normal(size=(500, width))), unit_rows(around), unknown])
    points[0] = 0.0
    found = assign(points, centroids)
    first, second, best, _ = _nearest_two(points, centroids)
    np.testing.assert_array_equal(found.nearest, first)
    np.testing.assert_array_equal(found.second, second)
    np.testing.assert_array_equal(found.distance, np.round(np.maximum(1.0 - best, 0.0), 9))
