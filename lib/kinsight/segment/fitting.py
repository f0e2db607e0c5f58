"""Fitting the segments' centroids on the sample."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.config import SegmentConfig
from kinsight.segment.algorithms.assignment import assign
from kinsight.segment.algorithms.limits import Limits, fit_within_limits
from kinsight.segment.algorithms.quality import seed_stability, silhouette
from kinsight.segment.algorithms.space import Space, fit_space
from kinsight.segment.algorithms.spherical import Floats, fit_centroids
from kinsight.segment.sample import Sample

# The limits are kept on the sample with this much room, because they are to hold on all users.
ROOM = 0.1


@dataclasses.dataclass(frozen=True)
class Clustering:
    """The fitted space and centroids, and how they do on the sample.

    Attributes:
        space: How users become points.
        centroids: Unit centroids [k, d].
        labels: Cluster of each user of the sample, held-out ones too [n].
        metrics: silhouette and seed_stability.
    """

    space: Space
    centroids: Floats
    labels: npt.NDArray[np.int64]
    metrics: dict[str, float]


def fit_segments(sample: Sample, config: SegmentConfig) -> Clustering:
    """Fit the space and the centroids within the size limits, on fitting users only.

    Args:
        sample: Sampled users; those held out are assigned but not fitted on.
        config: Number of segments, limits, iterations, restarts, seed.
    """
    fitting = sample.blocks.rows(~sample.held_out)
    space = fit_space(fitting, config.seed)
    points = space.points(fitting)
    how = (config.iterations, config.restarts)
    fitted = fit_centroids(points, config.segments, *how, config.seed)
    limits = Limits(config.minimum_share * (1 + ROOM), config.maximum_share * (1 - ROOM))
    centroids = fit_within_limits(points, fitted, limits)
    metrics = {
        "silhouette": silhouette(points, centroids),
        "seed_stability": seed_stability(points, fitted, *how, config.seed + 1),
    }
    labels = assign(space.points(sample.blocks), centroids).nearest
    return Clustering(space, centroids, labels, metrics)
