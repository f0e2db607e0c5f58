"""The date's encoder with a classifier head, its layers changed for the audience."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from kinsight.expand.measures import BoolArray, FloatArray, auc
from kinsight.expand.scorers.base import (
    INNER_FOLDS,
    first_by_hash,
    inner_folds,
    location_and_scale,
)
from kinsight.expand.scorers.logistic import Logistic
from kinsight.expand.scorers.tuned_model import TunedModel, has_history
from kinsight.expand.scorers.users import PARTS, Users

if TYPE_CHECKING:
    from kinsight.expand.scorers.tuning import Tuner

MOST_EPOCHS = 6
MOST_ROWS = 10_000
"""Seeds, and users of the background, that are learned from, the first by id hash."""


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What is chosen inside the training part.

    Attributes:
        penalty: Inverse ridge strength of the head that is begun with.
        epochs: Times that every user is learned from; 0 leaves the layers as they are.
    """

    penalty: float
    epochs: int


def epochs_worth(aucs: FloatArray) -> int:
    """The best number of epochs; 0 unless it is better than none by more than a standard error.

    On a hundred seeds one of six epochs nearly always looks better than none. Complete Journey,
    four audiences, two draws, ``transformer``: mean AUC .648 of the head alone, .639 with the best
    epoch whatever its gain.

    Args:
        aucs: AUC of each inner fold after each epoch, from none on [folds, epochs + 1].
    """
    gains = aucs - aucs[:, :1]
    best = int(np.argmax(gains.mean(axis=0)))
    error = gains[:, best].std(ddof=1) / np.sqrt(len(gains))
    return best if gains[:, best].mean() > error else 0


class Finetuned:
    """A linear head on the date's vectors; then head and layers learn together, stopped early.

    Without a sure gain on inner folds it stays at no epoch, which is ``logistic``. Users learn with
    the latest events that the encoder reads, of several vectors with the one that the head likes
    best.

    Source: UNICON (arXiv 2309.13068), whose lookalike models are the encoder with a classifier on
    the seeds. That the head is fitted first: Kumar et al., arXiv 2202.10054, section 3.
    """

    name = "finetuned"

    def tune(self, users: Users, seeds: BoolArray, background: BoolArray) -> Tuning:
        """Choose the head's penalty, then the number of epochs, by cross-validation."""
        penalty = Logistic().tune(users, seeds, background)
        aucs = np.zeros((INNER_FOLDS, MOST_EPOCHS + 1))
        for fold, (training, validation) in enumerate(inner_folds(users, seeds, background)):
            asked = users.rows(validation)
            tuner = self._tuner(users, seeds & training, background & training, penalty)
            if tuner is None:
                continue
            # An epoch after which there are no numbers, and those after it, count nothing.
            with contextlib.suppress(ArithmeticError):
                for epoch in range(MOST_EPOCHS + 1):
                    if epoch:
                        tuner.epoch()
                    aucs[fold, epoch] = auc(tuner.model().score(asked), seeds[validation])
        return Tuning(penalty, epochs_worth(aucs))

    def fit(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        calibration: BoolArray,
        settings: Tuning,
    ) -> TunedModel:
        """Learn for the chosen number of epochs, standardise on the calibration users."""
        tuner = self._tuner(users, seeds, background, settings.penalty)
        if tuner is None:
            return TunedModel({}, None)
        asked = users.rows(calibration & has_history(users))
        try:
            for _ in range(settings.epochs):
                tuner.epoch()
            model = tuner.model()
            scores = model.score(asked)
        except ArithmeticError:
            if not settings.epochs:
                raise
            # What went well on the inner folds ran away on all: the layers stay as they were.
            return self.fit(users, seeds, background, calibration, Tuning(settings.penalty, 0))
        location, scale = location_and_scale(scores)
        return dataclasses.replace(model, location=location, scale=scale)

    def seconds(self, users: Users) -> float:
        """Estimated seconds of a cross-fit: 50 us each time that an event is learned from."""
        if users.histories is None:
            return 0.0
        learned = users.histories.events * min(1.0, 2 * MOST_ROWS / max(1, len(users)))
        # At most: two thirds of the users, in each fold to choose and for each part to fit.
        return 5e-5 * learned * MOST_EPOCHS * (INNER_FOLDS + PARTS) * 2 / 3

    @staticmethod
    def _tuner(
        users: Users, seeds: BoolArray, background: BoolArray, penalty: float
    ) -> Tuner | None:
        """What begins to learn from users with histories; None where a kind has none."""
        known = has_history(users)
        own = first_by_hash(users, seeds & known, MOST_ROWS)
        others = first_by_hash(users, background & known, MOST_ROWS)
        if not own.any() or not others.any():
            return None
        # Here, as only fitting needs it: torch.
        from kinsight.expand.scorers.tuning import Tuner

        head = Logistic().regress(users, seeds, background, penalty)
        return Tuner.start(users.rows(own | others), own[own | others], head.coefficients)
