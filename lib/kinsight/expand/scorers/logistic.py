"""Ridge logistic regression on dense numbers, at their natural scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from kinsight.expand.measures import BoolArray, auc
from kinsight.expand.scorers.base import inner_folds, location_and_scale
from kinsight.expand.scorers.linear_model import LinearModel, Source, numbers_of
from kinsight.expand.scorers.users import Users

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse ridge strengths, for vectors whose mean squared length is one."""


@dataclasses.dataclass(frozen=True)
class Logistic:
    """One ridge logistic model, its penalty chosen inside the training part.

    On the encoder's vectors it is ``logistic``, on the components of the bags ``svd_logistic``.

    All numbers of a vector are divided by one and the same, so that one grid of penalties serves
    every encoder. They are not standardised one by one: that blows up the directions that say
    little (.07 AUC on Complete Journey).
    """

    name: str = "logistic"
    source: Source = "vectors"

    def tune(self, users: Users, seeds: BoolArray, background: BoolArray) -> float:
        """Choose the penalty by cross-validation; the strongest of equally good ones."""
        aucs = np.zeros(len(PENALTIES))
        for training, validation in inner_folds(users, seeds, background):
            asked = users.rows(validation)
            models = self.path(users, seeds & training, background & training, PENALTIES)
            aucs += [auc(model.score(asked), seeds[validation]) for model in models]
        return PENALTIES[int(np.argmax(aucs))]

    def fit(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        calibration: BoolArray,
        settings: float,
    ) -> LinearModel:
        """Fit on the users with numbers, standardise on the calibration users that have some."""
        model = self.regress(users, seeds, background, settings)
        known = calibration & numbers_of(users, self.source)[1]
        location, scale = location_and_scale(model.score(users.rows(known)))
        return dataclasses.replace(
            model, coefficients=model.coefficients / scale, intercept=-location / scale
        )

    def seconds(self, users: Users) -> float:
        """Estimated seconds of a cross-fit: 50 us a user and hundred numbers."""
        width = numbers_of(users.rows(np.zeros(len(users), dtype=bool)), self.source)[0].shape[1]
        return 5e-5 * len(users) * (1.0 + width / 100.0)

    def regress(
        self, users: Users, seeds: BoolArray, background: BoolArray, inverse_penalty: float
    ) -> LinearModel:
        """As ``path``, with one penalty."""
        [model] = self.path(users, seeds, background, (inverse_penalty,))
        return model

    def path(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        inverse_penalties: Sequence[float],
    ) -> list[LinearModel]:
        """Fit without standardisation; zeros where no seed or nobody of the background has numbers.

        Args:
            users: All users at hand [n].
            seeds: Training seeds [n].
            background: Unlabelled users to learn against [n].
            inverse_penalties: Inverse ridge strengths, the strongest ridge first: each fit begins
                where the one before it ended.
        """
        numbers, has_numbers = numbers_of(users, self.source)
        known = has_numbers & (seeds | background)
        rows, labels = numbers[known], seeds[known]
        if labels.all() or not labels.any():
            nothing = LinearModel(np.zeros(numbers.shape[1]), 0.0, self.source)
            return [nothing for _ in inverse_penalties]
        # Taking the mean off changes no ranking; it keeps the solver from chasing the intercept.
        rows = rows - rows.mean(axis=0)
        scale = np.sqrt(np.mean(np.sum(rows**2, axis=1))) or 1.0
        rows = rows / scale
        model = LogisticRegression(
            class_weight="balanced", tol=1e-4, max_iter=200, solver="lbfgs", warm_start=True
        )
        found = []
        for inverse_penalty in inverse_penalties:
            model.set_params(C=inverse_penalty).fit(rows, labels)
            coefficients = np.array(model.coef_[0] / scale, dtype=np.float64)
            found.append(LinearModel(coefficients, 0.0, self.source))
        return found
