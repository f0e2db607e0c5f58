"""How likely a ranked user belongs, from scores that know seeds and unlabelled users only.

Who is no seed is unlabelled, not negative. With g(score) = P(seed | score) and c = P(seed |
belongs), a user who is no seed belongs with the probability

    P(belongs | score, no seed) = (1 - c) / c * g / (1 - g), at most 1.

g is logistic in the score, fitted to hidden seeds against the background, each background user
standing for as many as the sample says. c is the mean of g over hidden seeds. Both rest on two
assumptions: seeds are a random part of those who belong, and the best scored surely belong. Where
the score tells little, the second fails, c comes out too small and probabilities too high: they
order and compare, and are a bound from above.

Source: Elkan and Noto, "Learning classifiers from only positive and unlabeled data" (KDD 2008),
equations 2 to 4, estimator e1.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from kinsight.expand.measures import FloatArray


@dataclasses.dataclass(frozen=True)
class Membership:
    """From a score to a probability: ratio * exp(slope * score + intercept), at most 1.

    Attributes:
        slope: Not below zero, so a better rank is never less likely.
        intercept: Log odds of a seed at score 0.
        labelled: c, the share of those who belong that are seeds.
    """

    slope: float
    intercept: float
    labelled: float

    def of(self, scores: FloatArray) -> FloatArray:
        """Probabilities of users who are no seeds [n]."""
        ratio = np.log1p(-self.labelled) - np.log(self.labelled)
        return np.asarray(np.exp(np.minimum(ratio + self.slope * scores + self.intercept, 0.0)))


def fit_membership(hidden: FloatArray, others: FloatArray, weight: float) -> Membership:
    """Fit g and c.

    Args:
        hidden: Scores of seeds, each by models that did not know it [seeds].
        others: Scores of background users, likewise [users].
        weight: Users that one background user stands for.
    """
    scores = np.concatenate([hidden, others])
    sign = np.repeat([1.0, -1.0], [len(hidden), len(others)])
    # In units of the spread, whatever the scorer's: the solver stops by absolute size.
    scale = float(scores.std()) or 1.0
    weights = np.repeat([1.0, weight], [len(hidden), len(others)]) / len(hidden)

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        margin = sign * (values[0] * scores / scale + values[1])
        slope = -weights * sign * expit(-margin)
        gradient = np.array([slope @ scores / scale, slope.sum()])
        return float(weights @ np.logaddexp(0.0, -margin)), gradient

    start = np.array([0.0, np.log(len(hidden) / (weight * len(others)))])
    bounds = [(0.0, None), (None, None)]
    slope, intercept = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    labelled = float(expit(slope * hidden / scale + intercept).mean())
    return Membership(float(slope / scale), float(intercept), min(labelled, 1.0 - 1e-9))
