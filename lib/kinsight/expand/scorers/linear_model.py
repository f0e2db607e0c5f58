"""What ``logistic`` ships to executors, without scikit-learn: it takes seconds to load."""

from __future__ import annotations

import dataclasses

import numpy as np

from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.users import Users


@dataclasses.dataclass(frozen=True)
class LinearModel:
    """A linear score over the vector.

    Attributes:
        coefficients: One a number of the vector [d].
        intercept: What is added to each score.
    """

    coefficients: FloatArray
    intercept: float

    def score(self, users: Users) -> FloatArray:
        """Scores [n]; 0, the mean of standardised scores, for users without a vector."""
        scores = users.vectors.astype(np.float64) @ self.coefficients + self.intercept
        return np.where(users.has_vector, scores, 0.0)
