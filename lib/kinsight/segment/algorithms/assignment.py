"""Which centroid a point belongs to, how far it lies and how sure that is."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.segment.algorithms.spherical import Floats, Labels

# Matrix products differ in their last bits with the number of rows in a batch; rounded they do
# not, so that a re-run over other batches writes equal rows.
DECIMALS = 9

# From so many centroids on, single precision says which two are worth comparing in double: half
# the time with 1,000 centroids, none saved with 100.
MANY_CENTROIDS = 256

Doubles = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Nearest and second-nearest centroid of each row.

    Attributes:
        nearest: Index of the nearest centroid [n], int64.
        second: Index of the second-nearest [n], int64.
        distance: 1 minus cosine to the nearest [n], float64, 0 to 2.
        confidence: 1 minus the ratio of the two distances [n], float64: 0 on the border, 1 at
            the centroid.
    """

    nearest: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]


def assign(points: Floats, centroids: Floats) -> Assignment:
    """Assign points of the clustering space to centroids.

    Args:
        points: Unit rows [n, d].
        centroids: Unit centroids [k, d], k >= 2.
    """
    if len(centroids) < MANY_CENTROIDS:
        first, second, best, next_best = _nearest_two(points, centroids)
    else:
        first, second, best, next_best = _nearest_two_of_many(points, centroids)
    distance = np.maximum(1.0 - best, 0.0)
    to_second = np.maximum(1.0 - next_best, 1e-12)
    confidence = np.clip(1.0 - distance / to_second, 0.0, 1.0)
    return Assignment(first, second, np.round(distance, DECIMALS), np.round(confidence, DECIMALS))


def _nearest_two(points: Floats, centroids: Floats) -> tuple[Labels, Labels, Doubles, Doubles]:
    """Nearest and second-nearest centroid of each row and the rounded cosines to them.

    Equal cosines go to the lower index.
    """
    rows = np.arange(len(points))
    cosine = np.round(points.astype(np.float64) @ centroids.T.astype(np.float64), DECIMALS)
    first = np.argmax(cosine, axis=1).astype(np.int64)
    best = cosine[rows, first]
    cosine[rows, first] = -np.inf
    second = np.argmax(cosine, axis=1).astype(np.int64)
    return first, second, best, cosine[rows, second]


def _nearest_two_of_many(
    points: Floats, centroids: Floats
) -> tuple[Labels, Labels, Doubles, Doubles]:
    """The same as :func:`_nearest_two`, found in single precision and measured in double.

    Rows whose third-nearest lies as near as single precision may err are left to it.
    """
    rows = np.arange(len(points))
    cosine = points @ centroids.T
    pair = np.empty((2, len(points)), dtype=np.int64)
    near = np.empty((2, len(points)), dtype=np.float32)
    for place in range(2):
        pair[place] = np.argmax(cosine, axis=1)
        near[place] = cosine[rows, pair[place]]
        cosine[rows, pair[place]] = -np.inf
    # Two sums of d products of unit vectors, each rounded in every step, and the decimals kept.
    error = 2.5 * points.shape[1] * float(np.finfo(np.float32).eps) / 2 + 10.0**-DECIMALS
    pair.sort(axis=0)
    wide = points.astype(np.float64)
    exact = np.stack(
        [np.round(np.einsum("ij,ij->i", wide, centroids[of]), DECIMALS) for of in pair]
    )
    ahead = (exact[1] > exact[0]).astype(np.int64)
    first, second = pair[ahead, rows], pair[1 - ahead, rows]
    best, next_best = exact[ahead, rows], exact[1 - ahead, rows]
    # Also rows that are not numbers, of which no comparison holds.
    close = ~(near[1] - cosine.max(axis=1) > error)
    if close.any():
        first[close], second[close], best[close], next_best[close] = _nearest_two(
            points[close], centroids
        )
    return first, second, best, next_best
