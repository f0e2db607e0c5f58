"""What ``bag_logistic`` ships to executors, without scikit-learn: it takes seconds to load."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.users import Users


@dataclasses.dataclass(frozen=True)
class BagModel:
    """A linear score over the tokens of all fields.

    Attributes:
        coefficients: By field, the coefficient of each token [tokens].
        intercept: What is added to each score.
    """

    coefficients: Mapping[str, FloatArray]
    intercept: float

    def score(self, users: Users) -> FloatArray:
        """Scores [n]."""
        parts = (users.bags[field] @ w for field, w in self.coefficients.items())
        return np.asarray(sum(parts, np.full(len(users), self.intercept)))
