"""Cosine to the centres of the seeds in the encoder's space."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.expand.measures import BoolArray, FloatArray, auc
from kinsight.expand.scorers.base import inner_folds, location_and_scale
from kinsight.expand.scorers.users import Users
from kinsight.expand.scorers.vectors import mean_vector, unit

MODES = (1, 2, 4)
WORTH_A_MODE = 0.01  # AUC that further centres must add: about half its standard error
ITERATIONS = 20


@dataclasses.dataclass(frozen=True)
class CentroidModel:
    """Greatest cosine to one of several centres.

    Attributes:
        mean: Mean vector of the background, taken off every vector [d].
        centres: Unit vectors [modes, d].
        location: Mean greatest cosine of the calibration users.
        scale: Its standard deviation.
    """

    mean: FloatArray
    centres: FloatArray
    location: float = 0.0
    scale: float = 1.0

    def cosine(self, users: Users) -> FloatArray:
        """Greatest cosine to a centre [n]; 0, neither near nor far, for users without a vector."""
        several = [self.cosine_of(vectors, users.has_vector) for vectors in users.all_vectors()]
        return np.asarray(np.max(several, axis=0))

    def cosine_of(self, vectors: npt.NDArray[np.float32], has_vector: BoolArray) -> FloatArray:
        """The same of bare vectors [n, d]."""
        cosines = unit(vectors - self.mean) @ self.centres.T
        return np.where(has_vector, cosines.max(axis=1), 0.0)

    def score(self, users: Users) -> FloatArray:
        """Standardised cosines [n]."""
        return (self.cosine(users) - self.location) / self.scale


class Centroid:
    """Nearness to the seeds' centre, or to several where the seed has several modes."""

    name = "centroid"

    def tune(self, users: Users, seeds: BoolArray, background: BoolArray) -> int:
        """Choose the number of centres by cross-validation; the fewest that do about as well."""
        folds = list(inner_folds(users, seeds, background))
        chosen, best = MODES[0], -1.0
        for modes in MODES:
            values = [
                auc(
                    seed_centres(users, seeds & training, background & training, modes).cosine(
                        users.rows(validation)
                    ),
                    seeds[validation],
                )
                for training, validation in folds
            ]
            if np.mean(values) > best + (WORTH_A_MODE if best >= 0 else 0.0):
                chosen, best = modes, float(np.mean(values))
        return chosen

    def fit(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        calibration: BoolArray,
        settings: int,
    ) -> CentroidModel:
        """Centre, cluster the seeds, standardise on the calibration users."""
        model = seed_centres(users, seeds, background, settings)
        location, scale = location_and_scale(model.cosine(users.rows(calibration)))
        return dataclasses.replace(model, location=location, scale=scale)

    def seconds(self, users: Users) -> float:
        """Estimated seconds of a cross-fit: 10 us a user and hundred numbers."""
        return 1e-5 * len(users) * (1.0 + users.vectors.shape[1] / 100.0)


def seed_centres(
    users: Users, seeds: BoolArray, background: BoolArray, modes: int
) -> CentroidModel:
    """The centres of the seeds, by spherical k-means, without standardisation."""
    mean = mean_vector(users, background)
    vectors = unit(users.vectors[seeds & users.has_vector] - mean)
    return CentroidModel(mean, spherical_centres(vectors, modes))


def spherical_centres(vectors: FloatArray, modes: int) -> FloatArray:
    """Spherical k-means, begun at the mean direction and then at the vector farthest from all.

    Args:
        vectors: Unit vectors [n, d]; none at all gives one centre of zeros.
        modes: Number of centres at most.

    Returns:
        Unit vectors [modes or fewer, d].
    """
    centres = unit(vectors.sum(axis=0, keepdims=True))
    for _ in range(1, min(modes, len(vectors))):
        farthest = vectors[np.argmin((vectors @ centres.T).max(axis=1))]
        centres = np.vstack([centres, farthest])
    for _ in range(ITERATIONS if len(centres) > 1 else 0):
        nearest = np.argmax(vectors @ centres.T, axis=1)
        sums = [vectors[nearest == k].sum(axis=0) for k in np.unique(nearest)]
        moved = unit(np.vstack(sums))
        if moved.shape == centres.shape and np.allclose(moved, centres):
            break
        centres = moved
    return centres
