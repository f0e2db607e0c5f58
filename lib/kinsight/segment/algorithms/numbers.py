"""How many clusters: the number that tells users apart best among those that hold on other samples.

Sources: Rousseeuw, "Silhouettes" (1987), for how well clusters stand apart; Lange, Roth, Braun and
Buhmann, "Stability-based validation of clustering solutions", Neural Computation 16 (2004),
section 2, for halves of the users clustered apart and compared; Breiman et al., "Classification
and regression trees" (1984), section 3.4.3, for the rule of one standard error. How they are
joined is ours: see :func:`choose`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from kinsight.segment.algorithms.quality import silhouette
from kinsight.segment.algorithms.spherical import Floats, nearest

# Pairs of halves clustered for each number.
SPLITS = 5
# Two halves that agree less than half way between chance and fully do not bear a number out.
LEAST_STABILITY = 0.5
# Silhouettes this close to the largest, as a share of it, are equal: on 2,000 users the standard
# error of a silhouette of 0.1 is 0.002.
EQUAL = 0.02
# The number of the previous date stays unless another one's silhouette is larger by this share ...
CLEARLY = 0.1
# ... or the most stable number is more stable by so many standard errors of the difference.
ERRORS = 2.0

Fit = Callable[[Floats, int, int], Floats]
"""Points, number of clusters and seed to centroids; the size limits may make it another number."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One number of clusters and how it does.

    Attributes:
        segments: The number asked for.
        made: The number that was made of it within the size limits.
        silhouette: Mean silhouette by cosine, -1 to 1.
        stability: Adjusted Rand index between the clusterings of two halves of the users, mean of
            the splits: 1 where both halves make the same clusters, 0 where chance does.
        stability_std: Its standard deviation over the splits.
    """

    segments: int
    made: int
    silhouette: float
    stability: float
    stability_std: float

    @property
    def error(self) -> float:
        """Standard error of the stability."""
        return float(self.stability_std / SPLITS**0.5)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The number chosen.

    Attributes:
        segments: The number.
        reason: Why, in words.
        is_stable: Whether halves of the users agree on it.
    """

    segments: int
    reason: str
    is_stable: bool


def numbers_to_try(minimum: int, maximum: int, most: int) -> list[int]:
    """Numbers from minimum to maximum, both included: all, or ``most`` at even ratios.

    >>> spread(5, 9, 20)
    [5, 6, 7, 8, 9]
    >>> spread(10, 160, 5)
    [10, 20, 40, 80, 160]
    """
    if maximum - minimum < most:
        return list(range(minimum, maximum + 1))
    return sorted({round(number) for number in np.geomspace(minimum, maximum, most)})


def measure(points: Floats, segments: int, fit: Fit, seed: int) -> Candidate:
    """Cluster all points once, and pairs of halves of them.

    One thread: fits this small take longer on two, 70 times so where others use the cores.

    Args:
        points: Unit rows [n, d] in random order, with n >= segments.
        segments: The number.
        fit: As clusters are fitted in earnest.
        seed: Seed of the halves and fits; every number is measured on the same halves.
    """
    rng = np.random.default_rng(seed)
    half = max(segments, len(points) // 2)
    agreements = []
    with threadpool_limits(1):
        centroids = fit(points, segments, seed)
        for split in range(1, SPLITS + 1):
            order = rng.permutation(len(points))
            labels = [
                nearest(points, fit(points[np.sort(part)], segments, seed + split))
                for part in (order[:half], order[-half:])
            ]
            agreements.append(adjusted_rand_score(*labels))
        return Candidate(
            segments,
            len(centroids),
            silhouette(points, centroids),
            float(np.mean(agreements)),
            float(np.std(agreements, ddof=1)),
        )


def choose(candidates: Sequence[Candidate], previous: int | None) -> Choice:
    """Choose one number.

    Numbers that the size limits change are left out, unless they change all. Stable enough are
    those whose stability lies within one standard error of the best; of these the one with the
    largest silhouette, the fewest segments of equals. Where the best stability is under
    ``LEAST_STABILITY``, nothing speaks for more segments than the fewest.

    The number of the previous date stays if it is among the candidates, unless the most stable
    one is more stable by ``ERRORS`` standard errors of their difference, or the one chosen else
    has a silhouette larger by ``CLEARLY``: ids over time rest on it.

    Args:
        candidates: At least one, in ascending order of their numbers.
        previous: The number of the previous date; None where there is none.
    """
    if len(candidates) == 1:
        only = candidates[0]
        return Choice(only.segments, "no other was asked for", only.stability >= LEAST_STABILITY)
    kept = [c for c in candidates if c.made == c.segments] or list(candidates)
    best = max(kept, key=lambda c: (c.stability, -c.segments))
    is_stable = best.stability >= LEAST_STABILITY
    if is_stable:
        enough = [c for c in kept if c.stability >= best.stability - best.error]
        largest = max(c.silhouette for c in enough)
        chosen = next(c for c in enough if c.silhouette >= largest - EQUAL * abs(largest))
        reason = "the largest silhouette among the stable ones"
    else:
        chosen = kept[0]
        reason = "the fewest, because halves of the users agree on none"
    before = next((c for c in kept if c.segments == previous), None)
    if before is None or before == chosen:
        return Choice(chosen.segments, reason, is_stable)
    difference = float(np.hypot(best.error, before.error))
    less_stable = best.stability - before.stability > ERRORS * difference
    less_clear = chosen.silhouette - before.silhouette > CLEARLY * abs(before.silhouette)
    if is_stable and (less_stable or less_clear):
        return Choice(chosen.segments, f"{reason}, clearly better than {previous} before", True)
    return Choice(before.segments, "that of the date before, no other is clearly better", is_stable)
