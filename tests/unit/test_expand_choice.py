"""The choice of scorers: on hidden seeds, and measured on hidden seeds that had no part in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from kinsight.expand import choice as choice_module
from kinsight.expand.choice import (
    LEAST_TO_STACK,
    affordable,
    choose,
    choose_by_hidden_seeds,
    fuse_by_hidden_seeds,
    only_choice,
)
from kinsight.expand.evaluation import Trials, evaluate
from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.base import cross_fit
from kinsight.expand.scorers.blend import Fusion, blend
from kinsight.expand.scorers.registry import AUTO, FUSED, SCORERS
from kinsight.expand.stacking import by_worth, stacked
from tests.unit.planted_users import equally, masks, planted_readers, planted_users

FOLDS, SEEDS, OTHERS = 5, 100, 1_000
TWO = ("centroid", "knn")


def trials_of(scores: Mapping[str, Sequence[FloatArray]]) -> Trials:
    """Trials of given scores: the first hundred users are seeds, the others the background."""
    fold = np.where(np.arange(SEEDS + OTHERS) < SEEDS, np.arange(SEEDS + OTHERS) % FOLDS, -1)
    return Trials(scores, dict.fromkeys(scores, 1.0), fold, fold < 0, 1.0)


def constant(scores: FloatArray) -> list[FloatArray]:
    return [scores] * FOLDS


def planted_scores(signal: float, seed: int) -> FloatArray:
    noise = np.random.default_rng(seed).normal(size=SEEDS + OTHERS)
    return noise + signal * (np.arange(SEEDS + OTHERS) < SEEDS)


def test_a_surely_better_scorer_ranks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all together are drowned by five that know nothing."""
    monkeypatch.setattr(choice_module, "fuse", lambda trials, _: equally(trials.names))
    noise = {f"noise {seed}": constant(planted_scores(0.0, seed)) for seed in range(5)}
    trials = trials_of({**noise, "strong": constant(planted_scores(2.0, 9))})
    choice = choose_by_hidden_seeds(trials)
    assert choice.names == ("strong",)
    assert choice.line.auc == trials.line("strong").auc
    assert choice.line.name == AUTO
    assert choice.weights == {"strong": 1.0}
    assert "strong ranks" in choice.reason
    assert "of noise 1" in choice.reason
    assert "chance" not in choice.reason


def test_scorers_that_know_different_things_rank_together_and_better() -> None:
    scores = {name: constant(planted_scores(1.0, seed)) for seed, name in enumerate("abc")}
    trials = trials_of(scores)
    choice = choose_by_hidden_seeds(trials)
    assert choice.names == ("a", "b", "c")
    assert sum(choice.weights.values()) == pytest.approx(1.0)
    assert choice.line.auc > max(trials.line(name).auc for name in trials.names) + 0.02
    assert "rank together" in choice.reason


def test_scorers_that_rank_alike_are_not_told_apart_by_chance() -> None:
    same = planted_scores(1.0, 3)
    noise = 0.2 * np.random.default_rng(6).normal(size=(2, len(same)))
    scores = {"first": constant(same + noise[0]), "second": constant(same + noise[1])}
    assert choose(trials_of(scores), range(FOLDS)).names == ("first", "second")


def test_the_auc_of_auto_owes_nothing_to_the_luck_of_the_choice() -> None:
    """Scorers that are new noise in every fold: the best of them looks good, auto must not."""
    rng = np.random.default_rng(4)
    lucky, honest = [], []
    for _ in range(40):
        scores = {
            name: [rng.normal(size=SEEDS + OTHERS) for _ in range(FOLDS)] for name in "abcdef"
        }
        trials = trials_of(scores)
        fusion = choose(trials, range(FOLDS))
        lucky.append(np.mean([p.of_seeds.mean() for p in trials.placements(fusion)]))
        honest.append(choose_by_hidden_seeds(trials).line.auc)
    error = np.std(honest) / np.sqrt(len(honest))
    assert np.mean(lucky) > 0.515
    assert np.mean(honest) == pytest.approx(0.5, abs=3 * error)


def test_the_seeds_of_a_fold_have_no_part_in_its_own_choice() -> None:
    """In fold 0 `liar` puts the hidden seeds on top, in all others at the bottom."""
    honest = planted_scores(0.8, 5)
    is_seed = np.arange(SEEDS + OTHERS) < SEEDS
    liar = [np.where(is_seed, 9.0 if fold == 0 else -9.0, honest) for fold in range(FOLDS)]
    trials = trials_of({"honest": constant(honest), "liar": liar})
    line = choose_by_hidden_seeds(trials).line
    assert line.auc == pytest.approx(trials.line("honest").auc)


def test_auto_is_as_good_as_the_best_scorer_on_planted_users() -> None:
    users, taste = planted_users(500)
    seeds, background, _ = masks(users, taste)
    trials, _ = evaluate(list(SCORERS.values()), users, seeds, background, 400, FOLDS)
    choice = choose_by_hidden_seeds(trials)
    best = max(trials.line(name).auc for name in trials.names)
    assert choice.line.auc > best - 0.01


@pytest.mark.parametrize("by_rank", [False, True], ids=["scores", "ranks"])
def test_scores_together_on_the_sample_are_what_the_fitted_blend_gives(by_rank: bool) -> None:
    users, taste = planted_users(300)
    seeds, background, _ = masks(users, taste)
    fitted = {name: cross_fit(SCORERS[name], users, seeds, background) for name in TWO}
    fusion = Fusion({"knn": 0.3, "centroid": 0.7}, by_rank)
    together = blend(fusion, fitted, users, background).score(users)
    scores = {name: fit.score(users) for name, fit in fitted.items()}
    np.testing.assert_allclose(together, fusion.score(scores, background), atol=1e-12)
    alone = blend(Fusion.alone("knn"), fitted, users, background)
    assert alone is fitted["knn"]


def test_few_seeds_leave_the_weights_by_worth_and_many_find_their_own() -> None:
    rng = np.random.default_rng(9)

    def weights(seeds: int) -> tuple[float, float]:
        others = 20 * seeds
        is_seed = np.arange(seeds + others) < seeds
        fold = np.where(is_seed, np.arange(seeds + others) % FOLDS, -1)
        scores = {
            name: constant(rng.normal(size=seeds + others) + signal * is_seed)
            for name, signal in (("good", 1.0), ("fair", 0.5))
        }
        trials = Trials(scores, dict.fromkeys(scores, 1.0), fold, ~is_seed, 1.0)
        worth = by_worth(trials, range(FOLDS))
        found = stacked(trials, range(FOLDS)).weights
        return float(worth[0]), found["good"]

    worth, few = weights(25)
    assert few == pytest.approx(worth, abs=0.03)
    worth, many = weights(5_000)
    # Of independent scorers the best weights are as their signals, 2 to 1; by worth nearly 4 to 1.
    assert worth == pytest.approx(0.79, abs=0.02)
    assert many == pytest.approx(2 / 3, abs=0.03)


def test_what_is_worth_nothing_weighs_nothing() -> None:
    noise = {f"noise {seed}": constant(planted_scores(0.0, seed)) for seed in range(3)}
    trials = trials_of({**noise, "strong": constant(planted_scores(2.0, 9))})
    strong = by_worth(trials, range(FOLDS))[-1]
    assert strong > 0.95
    liars = trials_of(
        {name: constant(planted_scores(-2.0, seed)) for seed, name in enumerate("ab")}
    )
    assert by_worth(liars, range(FOLDS)).tolist() == [0.5, 0.5]


def test_with_little_evidence_fused_averages_ranks_by_worth() -> None:
    scores = {name: constant(planted_scores(1.0, seed)) for seed, name in enumerate("abc")}
    few = np.where(np.arange(SEEDS + OTHERS) < LEAST_TO_STACK - 1, np.arange(SEEDS + OTHERS), -1)
    fold = np.where(few >= 0, few % FOLDS, -1)
    trials = Trials(scores, dict.fromkeys(scores, 1.0), fold, fold < 0, 1.0)
    choice = fuse_by_hidden_seeds(trials)
    assert choice.fusion.by_rank
    assert list(choice.fusion.weights.values()) == pytest.approx(by_worth(trials, range(FOLDS)))
    assert choice.line.name == FUSED
    assert "ranks" in choice.reason


def test_a_harmful_scorer_gets_no_weight_below_zero() -> None:
    scores = {"good": constant(planted_scores(1.5, 1)), "liar": constant(planted_scores(-1.5, 2))}
    weights = stacked(trials_of(scores), range(FOLDS)).weights
    assert min(weights.values()) == 0.0


def test_one_named_scorer_ranks_with_its_own_line() -> None:
    trials = trials_of({"a": constant(planted_scores(1.0, 1))})
    choice = only_choice(trials, "a")
    assert choice.line.name == "a"
    assert "names" in choice.reason


def test_the_dearest_candidates_are_left_out_of_a_small_budget_and_named() -> None:
    users, _ = planted_readers(300)
    scorers = list(SCORERS.values())
    costs = {s.name: 6 * s.seconds(users) for s in scorers}
    kept, said = affordable(scorers, users, 5, sum(costs.values()) - 1e-9)
    dearest = max(costs, key=lambda name: costs[name])
    assert [s.name for s in kept] == [name for name in SCORERS if name != dearest]
    assert dearest in said[0]
    assert "budget_seconds" in said[0]
    assert [s.name for s in affordable(scorers, users, 5, 1e-12)[0]] == [min(costs, key=costs.get)]
    assert affordable(scorers, users, 5, 1e9) == (scorers, [])


def test_an_estimate_depends_on_the_size_of_the_users_only() -> None:
    users, _ = planted_readers(400)
    half = users.rows(np.arange(len(users)) % 2 == 0)
    for scorer in SCORERS.values():
        assert scorer.seconds(users) == scorer.seconds(dataclasses.replace(users))
        assert 0 < scorer.seconds(half) < scorer.seconds(users)
