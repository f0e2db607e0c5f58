"""Several scorers that rank together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.base import CrossFit, Model
from kinsight.expand.scorers.users import Users


@dataclasses.dataclass(frozen=True)
class Blend:
    """The mean of the standardised scores of several models."""

    models: tuple[Model, ...]

    def score(self, users: Users) -> FloatArray:
        """Scores [n]."""
        return mean_score([model.score(users) for model in self.models])


def blend(fitted: Sequence[CrossFit]) -> CrossFit:
    """One cross-fit of several: in each part, the mean of their models of that part."""
    if len(fitted) == 1:
        return fitted[0]
    by_part = zip(*(cross_fit.models for cross_fit in fitted), strict=True)
    return CrossFit(tuple(Blend(models) for models in by_part))


def mean_score(scores: Sequence[FloatArray]) -> FloatArray:
    """The mean of scores of equal users [n]."""
    return np.asarray(np.mean(scores, axis=0))
