"""Held-out evaluation: what a planted, a random and a merely busy seed list look like."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from kinsight.expand.evaluation import (
    ACTIVITY,
    RANDOM,
    Line,
    curve,
    evaluate,
    random_curve,
    seed_folds,
)
from kinsight.expand.measures import BoolArray, auc, auc_of_counts, wilson_interval, wins
from kinsight.expand.scorers.registry import OF_HISTORIES, SCORERS
from kinsight.expand.scorers.users import Users
from kinsight.expand.verdict import judge
from kinsight.hashing import hash_fractions
from tests.unit.planted_users import masks, planted_users


def lines_of(users: Users, seeds: BoolArray) -> list[Line]:
    """Lines of the scorers that read no histories; the others have tests of their own."""
    scorers = [scorer for name, scorer in SCORERS.items() if name not in OF_HISTORIES]
    trials, activity = evaluate(scorers, users, seeds, ~seeds, int((~seeds).sum()), 5)
    return [*(trials.line(name) for name in trials.names), activity]


def best_of(lines: list[Line]) -> Line:
    return max(lines, key=lambda line: line.auc)


@pytest.fixture(scope="module")
def planted() -> list[Line]:
    users, taste = planted_users(800)
    return lines_of(users, masks(users, taste)[0])


def test_a_planted_taste_is_found_and_activity_finds_nothing(planted: list[Line]) -> None:
    *scorers, activity = planted
    assert {line.name for line in planted} == {*SCORERS, ACTIVITY} - {*OF_HISTORIES}
    assert all(line.auc > 0.8 for line in scorers)
    assert activity.auc == pytest.approx(0.5, abs=0.08)
    chosen = best_of(scorers)
    verdict = judge(chosen, activity, 0.1)
    assert verdict.word == "strong"
    assert verdict.beats_activity
    assert chosen.recall(0.1) > 0.2


def test_random_seeds_get_the_verdict_none() -> None:
    users, _ = planted_users(1_200)
    seeds = hash_fractions(users.ids, "by lot") < 0.12
    *scorers, activity = lines_of(users, seeds)
    chosen = best_of(scorers)
    assert chosen.auc == pytest.approx(0.5, abs=0.08)
    verdict = judge(chosen, activity, 0.1)
    assert verdict.word == "none"
    assert not verdict.beats_activity


def test_seeds_that_are_only_busy_are_told_from_a_taste() -> None:
    users, _ = planted_users(1_200)
    busy = users.activity > np.quantile(users.activity, 0.7)
    # Busy users met more items, so a scorer finds them too; activity finds them better.
    bags = {"item": users.bags["item"] + 0.3 * users.bags["item"].multiply(busy[:, None]).tocsr()}
    users = dataclasses.replace(users, bags=bags)
    seeds = busy & (hash_fractions(users.ids, "seeds") < 0.5)
    *scorers, activity = lines_of(users, seeds)
    chosen = best_of(scorers)
    verdict = judge(chosen, activity, 0.1)
    assert activity.auc > 0.8
    assert verdict.word in ("none", "weak")
    assert not verdict.beats_activity
    assert "activity" in verdict.text


def test_hidden_seeds_do_not_influence_the_scores_of_others() -> None:
    users, taste = planted_users(400)
    seeds = masks(users, taste)[0]
    fold = seed_folds(users, seeds, 5)
    moved = users.vectors.copy()
    moved[fold == 0] = 50.0
    seen: list[np.ndarray] = []

    class Recording:
        """Remembers the background scores of the first fold."""

        name = "recording"
        tune = staticmethod(SCORERS["centroid"].tune)
        seconds = staticmethod(SCORERS["centroid"].seconds)

        @staticmethod
        def fit(*arguments: object) -> object:
            model = SCORERS["centroid"].fit(*arguments)  # type: ignore[arg-type]  # passed through
            seen.append(model.score(users)[~seeds])
            return model

    for vectors in (users.vectors, moved):
        changed = dataclasses.replace(users, vectors=vectors)
        evaluate([Recording()], changed, seeds, ~seeds, 300, 5)  # type: ignore[list-item]  # a double
    first, second = seen[:3], seen[15:18]
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_folds_are_even_and_depend_on_the_ids_only() -> None:
    users, taste = planted_users(300)
    fold = seed_folds(users, taste, 5)
    assert (fold[~taste] == -1).all()
    sizes = np.bincount(fold[taste])
    assert sizes.max() - sizes.min() <= 1
    turned = np.arange(len(users))[::-1]
    reversed_users = dataclasses.replace(users, order=users.order[turned])
    assert (seed_folds(reversed_users, taste[turned], 5)[turned] == fold).all()


def test_recall_grows_with_the_share_up_to_everybody(planted: list[Line]) -> None:
    shares = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    for line in planted:
        points = curve(line, shares)
        recalls = [p.recall for p in points]
        assert recalls == sorted(recalls)
        assert recalls[-1] == pytest.approx(1.0)
        assert all(p.recall_low <= p.recall <= p.recall_high for p in points)


def test_ties_are_drawn_by_lot() -> None:
    users, taste = planted_users(400)
    seeds = masks(users, taste)[0]
    level = dataclasses.replace(users, activity=np.zeros(len(users)))
    _, activity = evaluate([], level, seeds, ~seeds, int((~seeds).sum()), 5)
    assert activity.auc == 0.5
    assert activity.recall(0.1) == pytest.approx(0.1, abs=0.01)


def test_a_sampled_background_stands_for_all_users() -> None:
    users, taste = planted_users(1_200)
    seeds, background, _ = masks(users, taste)
    sampled = background & (hash_fractions(users.ids, "sample") < 0.5)
    everyone = evaluate([], users, seeds, background, int(background.sum()), 5)[1]
    sample = evaluate([], users, seeds, sampled, int(background.sum()), 5)[1]
    assert sample.pool == pytest.approx(everyone.pool)
    assert sample.recall(0.2) == pytest.approx(everyone.recall(0.2), abs=0.05)


def test_the_interval_knows_how_far_recall_moves_with_the_sample_of_the_background() -> None:
    users, taste = planted_users(3_000)
    seeds, background, _ = masks(users, taste)
    everybody = int(background.sum())

    def sampled(share: float, draw: int) -> Line:
        drawn = background & (hash_fractions(users.ids, f"sample:{draw}") < share)
        return evaluate([], users, seeds, drawn, everybody, 5)[1]

    lines = [sampled(0.1, draw) for draw in range(60)]
    moved = float(np.std([line.recall(0.2) for line in lines]))
    told = float(np.mean([line.sampling_error(0.2) for line in lines]))
    assert moved / 1.4 < told < 1.4 * moved

    point, hidden = curve(lines[0], [0.2])[0], len(lines[0].of_seeds)
    low, high = wilson_interval(point.recall, hidden)
    assert point.recall_low < low < high < point.recall_high
    whole = sampled(1.0, 0)
    point = curve(whole, [0.2])[0]
    assert (point.recall_low, point.recall_high) == wilson_interval(point.recall, hidden)

    assert lines[0].is_rough(0.1)
    assert not lines[0].is_rough(0.9)
    assert not whole.is_rough(0.001)


def test_the_random_line_finds_its_share() -> None:
    point = random_curve(100, [0.1])[0]
    assert (point.scorer, point.recall, point.lift) == (RANDOM, 0.1, 1.0)
    assert point.recall_low < 0.1 < point.recall_high


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_auc_is_that_of_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([p[0] for p in pairs], dtype=float)
    truth = np.array([p[1] for p in pairs])
    if truth.all() or not truth.any():
        return
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    counts = np.array(
        [[(scores[~truth] == v).sum(), (scores[truth] == v).sum()] for v in np.unique(scores)]
    )
    assert auc_of_counts(counts[:, 1], counts[:, 0]) == pytest.approx(auc(scores, truth))


def test_wins_count_ties_half() -> None:
    assert wins(np.array([1.0, 2.0]), np.array([0.0, 1.0, 3.0])).tolist() == [0.5, 2 / 3]


@pytest.mark.parametrize(("rate", "trials"), [(0.0, 10), (1.0, 10), (0.3, 100)])
def test_the_interval_stays_within_a_rate(rate: float, trials: int) -> None:
    low, high = wilson_interval(rate, trials)
    assert 0 <= low <= rate <= high <= 1
