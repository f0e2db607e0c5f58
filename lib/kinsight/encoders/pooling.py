"""From one vector an event to one vector a user."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kinsight.encoders.base import EncoderState

Pooling = Literal["mean", "last", "max", "mean_std", "attention", "cls"]

LEARNED: frozenset[Pooling] = frozenset({"attention", "cls"})
"""Poolings with weights of their own, which only a loss on the user vector can train."""


class Pool(nn.Module):
    """Pools the event vectors of a user.

    - ``mean`` (default): the average over all events. A causal model's vector at an event is its
      guess of what comes next; averaged over the history it is a lasting taste, which is what
      segments and audiences ask for, and no single basket turns it.
    - ``last``: the average over the events of the latest time; what the user will do next.
    - ``max``: the largest value of each coordinate.
    - ``mean_std``: mean and standard deviation side by side, twice as wide (SFPNet, the
      distribution-aware pooling of its section 3).
    - ``attention``: an average weighted by softmax(w · tanh(W h)).
    - ``cls``: the vector of an extra token that reads all events.

    Args:
        kind: Which of them.
        width: Width D of an event's vector.
    """

    def __init__(self, kind: Pooling, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.dimension = 2 * width if kind == "mean_std" else width
        if kind == "attention":
            self.score = nn.Sequential(
                nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False)
            )

    def forward(self, state: EncoderState) -> Tensor:
        """Pool.

        Returns:
            [B, dimension], float32.
        """
        batch, events = state.batch, state.events
        if self.kind == "cls":
            assert state.summary is not None
            return state.summary
        if self.kind == "last":
            return weighted_mean(events, batch.last_group)
        if self.kind == "max":
            return events.masked_fill(~batch.present[..., None], -torch.inf).amax(1)
        if self.kind == "attention":
            score = self.score(events)[..., 0].masked_fill(~batch.present, -torch.inf)
            attended: Tensor = (events * score.softmax(1)[..., None]).sum(1)
            return attended
        mean = weighted_mean(events, batch.present)
        if self.kind == "mean":
            return mean
        variance = weighted_mean((events - mean[:, None]).square(), batch.present)
        # The root has no slope at zero, where a history of one event stands.
        return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


def weighted_mean(events: Tensor, chosen: Tensor) -> Tensor:
    """The mean over chosen events.

    Args:
        events: [B, L, D].
        chosen: [B, L], bool, at least one a row.

    Returns:
        [B, D].
    """
    weight = chosen[..., None].to(events.dtype)
    return (events * weight).sum(1) / weight.sum(1)
