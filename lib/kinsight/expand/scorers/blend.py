"""Several scorers that rank together: a weighted mean of their scores, or of their ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.base import CrossFit, Model
from kinsight.expand.scorers.users import Users

KNOTS = 1_000


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Scores as ranks: the share of the background below, straight lines between the knots.

    Beyond the last knots the lines go on, so that scores above the whole background keep their
    order: in a large shop they are the first levels of an audience.

    Attributes:
        scores: Scores of the knots, ascending [knots].
        shares: Shares of the background below them [knots].
    """

    scores: FloatArray
    shares: FloatArray

    @classmethod
    def among(cls, scores: FloatArray) -> Ranks:
        """Ranks among given scores; ties share their middle.

        Args:
            scores: Scores of the background [n], n >= 1.
        """
        ordered = np.sort(scores)
        knots = np.unique(np.quantile(ordered, np.linspace(0.0, 1.0, KNOTS + 1)))
        below = np.searchsorted(ordered, knots, side="left")
        not_above = np.searchsorted(ordered, knots, side="right")
        return cls(knots, (below + not_above) / (2.0 * len(ordered)))

    def of(self, scores: FloatArray) -> FloatArray:
        """The ranks of scores, of any shape: 0 to 1, a little beyond for those outside."""
        found = np.interp(scores, self.scores, self.shares)
        if len(self.scores) < 2:
            return np.asarray(found + np.sign(scores - self.scores[0]) / 2.0)
        first, last = (
            np.diff(self.shares[part])[0] / np.diff(self.scores[part])[0]
            for part in (slice(0, 2), slice(-2, None))
        )
        found += first * np.minimum(scores - self.scores[0], 0.0)
        return np.asarray(found + last * np.maximum(scores - self.scores[-1], 0.0))


@dataclasses.dataclass(frozen=True)
class Fusion:
    """Which scorers rank together, and how.

    Attributes:
        weights: Weight of each scorer, together 1, by name; in the order of the scorers.
        by_rank: Whether ranks are averaged, in place of standardised scores.
    """

    weights: Mapping[str, float]
    by_rank: bool = False

    @classmethod
    def alone(cls, name: str) -> Fusion:
        """One scorer by itself."""
        return cls({name: 1.0})

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers that have a weight."""
        return tuple(name for name, weight in self.weights.items() if weight > 0)

    def score(self, scores: Mapping[str, FloatArray], background: BoolArray) -> FloatArray:
        """Scores together [n].

        Args:
            scores: Scores of each scorer [n].
            background: Users among whom ranks are counted [n].
        """
        parts = []
        for name in self.names:
            own = scores[name]
            ranked = Ranks.among(own[background]).of(own) if self.by_rank else own
            parts.append(self.weights[name] * ranked)
        return np.asarray(np.sum(parts, axis=0))


@dataclasses.dataclass(frozen=True)
class Blend:
    """The weighted mean of the standardised scores, or of the ranks, of several models.

    Attributes:
        models: The models.
        weights: Their weights [models].
        ranks: Ranks of each; None where scores are averaged.
    """

    models: tuple[Model, ...]
    weights: tuple[float, ...]
    ranks: tuple[Ranks, ...] | None = None

    def score(self, users: Users) -> FloatArray:
        """Scores [n]."""
        scores = [model.score(users) for model in self.models]
        if self.ranks is not None:
            scores = [ranks.of(own) for ranks, own in zip(self.ranks, scores, strict=True)]
        return np.asarray(np.average(scores, axis=0, weights=self.weights))


def blend(
    fusion: Fusion, fitted: Mapping[str, CrossFit], users: Users, background: BoolArray
) -> CrossFit:
    """One cross-fit of several.

    Args:
        fusion: Which, and how.
        fitted: The cross-fit of each scorer that it names.
        users: All users at hand [n].
        background: Users among whom ranks are counted [n].
    """
    names = fusion.names
    if len(names) == 1 and not fusion.by_rank:
        return fitted[names[0]]
    ranks = None
    if fusion.by_rank:
        others = users.rows(background)
        ranks = tuple(Ranks.among(fitted[name].score(others)) for name in names)
    weights = tuple(fusion.weights[name] for name in names)
    by_part = zip(*(fitted[name].models for name in names), strict=True)
    return CrossFit(tuple(Blend(models, weights, ranks) for models in by_part))
