"""Fitting the segments' centroids on the sample."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.config import SegmentConfig
from kinsight.segment.algorithms.assignment import assign
from kinsight.segment.algorithms.limits import Limits, fit_within_limits
from kinsight.segment.algorithms.numbers import Fit
from kinsight.segment.algorithms.quality import seed_stability, silhouette
from kinsight.segment.algorithms.space import Space, fit_space
from kinsight.segment.algorithms.spherical import Floats, fit_centroids
from kinsight.segment.algorithms.tastes import axes_for
from kinsight.segment.sample import Sample

# The limits are kept on the sample with this much room, because they are to hold on all users.
ROOM = 0.1


@dataclasses.dataclass(frozen=True)
class Clustering:
    """The fitted space and centroids, and how they do on the sample.

    Attributes:
        space: How users become points.
        wanted: Number of segments asked for; the size limits may have made it another.
        centroids: Unit centroids [k, d].
        labels: Cluster of each user of the sample, held-out ones too [n].
        metrics: silhouette and seed_stability.
    """

    space: Space
    wanted: int
    centroids: Floats
    labels: npt.NDArray[np.int64]
    metrics: dict[str, float]


def fit_points(sample: Sample, config: SegmentConfig) -> tuple[Space, Floats]:
    """Fit the space, and place the fitting users in it.

    Returns:
        The space, and unit rows [fitting users, d] in the order of the sample.
    """
    fitting = sample.blocks.rows(~sample.held_out)
    space = fit_space(fitting, config.seed, axes_for(config.segments.maximum))
    return space, space.points(fitting)


def fit_within(config: SegmentConfig) -> Fit:
    """How centroids are fitted and brought within the size limits."""

    def fit(points: Floats, segments: int, seed: int) -> Floats:
        return _fit(points, segments, seed, config)[1]

    return fit


def fit_segments(
    sample: Sample, space: Space, points: Floats, segments: int, config: SegmentConfig
) -> Clustering:
    """Fit the centroids within the size limits, on fitting users only.

    Args:
        sample: Sampled users; those held out are assigned but not fitted on.
        space: The space of the sample.
        points: The fitting users in it.
        segments: Number of segments.
        config: Limits, iterations, restarts, seed.
    """
    fitted, centroids = _fit(points, segments, config.seed, config)
    metrics = {
        "silhouette": silhouette(points, centroids),
        "seed_stability": seed_stability(
            points, fitted, config.iterations, config.restarts, config.seed + 1
        ),
    }
    labels = assign(space.points(sample.blocks), centroids).nearest
    return Clustering(space, segments, centroids, labels, metrics)


def _fit(points: Floats, segments: int, seed: int, config: SegmentConfig) -> tuple[Floats, Floats]:
    """Centroids as fitted, and as brought within the limits of a sample.

    The limits of a sample are narrower, so that all users keep those of the configuration.
    """
    fitted = fit_centroids(points, segments, config.iterations, config.restarts, seed)
    limits = Limits(config.minimum_share * (1 + ROOM), config.maximum_share * (1 - ROOM))
    return fitted, fit_within_limits(points, fitted, limits)
