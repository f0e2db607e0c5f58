"""How well hidden seeds are found: folds, placements, curves. No Spark.

The protocol: a fold of the seeds is hidden; scorers learn from the rest against the background;
the hidden seeds are ranked among the background users, each scored by a model that did not see
him (:func:`kinsight.expand.scorers.base.cross_fit`). Non-seeds are unlabelled, not negative: the
ranking says how early hidden seeds come, not how many of the others are wrong.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from kinsight.expand.measures import (
    Z_95,
    Z_95_ONE_SIDED,
    BoolArray,
    FloatArray,
    IntArray,
    standard_error,
    wilson_interval,
    wins,
)
from kinsight.expand.parallel import HERE, SideBySide
from kinsight.expand.scorers.base import Scorer, cross_fit
from kinsight.expand.scorers.blend import Fusion
from kinsight.expand.scorers.registry import seen_by
from kinsight.expand.scorers.users import Users

ACTIVITY = "activity"
RANDOM = "random"
FEWEST_WITHIN = 30
"""Fewer sampled users within a share leave its end uncertain by more than a fifth of it."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where one way of ranking puts the hidden seeds of one fold.

    Attributes:
        of_seeds: Share of the background that each hidden seed outranks [hidden].
        of_background: Share of the hidden seeds that outrank each background user [background].
        above: Users of the whole pool expected above each hidden seed [hidden].
        tied: Users of the pool expected to share its score [hidden].
        pool: Users ranked.
        weight: Users that one background user stands for.
    """

    of_seeds: FloatArray
    of_background: FloatArray
    above: FloatArray
    tied: FloatArray
    pool: float
    weight: float


@dataclasses.dataclass(frozen=True)
class Line:
    """Where one way of ranking puts the hidden seeds.

    Attributes:
        name: A scorer, ``auto``, or ``activity``.
        of_seeds: Share of the background that each hidden seed outranks [seeds].
        of_background: Share of the hidden seeds that outrank each background user [background].
        above: Users of the whole pool expected above each hidden seed [seeds].
        tied: Users of the pool expected to share its score [seeds].
        pool: Users ranked in a fold, the average.
        weight: Users that one background user stands for.
        seconds: Time it took.
    """

    name: str
    of_seeds: FloatArray
    of_background: FloatArray
    above: FloatArray
    tied: FloatArray
    pool: float
    weight: float
    seconds: float

    @classmethod
    def over(cls, name: str, folds: Sequence[Placement], seconds: float = 0.0) -> Line:
        """The line over some folds."""
        return cls(
            name=name,
            of_seeds=np.concatenate([p.of_seeds for p in folds]),
            of_background=np.mean([p.of_background for p in folds], axis=0),
            above=np.concatenate([p.above for p in folds]),
            tied=np.concatenate([p.tied for p in folds]),
            pool=float(np.mean([p.pool for p in folds])),
            weight=folds[0].weight,
            seconds=seconds,
        )

    @property
    def auc(self) -> float:
        """The probability that a hidden seed outranks a background user."""
        return float(self.of_seeds.mean())

    @property
    def auc_error(self) -> float:
        """The standard error of the AUC."""
        return standard_error(self.of_seeds, self.of_background)

    @property
    def auc_interval(self) -> tuple[float, float]:
        """The 95 % interval of the AUC."""
        half = Z_95 * self.auc_error
        return max(0.0, self.auc - half), min(1.0, self.auc + half)

    def recall(self, share: float) -> float:
        """Share of the hidden seeds among the first ``share`` of the pool, ties drawn by lot."""
        room = share * self.pool - self.above
        return float(np.clip(room / (self.tied + 1.0), 0.0, 1.0).mean())

    def sampling_error(self, share: float) -> float:
        """The standard error of the recall that comes from the background being a sample.

        Where a share of the pool ends is read off m users, so the share has the standard error
        sqrt(s (1 - s) / m), and the recall that times the slope of its curve there. It is less the
        more of the pool is in the sample, and none where all are.
        """
        unseen = max(0.0, 1.0 - 1.0 / self.weight)
        error = math.sqrt(share * (1.0 - share) / len(self.of_background) * unseen)
        if error == 0.0:
            return 0.0
        low, high = max(0.0, share - error), min(1.0, share + error)
        return error * (self.recall(high) - self.recall(low)) / (high - low)

    def is_rough(self, share: float) -> bool:
        """Whether so few sampled users lie within a share that its recall is a rough guess."""
        return self.weight > 1.0 and share * len(self.of_background) < FEWEST_WITHIN

    def surely_above(self, other: Line, errors: float = Z_95_ONE_SIDED) -> bool:
        """Whether this line's AUC is above another's of the same users, 95 % sure (one-sided).

        Args:
            other: The other line.
            errors: Standard errors of the difference that are asked for.
        """
        error = standard_error(
            self.of_seeds - other.of_seeds, self.of_background - other.of_background
        )
        return self.auc - other.auc > errors * error


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One point of a held-out curve; see schemas/audience_curves.sql."""

    scorer: str
    share: float
    recall: float
    recall_low: float
    recall_high: float

    @property
    def lift(self) -> float:
        """Recall divided by share."""
        return self.recall / self.share


def seed_folds(users: Users, seeds: BoolArray, folds: int) -> IntArray:
    """The fold of each seed, of equal size and by the order of the id hash; -1 for others [n]."""
    numbers = np.full(len(users), -1, dtype=np.int64)
    rows = np.flatnonzero(seeds)
    rows = rows[np.argsort(users.order[rows], kind="stable")]
    numbers[rows] = np.arange(len(rows)) % folds
    return numbers


class Trials:
    """What hidden seeds say of scorers, and of scorers that rank together.

    Attributes:
        names: The scorers.
        folds: Folds of the seeds.
        seconds: How long each scorer took.
        weight: Users that one background user stands for.

    Args:
        scores: For each scorer, for each fold, the scores of all users with that fold hidden [n].
        seconds: How long each scorer took.
        fold: Fold of each seed, -1 for others [n].
        background: The background sample [n].
        weight: Users that one background user stands for.
    """

    def __init__(
        self,
        scores: Mapping[str, Sequence[FloatArray]],
        seconds: Mapping[str, float],
        fold: IntArray,
        background: BoolArray,
        weight: float,
    ) -> None:
        self.names = tuple(scores)
        self.folds = int(fold.max()) + 1
        self.seconds = seconds
        self._scores = scores
        self._fold = fold
        self._background = background
        self.weight = weight
        self._placed: dict[str, list[Placement]] = {}

    def placements(self, fusion: Fusion) -> list[Placement]:
        """Where scorers put the hidden seeds together, fold by fold."""
        key = repr(fusion)
        if key not in self._placed:
            self._placed[key] = [
                self.place(fold, self.fused(fusion, fold)) for fold in range(self.folds)
            ]
        return self._placed[key]

    def fused(self, fusion: Fusion, fold: int) -> FloatArray:
        """The scores together, with the seeds of a fold hidden [n]."""
        of_fold = {name: self._scores[name][fold] for name in fusion.names}
        return fusion.score(of_fold, self._background)

    def hidden(self, folds: Iterable[int]) -> int:
        """How many seeds are hidden in some folds."""
        return int(np.isin(self._fold, list(folds)).sum())

    def of_hidden(self, scores: FloatArray, fold: int) -> tuple[FloatArray, FloatArray]:
        """Of scores [n], those of the seeds hidden in a fold, and those of the background."""
        return scores[self._fold == fold], scores[self._background]

    def place(self, fold: int, scores: FloatArray) -> Placement:
        """Place the hidden seeds of a fold among the background by any scores [n]."""
        hidden, others = self.of_hidden(scores, fold)
        others_above, others_tied = _above_and_tied(hidden, others)
        seeds_above, seeds_tied = _above_and_tied(hidden, hidden)
        return Placement(
            of_seeds=wins(hidden, others),
            of_background=1.0 - wins(others, hidden),
            above=self.weight * others_above + seeds_above,
            tied=self.weight * others_tied + seeds_tied - 1.0,
            pool=self.weight * len(others) + len(hidden),
            weight=self.weight,
        )

    def line(self, name: str, folds: Iterable[int] | None = None) -> Line:
        """The line of one scorer, over all folds or some."""
        placed = self.placements(Fusion.alone(name))
        seen = range(self.folds) if folds is None else folds
        return Line.over(name, [placed[fold] for fold in seen], self.seconds[name])


def evaluate(
    scorers: Sequence[Scorer],
    users: Users,
    seeds: BoolArray,
    background: BoolArray,
    unlabelled: int,
    folds: int,
    at_once: SideBySide = HERE,
) -> tuple[Trials, Line]:
    """Measure scorers, and activity beside them, on hidden seeds.

    Args:
        scorers: The scorers.
        users: Seeds and background [n].
        seeds: Matched seeds [n].
        background: A sample of the users to be ranked [n].
        unlabelled: How many users that sample stands for.
        folds: Folds of the seeds.
        at_once: What fits several at once.

    Returns:
        The trials of the scorers, and the activity line.
    """
    fold = seed_folds(users, seeds, folds)
    pieces = [
        functools.partial(_scores_and_seconds, scorer, seen, seeds & (fold != hidden), background)
        for scorer, seen in ((scorer, seen_by(scorer, users)) for scorer in scorers)
        for hidden in range(folds)
    ]
    estimates = [s.seconds(users) for s in scorers for _ in range(folds)]
    found = iter(at_once(pieces, estimates))
    by_scorer = {scorer.name: [next(found) for _ in range(folds)] for scorer in scorers}
    scores = {name: [scores for scores, _ in runs] for name, runs in by_scorer.items()}
    seconds = {name: sum(took for _, took in runs) for name, runs in by_scorer.items()}
    trials = Trials(scores, seconds, fold, background, unlabelled / int(background.sum()))
    by_activity = [trials.place(hidden, users.activity) for hidden in range(folds)]
    return trials, Line.over(ACTIVITY, by_activity)


def _scores_and_seconds(
    scorer: Scorer, users: Users, seeds: BoolArray, background: BoolArray
) -> tuple[FloatArray, float]:
    """Scores of all users by a cross-fit [n], and how long it took."""
    start = time.perf_counter()
    models = cross_fit(scorer, users, seeds, background)
    # The same in a process of its own, where libraries have fewer threads.
    with threadpool_limits(1):
        scores = models.score(users)
    return scores, time.perf_counter() - start


def _above_and_tied(scores: FloatArray, others: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How many of the others stand above each score, and how many share it."""
    ordered = np.sort(others)
    not_above = np.searchsorted(ordered, scores, side="right")
    below = np.searchsorted(ordered, scores, side="left")
    return (len(others) - not_above).astype(np.float64), (not_above - below).astype(np.float64)


def curve(line: Line, shares: Iterable[float]) -> list[CurvePoint]:
    """The held-out recall of a line at each share, each with its 95 % interval.

    The interval is over the hidden seeds, and over the background where that is a sample.
    """
    seeds = len(line.of_seeds)
    return [_point(line.name, s, line.recall(s), seeds, line.sampling_error(s)) for s in shares]


def random_curve(seeds: int, shares: Iterable[float]) -> list[CurvePoint]:
    """What a random order would find, with the interval that chance leaves for so many seeds."""
    return [_point(RANDOM, share, share, seeds, 0.0) for share in shares]


def _point(
    scorer: str, share: float, recall: float, seeds: int, sampling_error: float
) -> CurvePoint:
    low, high = wilson_interval(recall, seeds, sampling_error)
    return CurvePoint(scorer, share, recall, low, high)
