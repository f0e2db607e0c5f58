"""Weights of scorers that rank together, learned from hidden seeds. No Spark.

A scorer is worth (AUC - 1/2)^2 of hidden seeds, as a field is to ``bag_logistic``: what says little
gets little weight. From that, a ridge logistic regression of hidden seeds against the background on
the standardised scores of the scorers goes on. The ridge pulls to these weights, not to none: with
the share p_j of scorer j in what all are worth, the score is
``a + sum_j (c p_j + d_j) score_j``, and ``RIDGE / 2 * sum_j d_j^2`` is added to the log loss of the
hidden seeds and as much background. The loss grows with the number of seeds and the ridge does
not, so few seeds leave the weights by worth.

Source: Wolpert, "Stacked generalization" (1992); weights not below zero after Breiman, "Stacked
regressions" (1996).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from kinsight.expand.evaluation import Trials
from kinsight.expand.measures import FloatArray, worth
from kinsight.expand.scorers.blend import Fusion

RIDGE = 30.0
"""Pull to the weights by worth; see ``by_worth``."""
LEAST_SHARE = 0.02
"""A scorer of less weight is left out: every user of the shop would be scored by it for nothing."""


def by_worth(trials: Trials, folds: Iterable[int]) -> FloatArray:
    """The share of each scorer in what all are worth, in the order of the trials; equal for none.

    Power and ridge were chosen by who takes something next in an earlier period (24 audiences of
    four shops, mean AUC on users kept aside): .764 with a pull to equal weights and a ridge of 100,
    .766 with 30, .767 by worth and 100, .768 by worth and 30. In the period after it: .753 with the
    first, .758 with the last; people and redeemers of Complete Journey .766 and .766.

    Args:
        trials: What hidden seeds say.
        folds: The folds that may be looked at.
    """
    seen = list(folds)
    aucs = np.array([trials.line(name, seen).auc for name in trials.names])
    found = worth(aucs)
    return found / found.sum() if found.any() else np.full(len(found), 1.0 / len(found))


def stacked(trials: Trials, folds: Iterable[int]) -> Fusion:
    """The weights under which scorers find hidden seeds best, shrunk to those by worth.

    Args:
        trials: What hidden seeds say.
        folds: The folds that may be looked at.

    Returns:
        Weights of 0 and more, in the order of the trials.
    """
    seen, hidden, others = list(folds), [], []
    for fold in seen:
        alone = [trials.fused(Fusion.alone(name), fold) for name in trials.names]
        parts = [trials.of_hidden(scores, fold) for scores in alone]
        hidden.append(np.column_stack([seeds for seeds, _ in parts]))
        others.append(np.column_stack([background for _, background in parts]))
    prior = by_worth(trials, seen)
    weights = np.maximum(_weights(np.vstack(hidden), np.mean(others, axis=0), prior), 0.0)
    return weighted(trials, weights if weights.any() else prior)


def weighted(trials: Trials, weights: FloatArray, *, by_rank: bool = False) -> Fusion:
    """The scorers with these weights, but for those of hardly any.

    Args:
        trials: What names the scorers.
        weights: Of each of them, 0 and more, some above.
        by_rank: Whether ranks are averaged.
    """
    kept = np.where(weights < LEAST_SHARE * weights.sum(), 0.0, weights)
    shares = (kept / kept.sum()).tolist()
    return Fusion(dict(zip(trials.names, shares, strict=True)), by_rank)


def _weights(hidden: FloatArray, others: FloatArray, prior: FloatArray) -> FloatArray:
    """The weights c p_j + d_j.

    Args:
        hidden: Scores of hidden seeds [seeds, J].
        others: Scores of background users, who weigh as much as the seeds together [users, J].
        prior: The shares p_j [J].
    """
    scores = np.vstack([hidden, others])
    sign = np.repeat([1.0, -1.0], [len(hidden), len(others)])
    weight = np.repeat([1.0, len(hidden) / len(others)], [len(hidden), len(others)])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        intercept, common, own = values[0], values[1], values[2:]
        margin = sign * (intercept + scores @ (common * prior + own))
        slope = -weight * sign * expit(-margin)
        of_scores = scores.T @ slope
        return (
            float((weight * np.logaddexp(0.0, -margin)).sum() + RIDGE / 2.0 * own @ own),
            np.concatenate([[slope.sum(), of_scores @ prior], of_scores + RIDGE * own]),
        )

    start = np.concatenate([[0.0, 1.0], np.zeros(len(prior))])
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return np.asarray(found[1] * prior + found[2:])
