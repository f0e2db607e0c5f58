"""Nearness to the nearest seeds, less how crowded the space is there anyway."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.expand.measures import BoolArray, FloatArray, auc
from kinsight.expand.scorers.base import inner_folds, location_and_scale
from kinsight.expand.scorers.users import Users
from kinsight.expand.scorers.vectors import mean_vector, unit

NEIGHBOURS = (3, 10, 30, 100)
MOST_SEEDS = 1_000
MOST_BACKGROUND = 2_000
"""Vectors that a model keeps at most, by id hash: 0.8 MB of 64 numbers each. It goes to executors
once for each part, and every user is compared with all of them."""
BLOCK = 1_024  # users compared at once: 16 MB of cosines


@dataclasses.dataclass(frozen=True)
class KnnModel:
    """Mean cosine to the nearest seeds, less that to the nearest background users.

    Attributes:
        mean: Mean vector of the background, taken off every vector [d].
        seeds: Unit vectors of seeds [s, d], float32.
        background: Unit vectors of background users [b, d], float32.
        neighbours: How many seeds count as near.
        location: Mean of the calibration users.
        scale: Their standard deviation.
    """

    mean: FloatArray
    seeds: npt.NDArray[np.float32]
    background: npt.NDArray[np.float32]
    neighbours: int
    location: float = 0.0
    scale: float = 1.0

    def excess(self, users: Users) -> FloatArray:
        """Seed density less background density [n]; the location for users without a vector."""
        known = users.has_vector
        several = []
        for vectors in users.rows(known).all_vectors():
            own, everybody = nearness(self, vectors, (self.neighbours,))
            several.append(own[:, 0] - everybody[:, 0])
        found = np.full(len(users), self.location)
        found[known] = np.max(several, axis=0)
        return found

    def score(self, users: Users) -> FloatArray:
        """Standardised excess [n]; 0 for users without a vector."""
        return (self.excess(users) - self.location) / self.scale


class Knn:
    """How much denser the seeds are around a user than users in general.

    A user in a crowded region is near to many seeds without being like them; the same share of
    the background taken as of the seeds, both are densities of equal resolution. Complete
    Journey, held-out seeds of like-segment, AUC: .654 without the background, .709 with it (3
    neighbours), .702 and .744 (30).

    Source: deWet and Ou, "Finding Users Who Act Alike: Transfer Learning for Expanding Advertiser
    Audiences" (KDD 2019): seed density beside the density of all users, in regions there, around
    each user here.
    """

    name = "knn"

    def tune(self, users: Users, seeds: BoolArray, background: BoolArray) -> int:
        """Choose the number of neighbours by cross-validation; the fewest of equally good."""
        aucs = np.zeros(len(NEIGHBOURS))
        for training, validation in inner_folds(users, seeds, background):
            model = _model(users, seeds & training, background & training, NEIGHBOURS[0])
            known = validation & users.has_vector
            own, everybody = nearness(model, users.vectors[known], NEIGHBOURS)
            if seeds[known].any() and background[known].any():
                aucs += [auc(scores, seeds[known]) for scores in (own - everybody).T]
        return NEIGHBOURS[int(np.argmax(aucs))]

    def fit(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        calibration: BoolArray,
        settings: int,
    ) -> KnnModel:
        """Keep the vectors, standardise on the calibration users that have one."""
        model = _model(users, seeds, background, settings)
        excess = model.excess(users.rows(calibration & users.has_vector))
        location, scale = location_and_scale(excess)
        return dataclasses.replace(model, location=location, scale=scale)

    def seconds(self, users: Users) -> float:
        """Estimated seconds of a cross-fit: 200 us a user and hundred numbers."""
        return 2e-4 * len(users) * (1.0 + users.vectors.shape[1] / 100.0)


def nearness(
    model: KnnModel, vectors: npt.NDArray[np.float32], neighbours: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """Mean cosine to the nearest seeds, and to an equal share of the background.

    Args:
        model: Holds the vectors.
        vectors: A vector of each user [n, d].
        neighbours: Numbers of seeds, ascending; all of them where there are fewer.

    Returns:
        Two arrays [n, len(neighbours)]; zeros where the model has no vector of that kind.
    """
    seeds = [min(k, len(model.seeds)) for k in neighbours]
    ratio = len(model.background) / max(len(model.seeds), 1)
    background = [min(max(round(k * ratio), 1), len(model.background)) for k in seeds]
    own = np.zeros((len(vectors), len(neighbours)))
    everybody = np.zeros_like(own)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        asked = unit(vectors[block] - model.mean)
        own[block] = _mean_nearest(asked, model.seeds, seeds)
        everybody[block] = _mean_nearest(asked, model.background, background)
    return own, everybody


def _mean_nearest(
    vectors: FloatArray, kept: npt.NDArray[np.float32], counts: list[int]
) -> FloatArray:
    """Mean of the greatest cosines of each vector, for several counts of them [n, counts]."""
    if not len(kept):
        return np.zeros((len(vectors), len(counts)))
    # In double precision: single products differ in the last bits with the users beside.
    cosines = vectors @ kept.T.astype(np.float64)
    most = max(counts)
    nearest = -np.sort(-np.partition(cosines, len(kept) - most, axis=1)[:, len(kept) - most :])
    sums = np.cumsum(nearest, axis=1)
    return np.column_stack([sums[:, count - 1] / count for count in counts])


def _model(users: Users, seeds: BoolArray, background: BoolArray, neighbours: int) -> KnnModel:
    """The kept vectors, without standardisation."""
    mean = mean_vector(users, background)
    return KnnModel(
        mean,
        _kept(users, seeds, mean, MOST_SEEDS),
        _kept(users, background, mean, MOST_BACKGROUND),
        neighbours,
    )


def _kept(users: Users, chosen: BoolArray, mean: FloatArray, most: int) -> npt.NDArray[np.float32]:
    """Unit vectors of the chosen users, at most so many, the first by id hash."""
    rows = np.flatnonzero(chosen & users.has_vector)
    rows = rows[np.argsort(users.order[rows], kind="stable")][:most]
    return unit(users.vectors[rows] - mean).astype(np.float32)
