"""Fitting the segments' centroids on the sample."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.config import SegmentConfig
from kinsight.segment.algorithms.assignment import Centroids, assign
from kinsight.segment.algorithms.limits import Limits, fit_within_limits
from kinsight.segment.algorithms.quality import seed_stability, silhouette
from kinsight.segment.algorithms.spherical import fit_centroids, into_space
from kinsight.segment.sample import Sample

# The limits are kept on the sample with this much room, because they are to hold on all users.
ROOM = 0.1


@dataclasses.dataclass(frozen=True)
class Clustering:
    """The fitted centroids and how they do on the sample.

    Attributes:
        centroids: What assigning a user needs.
        labels: Cluster of each user of the sample, held-out ones too [n].
        metrics: silhouette and seed_stability.
    """

    centroids: Centroids
    labels: npt.NDArray[np.int64]
    metrics: dict[str, float]


def fit_segments(sample: Sample, config: SegmentConfig) -> Clustering:
    """Centre, normalise, fit and bring within the size limits, on fitting users only.

    Args:
        sample: Sampled users; those held out are assigned but not fitted on.
        config: Number of segments, limits, iterations, restarts, seed.
    """
    fitting = sample.vectors[~sample.held_out]
    centre = fitting.mean(axis=0, dtype=np.float64).astype(np.float32)
    points = into_space(fitting, centre)
    how = (config.segments, config.iterations, config.restarts, config.seed)
    limits = Limits(config.minimum_share * (1 + ROOM), config.maximum_share * (1 - ROOM))
    directions = fit_within_limits(points, fit_centroids(points, *how), limits)
    centroids = Centroids(centre, directions)
    metrics = {
        "silhouette": silhouette(points, directions),
        "seed_stability": seed_stability(points, *how),
    }
    return Clustering(centroids, assign(sample.vectors, centroids).nearest, metrics)
