"""User vectors of many histories at once."""

from __future__ import annotations

import torch

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories, IntArray, cut_by_tokens

NOT_FINITE = "kinsight: vectors that are no numbers"
"""Begins the message of an error that the driver turns into one for people."""


def encode_histories(
    encoder: Encoder,
    histories: Histories,
    order: IntArray,
    tokens: int,
    bfloat16: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """User vectors and their weights.

    Args:
        encoder: In evaluation mode.
        histories: N users.
        order: Row numbers with lengths ascending, [N].
        tokens: Events a torch batch, padding included.
        bfloat16: Whether products of matrices are computed in bfloat16.

    Returns:
        Vectors [N, K, d] and the share of each among those of its user [N, K], float32, in the
        order of the histories; of several vectors the main one first.

    Raises:
        ArithmeticError: If a vector is not finite.
    """
    histories = histories.latest(encoder.latest_events)
    vectors = torch.empty(len(histories), encoder.interests, encoder.dimension)
    weights = torch.empty(len(histories), encoder.interests)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for part in cut_by_tokens(histories.length[order], tokens):
            users = torch.from_numpy(order[part])
            state = encoder.encode(Batch.of(histories.take(order[part])))
            vectors[users] = encoder.read(state).float()
            weights[users] = encoder.weights(state)
    check_finite(vectors)
    return vectors, weights


def check_finite(vectors: torch.Tensor) -> None:
    """Refuse vectors that hold NaN or infinity.

    Args:
        vectors: [N, K, d].

    Raises:
        ArithmeticError: Telling how many users have one.
    """
    spoilt = int((~torch.isfinite(vectors)).flatten(1).any(1).sum())
    if spoilt:
        raise ArithmeticError(f"{NOT_FINITE}: {spoilt} of {len(vectors)} users of a batch")
