"""Ridge logistic regression on dense numbers, at their natural scale."""

from __future__ import annotations

import dataclasses

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
            for place, penalty in enumerate(PENALTIES):
                model = self.regress(users, seeds & training, background & training, penalty)
                aucs[place] += auc(model.score(users.rows(validation)), seeds[validation])
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
        """Fit without standardisation; zeros where no seed or nobody of the background has numbers.

        Args:
            users: All users at hand [n].
            seeds: Training seeds [n].
            background: Unlabelled users to learn against [n].
            inverse_penalty: Inverse ridge strength.
        """
        numbers, has_numbers = numbers_of(users, self.source)
        known = has_numbers & (seeds | background)
        rows, labels = numbers[known], seeds[known]
        if labels.all() or not labels.any():
            return LinearModel(np.zeros(numbers.shape[1]), 0.0, self.source)
        scale = np.sqrt(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))) or 1.0
        model = LogisticRegression(
            C=inverse_penalty, class_weight="balanced", tol=1e-4, max_iter=200, solver="lbfgs"
        )
        # Taking the mean off changes no ranking; it keeps the solver from chasing the intercept.
        model.fit((rows - rows.mean(axis=0)) / scale, labels)
        coefficients = np.asarray(model.coef_[0] / scale, dtype=np.float64)
        return LinearModel(coefficients, 0.0, self.source)
