"""Probabilities from seeds and unlabelled users."""

from __future__ import annotations

import numpy as np
import pytest

from kinsight.expand.probability import Membership, fit_membership


def test_where_the_score_tells_who_belongs_the_probabilities_are_right() -> None:
    """Four in ten of those who belong are seeds, drawn at random."""
    rng = np.random.default_rng(1)
    belongs = np.arange(20_000) < 2_000
    scores = rng.normal(0.0, 1.0, 20_000) + 7.0 * belongs
    is_seed = belongs & (rng.random(20_000) < 0.4)
    membership = fit_membership(scores[is_seed], scores[~is_seed], 1.0)
    assert membership.labelled == pytest.approx(0.4, abs=0.05)
    probability = membership.of(scores[~is_seed])
    assert probability.sum() == pytest.approx(belongs[~is_seed].sum(), rel=0.2)
    assert probability[belongs[~is_seed]].mean() > 0.75
    assert probability[~belongs[~is_seed]].mean() < 0.01


def test_a_sample_of_the_others_gives_what_all_of_them_give() -> None:
    rng = np.random.default_rng(2)
    seeds, others = rng.normal(2.0, 1.0, 500), rng.normal(0.0, 1.0, 40_000)
    whole = fit_membership(seeds, others, 1.0)
    part = fit_membership(seeds, others[::10], 10.0)
    asked = np.array([-1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(np.log(part.of(asked)), np.log(whole.of(asked)), atol=0.2)


def test_a_better_score_is_never_less_likely_and_nothing_exceeds_one() -> None:
    rng = np.random.default_rng(3)
    membership = fit_membership(rng.normal(-1.0, 1.0, 50), rng.normal(0.0, 1.0, 500), 2.0)
    assert membership.slope == 0.0
    steep = Membership(slope=3.0, intercept=-2.0, labelled=0.1)
    found = steep.of(np.linspace(-50.0, 50.0, 101))
    assert (np.diff(found) >= 0).all()
    assert found[-1] == 1.0
    assert found[0] >= 0.0


def test_the_unit_of_the_scores_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    seeds, others = rng.normal(1.0, 1.0, 200), rng.normal(0.0, 1.0, 2_000)
    plain = fit_membership(seeds, others, 1.0).of(others)
    tiny = fit_membership(seeds / 1e3, others / 1e3, 1.0).of(others / 1e3)
    np.testing.assert_allclose(plain, tiny, rtol=1e-3)
