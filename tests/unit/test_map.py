"""The map of a segmentation: what its places keep of the customers' likeness, and what it says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from kinsight.report.neighbours import arrange, discriminating_plane, truth_of, weigh
from kinsight.report.places import directions_of


def _groups(dimensions: int = 20) -> tuple[npt.NDArray[np.float64], pd.Series[str]]:
    """Five groups of 40 around middles of their own."""
    rng = np.random.default_rng(0)
    groups = pd.Series(list("abcde") * 40)
    middles = rng.normal(size=(5, dimensions)) * 2
    return middles[groups.map("abcde".index)] + rng.normal(size=(200, dimensions)), groups


def test_like_customers_are_near_each_other_more_than_on_a_plane() -> None:
    vectors, groups = _groups()

    places = arrange(vectors, groups)
    truth = truth_of(vectors, places, groups)
    flat = truth_of(vectors, discriminating_plane(vectors, groups), groups)

    assert truth is not None
    assert flat is not None
    assert truth.kept > flat.kept > truth.by_chance
    assert truth.same_segment > 0.9
    assert np.array_equal(places, arrange(vectors, groups)), "the same each time"


def test_places_that_are_the_vectors_keep_every_neighbour() -> None:
    angles = np.random.default_rng(1).uniform(0, 2 * np.pi, 100)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    groups = pd.Series(["a", "b"] * 50)

    truth = truth_of(circle, circle - circle.mean(axis=0), groups)

    assert truth is not None
    assert truth.kept == 1.0
    assert truth.by_chance == pytest.approx(15 / 99)
    assert truth.same_segment == truth.same_segment_before


def test_few_customers_lie_on_the_plane_and_nothing_is_claimed_of_them() -> None:
    vectors, groups = _groups()

    places = arrange(vectors[:20], groups[:20])

    assert np.array_equal(places, discriminating_plane(vectors[:20], groups[:20]))
    assert truth_of(vectors[:20], places, groups[:20]) is None


def test_directions_name_what_rises_and_falls_and_leave_out_what_is_the_same_for_all() -> None:
    points = pd.DataFrame({"user_id": list("abcd"), "x": [1.0, 2, 3, 4], "y": [1.0, 4, 2, 3]})
    numbers = pd.DataFrame(
        {"user_id": list("dcba"), "events": [90, 40, 20, 1], "returns": 0, "recency_days": range(4)}
    )

    found = directions_of(points, numbers)

    along = found[found["axis"] == "x"].set_index("feature")["correlation"]
    assert along.to_dict() == pytest.approx({"events": 1.0, "recency_days": -1.0})


def test_a_token_that_everyone_has_weighs_nothing() -> None:
    tokens = [np.array([2, 3]), np.array([2]), np.array([2, 5])]
    counts = [np.array([4.0, 1.0]), np.array([1.0]), np.array([9.0, 3.0])]

    weights = weigh(tokens, counts)

    assert np.array_equal(weights[:, 0], np.zeros(3))
    assert weights[0, 1] == pytest.approx(np.log(2) * np.log(3))
    assert weights[2, 2] == pytest.approx(np.log(4) * np.log(3))


def test_the_plane_of_the_map_separates_what_plain_components_would_not() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series(["a", "b", "c"] * 100)
    noise = rng.normal(size=(300, 20)) * np.r_[np.full(2, 0.05), np.full(18, 1.0)]
    means = {"a": (3.0, 0.0), "b": (-1.5, 2.6), "c": (-1.5, -2.6)}
    vectors = noise + np.pad(np.array([means[g] for g in groups]), ((0, 0), (0, 18)))

    places = pd.DataFrame(discriminating_plane(vectors, groups))

    within = places.groupby(groups.to_numpy()).std().to_numpy().mean()
    between = places.groupby(groups.to_numpy()).mean().std().to_numpy().mean()
    assert between > 2 * within
    assert np.array_equal(places.to_numpy(), discriminating_plane(vectors, groups))


def test_a_plane_is_found_for_one_group_and_one_dimension() -> None:
    assert discriminating_plane(np.ones((3, 1)), pd.Series(["a", "a", "a"])).shape == (3, 2)
