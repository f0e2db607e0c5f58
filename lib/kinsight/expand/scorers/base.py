"""The contract of scorers: learn from seeds against a background, then score anybody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.users import PARTS, Users

INNER_FOLDS = 3
TUNING_ROWS = 5_000  # of either kind: enough to choose settings, whatever the size of the shop


class Model(Protocol):
    """A fitted scorer. Travels to executors inside the closure."""

    def score(self, users: Users) -> FloatArray:
        """Scores [n]; higher is more like the seeds, comparable between the parts of a scorer."""
        ...


class Scorer(Protocol):
    """A way to rank users by their likeness to seeds. Seeds and background are disjoint."""

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    def tune(self, users: Users, seeds: BoolArray, background: BoolArray) -> Any:
        """Choose settings inside the training part.

        Args:
            users: All users at hand [n].
            seeds: Training seeds [n].
            background: Unlabelled users to learn against [n].
        """
        ...

    def fit(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        calibration: BoolArray,
        settings: Any,
    ) -> Model:
        """Fit a model.

        Args:
            users: All users at hand [n].
            seeds: Training seeds [n].
            background: Unlabelled users to learn against [n].
            calibration: Unlabelled users outside both, by whom scores are standardised [n].
            settings: What ``tune`` chose.
        """
        ...

    def seconds(self, users: Users) -> float:
        """About how long one cross-fit takes, on one core.

        An estimate from the size of the users, not from a clock: what ``auto`` can afford to try
        must not depend on how busy the machine is.
        """
        ...


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """One model a part: users of part p are scored by the model that saw no background of p."""

    models: tuple[Model, ...]

    def score(self, users: Users) -> FloatArray:
        """Scores [n], each from the model of the user's part."""
        scores = np.zeros(len(users))
        for number, (model, own) in enumerate(zip(self.models, by_part(users), strict=True)):
            if len(own):
                scores[users.part == number] = model.score(own)
        return scores


def by_part(users: Users) -> list[Users]:
    """The users of each part."""
    return [users.rows(users.part == part) for part in range(PARTS)]


def cross_fit(scorer: Scorer, users: Users, seeds: BoolArray, background: BoolArray) -> CrossFit:
    """Fit one model for each part of the users, with settings chosen once.

    A background user whom a model took for a negative scores too low under it, which would rank
    the users outside the sample before him; in a small shop the sample is everybody.

    Args:
        scorer: The scorer.
        users: All users at hand [n].
        seeds: Training seeds [n].
        background: Unlabelled users to learn against [n]; some in each part.
    """
    # Many small problems: more threads of the linear algebra only wait for each other, at ten times
    # the processor time.
    with threadpool_limits(1):
        settings = scorer.tune(users, seeds, background)
        return CrossFit(
            tuple(
                scorer.fit(
                    users,
                    seeds,
                    background & (users.part != part),
                    background & (users.part == part),
                    settings,
                )
                for part in range(PARTS)
            )
        )


def first_by_hash(users: Users, chosen: BoolArray, most: int) -> BoolArray:
    """The chosen users, of more than ``most`` the first by id hash [n]."""
    rows = np.flatnonzero(chosen)
    kept = np.zeros(len(chosen), dtype=bool)
    kept[rows[np.argsort(users.order[rows], kind="stable")][:most]] = True
    return kept


def inner_folds(
    users: Users, seeds: BoolArray, background: BoolArray
) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Training and validation rows of each inner fold, seeds and background spread evenly.

    Args:
        users: All users at hand [n].
        seeds: Training seeds [n].
        background: Unlabelled users to learn against [n].

    Yields:
        Two masks [n]; together the seeds and background, at most TUNING_ROWS of either.
    """
    fold = np.full(len(users), -1)
    for kind in (seeds, background):
        rows = np.flatnonzero(kind)
        rows = rows[np.argsort(users.order[rows], kind="stable")][:TUNING_ROWS]
        fold[rows] = np.arange(len(rows)) % INNER_FOLDS
    for number in range(INNER_FOLDS):
        yield (fold >= 0) & (fold != number), fold == number


def location_and_scale(scores: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation; 1 for the latter where all are equal, (0, 1) for no scores."""
    if not len(scores):
        return 0.0, 1.0
    scale = float(scores.std())
    return float(scores.mean()), scale if scale > 1e-12 else 1.0
