"""User vectors of whole sets of histories."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories, cut_by_tokens


def user_vectors(encoder: Encoder, histories: Histories, tokens: int) -> Tensor:
    """The first vector of each user, with gradients where they are on.

    Args:
        encoder: The encoder.
        histories: N users.
        tokens: Events a batch, padding included.

    Returns:
        [N, d], float32, in the order of the histories.
    """
    order = np.argsort(histories.length, kind="stable")
    vectors = torch.empty(len(histories), encoder.dimension)
    for part in cut_by_tokens(histories.length[order], tokens):
        users = order[part]
        read = encoder.read(encoder.encode(Batch.of(histories.take(users))))[:, 0]
        vectors[torch.from_numpy(users)] = read
    return vectors
