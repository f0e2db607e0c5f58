"""Which centroid a point belongs to, how far it lies and how sure that is."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.segment.algorithms.spherical import Floats

# Matrix products differ in their last bits with the number of rows in a batch; rounded they do
# not, so that a re-run over other batches writes equal rows.
DECIMALS = 9


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
    rows = np.arange(len(points))
    cosine = np.round(points.astype(np.float64) @ centroids.T.astype(np.float64), DECIMALS)
    first = np.argmax(cosine, axis=1)
    best = cosine[rows, first]
    cosine[rows, first] = -np.inf
    second = np.argmax(cosine, axis=1)
    distance = np.maximum(1.0 - best, 0.0)
    to_second = np.maximum(1.0 - cosine[rows, second], 1e-12)
    confidence = np.clip(1.0 - distance / to_second, 0.0, 1.0)
    return Assignment(
        first.astype(np.int64),
        second.astype(np.int64),
        np.round(distance, DECIMALS),
        np.round(confidence, DECIMALS),
    )
