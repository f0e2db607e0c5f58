"""How much a grouping says of what users do later.

For each thing j a user may do (buy a product type, say), the mutual information of the group and of
doing j, divided by the entropy of doing j: sum_g sum_y p(g, y) log(p(g, y) / p(g) p(y)) / H(y). The
average over the things, minus the same of shuffled groups, because many small groups say something
of anything by chance. (Feng et al., DARE, arXiv 2410.02604: mutual information of quantised user
vectors and labels.)

*Given activity*: the same inside each fifth of the users by activity, averaged; else a grouping
that does nothing but sort heavy from light users looks best.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_rand_score

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FIFTHS = 5
SHUFFLES = 5


def mean_information(labels: Labels, later: Mask) -> float:
    """Mutual information over entropy, averaged over the things that some but not all do; else 0.

    Args:
        labels: Group of each user, from 0 [n].
        later: Whether each user does each thing [n, things].
    """
    varied = later.any(axis=0) & ~later.all(axis=0)
    if not varied.any():
        return 0.0
    later = later[:, varied]
    groups = int(labels.max()) + 1
    ones = np.zeros((groups, later.shape[1]))
    np.add.at(ones, labels, later.astype(np.float64))
    sizes = np.bincount(labels, minlength=groups)[:, None].astype(np.float64)
    base = later.mean(axis=0)
    within = _entropy(ones / np.maximum(sizes, 1.0))
    entropy = _entropy(base)
    information = entropy - (sizes * within).sum(axis=0) / len(labels)
    return float((information / entropy).mean())


def _entropy(share: Floats) -> Floats:
    inside = np.clip(share, 1e-12, 1.0 - 1e-12)
    return np.asarray(-(inside * np.log(inside) + (1.0 - inside) * np.log(1.0 - inside)))


def beyond_chance(labels: Labels, later: Mask, seed: int) -> float:
    """:func:`mean_information` minus its mean over shuffled labels."""
    draws = np.random.default_rng(seed)
    by_chance = [mean_information(draws.permutation(labels), later) for _ in range(SHUFFLES)]
    return mean_information(labels, later) - float(np.mean(by_chance))


def given_activity(labels: Labels, later: Mask, activity: Floats, seed: int) -> float:
    """The same inside fifths of activity, averaged.

    Args:
        labels: Group of each user [n].
        later: Whether each user does each thing [n, things].
        activity: What the fifths are made by; ties stay in the order given [n].
        seed: Of the shuffles.
    """
    fifth = fifths(activity)
    return float(
        np.mean(
            [beyond_chance(labels[fifth == f], later[fifth == f], seed + f) for f in range(FIFTHS)]
        )
    )


def fifths(activity: Floats, parts: int = FIFTHS) -> Labels:
    """The fifth, or other equal part, of each user, 0 for the least active [n]."""
    rank = np.empty(len(activity), dtype=np.int64)
    rank[np.argsort(activity, kind="stable")] = np.arange(len(activity))
    return rank * parts // len(activity)


def agreement(groupings: Sequence[Labels]) -> list[float]:
    """Adjusted Rand index of each pair of groupings of the same users."""
    return [
        float(adjusted_rand_score(one, other))
        for one, other in itertools.combinations(groupings, 2)
    ]
