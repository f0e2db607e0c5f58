"""InfoNCE: of all vectors of a batch, a user's own other one shall be the nearest.

Source: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding"
(arXiv 1807.03748); both ways round and with negatives from both sides as in Chen et al., SimCLR
(arXiv 2002.05709).

Loss of user i with vectors a_i and b_i: half of -log softmax at b_i of cos(a_i, .) / temperature
over b_i and all vectors of other users, plus half of the same for b_i and a_i.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.errors import RefusedError
from kinsight.objectives.base import TrainingSet
from kinsight.objectives.ranking import SCORES_AT_MOST

USERS_A_BATCH = 8
"""Users that a full batch holds at least; with fewer the nearest stranger is hardly near."""
USERS_AT_MOST = math.isqrt(SCORES_AT_MOST) // 2
"""Users compared at once, whose two vectors each make a square of scores."""


class InfoNceOptions(Settings):
    """Options of losses by InfoNCE."""

    temperature: float = Field(
        0.2, gt=0, description="Of cosines; the lower, the more the nearest strangers count."
    )


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """The loss summed over users; see the module.

    Args:
        one: A vector of each user, [N, d].
        other: Her other one, [N, d].
        temperature: What cosines are divided by.

    Returns:
        Scalar.
    """
    users = len(one)
    vectors = F.normalize(torch.cat([one, other]), dim=1)
    scores = vectors @ vectors.T / temperature
    scores = scores.masked_fill(torch.eye(2 * users, dtype=torch.bool), -torch.inf)
    own = (torch.arange(2 * users) + users) % (2 * users)
    return F.cross_entropy(scores, own, reduction="sum") / 2


def require_users_to_compare(data: TrainingSet) -> None:
    """Refuse users without a second view, and batches of too few users.

    Raises:
        RefusedError: Saying what is missing and what to do.
    """
    if data.users_with_order < 2:
        raise RefusedError(
            "There are no two views to compare: every user's events bear one time.",
            expected="at least 2 users with events at two or more distinct times",
            found=f"{data.users_with_order} of {data.users} users",
            to_do="check the column mapped to event_time, or use another objective",
        )
    needed = USERS_A_BATCH * data.longest
    if data.batch_tokens < needed:
        raise RefusedError(
            "A batch would hold too few users to tell apart.",
            expected=f"train.batch_tokens of at least {needed}, for {USERS_A_BATCH} users with "
            f"histories as long as the longest ({data.longest} events)",
            found=f"{data.batch_tokens}",
            to_do=f"set train.batch_tokens to {needed}, or lower latest_events of the encoder",
        )
