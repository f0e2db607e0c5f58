"""What ``finetuned`` ships to executors; torch is loaded by the first score."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.users import Users


@dataclasses.dataclass(frozen=True)
class TunedModel:
    """The layers of an encoder as an audience changed them, and a linear head.

    The encoder itself comes with the users who are scored.

    Attributes:
        layers: Changed weights, by their name in the encoder, float32.
        head: Coefficients of a user vector [d]; None: nothing was learned, all scores are 0.
        location: Mean of the calibration users.
        scale: Their standard deviation.
    """

    layers: Mapping[str, npt.NDArray[np.float32]]
    head: npt.NDArray[np.float32] | None
    location: float = 0.0
    scale: float = 1.0

    def score(self, users: Users) -> FloatArray:
        """Scores [n]; 0, the mean of standardised scores, for users without a history."""
        found = np.zeros(len(users))
        known = has_history(users)
        if self.head is not None and known.any():
            # Here, so that executors load torch only where an audience needs it.
            from kinsight.expand.scorers.tuning import logits_of

            own = logits_of(users.rows(known), self.layers, self.head)
            found[known] = (own - self.location) / self.scale
        return found


def has_history(users: Users) -> BoolArray:
    """Who has a history [n]."""
    if users.histories is None:
        return np.zeros(len(users), dtype=bool)
    return np.asarray(users.histories.length > 0)
