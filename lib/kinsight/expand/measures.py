"""Measures of a ranking, and their intervals. Numpy in, numbers out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Quantiles of the normal distribution for 95 %.
Z_95 = 1.959964
Z_95_ONE_SIDED = 1.644854


def wins(found: FloatArray, others: FloatArray) -> FloatArray:
    """For each score, the share of the others below it; ties count half.

    Args:
        found: Scores [n].
        others: Scores that they are compared with [m], m >= 1.

    Returns:
        Array [n] in [0, 1]; its mean is the AUC of ``found`` against ``others``.
    """
    ordered = np.sort(others)
    below = np.searchsorted(ordered, found, side="left")
    not_above = np.searchsorted(ordered, found, side="right")
    return (below + not_above) / (2.0 * len(others))


def auc(scores: FloatArray, truth: BoolArray) -> float:
    """The probability that a true user outranks another one; ties count half.

    Args:
        scores: Higher is ranked first [n].
        truth: True for the users to be found [n]; both kinds must occur.
    """
    return float(wins(scores[truth], scores[~truth]).mean())


def worth(aucs: FloatArray) -> FloatArray:
    """What ways to rank are worth beside each other: (AUC - 1/2)^2, nothing where it is below 1/2.

    Args:
        aucs: Array of any shape.
    """
    return np.asarray(np.maximum(aucs - 0.5, 0.0) ** 2)


def auc_of_counts(found: FloatArray, others: FloatArray) -> float:
    """The AUC where users are given as counts by value, the values ascending.

    Args:
        found: Users to be found with each value [values].
        others: Other users with each value [values].
    """
    below = np.cumsum(others) - others
    return float(((below + others / 2.0) * found).sum() / (found.sum() * others.sum()))


def wilson_interval(rate: float, trials: int, further_error: float = 0.0) -> tuple[float, float]:
    """The 95 % interval of a rate seen in so many trials.

    Args:
        rate: The rate.
        trials: The trials.
        further_error: A standard error of the rate that does not come from the trials.

    Source: E. B. Wilson (1927), the score interval: unlike the normal one it stays in [0, 1] and
    holds for few trials and rates near 0.
    """
    square = Z_95**2
    centre = (rate + square / (2 * trials)) / (1 + square / trials)
    half = Z_95 * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    half /= 1 + square / trials
    # Rounding may push an end past the rate itself.
    below, above = max(0.0, rate - centre + half), max(0.0, centre + half - rate)
    further = Z_95 * further_error
    return max(0.0, rate - math.hypot(below, further)), min(1.0, rate + math.hypot(above, further))


def standard_error(of_found: FloatArray, of_others: FloatArray) -> float:
    """The standard error of an AUC, or of the difference of two AUCs of the same users.

    Source: DeLong, DeLong and Clarke-Pearson (1988): var = var(V10) / n + var(V01) / m.

    Args:
        of_found: For each user to be found, its wins against the others (or the difference of two
            rankings' wins) [n].
        of_others: For each other user, the share of the users to be found that outrank it (or the
            difference) [m].
    """
    parts = [float(v.var(ddof=1)) / len(v) if len(v) > 1 else 0.0 for v in (of_found, of_others)]
    return math.sqrt(sum(parts))
