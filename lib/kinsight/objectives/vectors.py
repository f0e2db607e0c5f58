"""User vectors as objectives read them, and whether a user is found by another view of her."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import COLUMNS, Histories, cut_by_tokens
from kinsight.objectives.ranking import SCORES_AT_MOST


def user_vectors(encoder: Encoder, batch: Batch) -> Tensor:
    """The vector of each user, [B, d]; of encoders with several, the main one."""
    return encoder.read(encoder.encode(batch))[:, 0]


def history_vectors(encoder: Encoder, histories: Histories, tokens: int) -> Tensor:
    """The vector of each user, [N, d], in the order of the histories.

    Args:
        encoder: The encoder.
        histories: N users.
        tokens: Events a batch, padding included.
    """
    order = np.argsort(histories.length, kind="stable")
    vectors = torch.empty(len(histories), encoder.dimension)
    for part in cut_by_tokens(histories.length[order], tokens):
        users = order[part]
        vectors[torch.from_numpy(users)] = user_vectors(encoder, Batch.of(histories.take(users)))
    return vectors


def own_among_others(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a user's vector finds her own other one by cosine. A tie counts half.

    So equal vectors for everybody are worth chance.

    Args:
        one: A vector of each of at least two users, [N, d].
        other: Another vector of each of them, [N, d].

    Returns:
        Chance that her own is the nearest of all, and share of others' that lie further off, both
        [N], float32; by chance 1 / N and .5.
    """
    one, other = F.normalize(one, dim=1), F.normalize(other, dim=1)
    users = len(one)
    first, nearer = torch.empty(users), torch.empty(users)
    step = max(1, SCORES_AT_MOST // users)
    for begin in range(0, users, step):
        rows = torch.arange(begin, min(begin + step, users))
        alike = one[rows] @ other.T
        own = alike[torch.arange(len(rows)), rows, None]
        strangers = torch.arange(users) != rows[:, None]
        closer = ((alike > own) & strangers).sum(1)
        tied = ((alike == own) & strangers).sum(1)
        first[rows] = (closer == 0) / (1.0 + tied)
        nearer[rows] = 1 - (closer + tied / 2) / (users - 1)
    return first, nearer


def event_width(encoder: Encoder) -> int:
    """Width D of the vectors of events in what ``encode`` returns, by encoding one event."""
    one = {name: torch.ones(1, 1, dtype=torch.int64) for name in COLUMNS}
    training = encoder.training
    with torch.no_grad():
        state = encoder.eval().encode(Batch(**one, length=torch.ones(1, dtype=torch.int64)))
    encoder.train(training)
    return state.events.shape[2]
