"""What logistic scorers ship to executors, without scikit-learn: it takes seconds to load."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.users import Users

Source = Literal["vectors", "components"]


@dataclasses.dataclass(frozen=True)
class LinearModel:
    """A linear score over dense numbers of a user.

    Attributes:
        coefficients: One a number [d].
        intercept: What is added to each score.
        source: The numbers: the encoder's vector, or the components of the bags.
    """

    coefficients: FloatArray
    intercept: float
    source: Source = "vectors"

    def score(self, users: Users) -> FloatArray:
        """Scores [n]; 0, the mean of standardised scores, for users without such numbers."""
        found, known = products(users, self.source, self.coefficients)
        return np.where(known, found + self.intercept, 0.0)


def products(
    users: Users, source: Source, coefficients: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Products of users' numbers with coefficients, the greatest over several vectors of a user.

    Args:
        users: The users [n].
        source: The numbers.
        coefficients: One column a model, or one model alone [d, models] or [d].

    Returns:
        Array [n, models] or [n], and who has such numbers [n].
    """
    numbers, known = numbers_of(users, source)
    found = numbers @ coefficients
    if source == "vectors":
        for vectors in users.all_vectors()[1:]:
            found = np.maximum(found, vectors.astype(np.float64) @ coefficients)
    return np.asarray(found), known


def numbers_of(users: Users, source: Source) -> tuple[FloatArray, BoolArray]:
    """The numbers of users [n, d], of several vectors the main one, and who has any [n]."""
    if source == "vectors":
        return users.vectors.astype(np.float64), users.has_vector
    if users.components is None:
        return np.zeros((len(users), 0)), np.zeros(len(users), dtype=bool)
    return users.components.astype(np.float64), np.ones(len(users), dtype=bool)
