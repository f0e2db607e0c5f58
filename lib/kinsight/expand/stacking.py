"""Weights of scorers that rank together, learned from hidden seeds. No Spark.

A ridge logistic regression of hidden seeds against the background on the standardised scores of
the scorers. The ridge pulls to equal weights, not to none: with J scorers the score is
``a + sum_j (c / J + d_j) score_j``, and ``RIDGE / 2 * sum_j d_j^2`` is added to the log loss of the
hidden seeds and as much background. The loss grows with the number of seeds and the ridge does
not, so few seeds leave the plain average.

Source: Wolpert, "Stacked generalization" (1992); weights not below zero after Breiman, "Stacked
regressions" (1996).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from kinsight.expand.evaluation import Trials
from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.blend import Fusion

RIDGE = 100.0
"""Pull to equal weights. Complete Journey, four audiences of 114 to 252 seeds, mean AUC on users
kept aside: .689 with 30, .690 with 100, .689 with 300, and .689 with equal weights."""
LEAST_SHARE = 0.02
"""A scorer of less weight is left out: every user of the shop would be scored by it for nothing."""


def stacked(trials: Trials, names: tuple[str, ...], folds: Iterable[int]) -> Fusion:
    """The weights under which scorers find hidden seeds best, shrunk to equal ones.

    Args:
        trials: What hidden seeds say.
        names: The scorers.
        folds: The folds that may be looked at.

    Returns:
        Weights of 0 and more, in the order of the names.
    """
    hidden, others = [], []
    for fold in folds:
        parts = [trials.of_hidden(trials.fused(Fusion.equal([name]), fold), fold) for name in names]
        hidden.append(np.column_stack([seeds for seeds, _ in parts]))
        others.append(np.column_stack([background for _, background in parts]))
    weights = np.maximum(_weights(np.vstack(hidden), np.mean(others, axis=0)), 0.0)
    weights[weights < LEAST_SHARE * weights.sum()] = 0.0
    if not weights.any():
        return Fusion.equal(names)
    return Fusion(dict(zip(names, (weights / weights.sum()).tolist(), strict=True)))


def _weights(hidden: FloatArray, others: FloatArray) -> FloatArray:
    """The weights c / J + d_j.

    Args:
        hidden: Scores of hidden seeds [seeds, J].
        others: Scores of background users, who weigh as much as the seeds together [users, J].
    """
    scores = np.vstack([hidden, others])
    sign = np.repeat([1.0, -1.0], [len(hidden), len(others)])
    weight = np.repeat([1.0, len(hidden) / len(others)], [len(hidden), len(others)])
    scorers = scores.shape[1]

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        intercept, common, own = values[0], values[1], values[2:]
        margin = sign * (intercept + scores @ (common / scorers + own))
        slope = -weight * sign * expit(-margin)
        of_scores = scores.T @ slope
        return (
            float((weight * np.logaddexp(0.0, -margin)).sum() + RIDGE / 2.0 * own @ own),
            np.concatenate([[slope.sum(), of_scores.mean()], of_scores + RIDGE * own]),
        )

    start = np.concatenate([[0.0, 1.0], np.zeros(scorers)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return np.asarray(found[1] / scorers + found[2:])
