"""From one vector an event to one vector a user."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kinsight.encoders.base import EncoderState
from kinsight.encoders.batch import Batch

RunningPooling = Literal["mean", "last", "max", "mean_std", "attention"]
"""The ways that pool the vectors of events; the other one puts a token among them."""

Pooling = Literal["mean", "last", "max", "mean_std", "attention", "cls"]


class Pool(nn.Module):
    """Pools the event vectors of a user.

    - ``mean`` (default): the average over all events. It is a lasting taste, which is what segments
      and audiences ask for: no single basket turns it, and items bought often weigh more.
    - ``last``: the average over the events of the latest time; what the user is up to now.
    - ``max``: the largest value of each coordinate.
    - ``mean_std``: mean and standard deviation side by side, twice as wide (SFPNet, arXiv
      2404.09709, distribution-aware pooling).
    - ``attention``: an average weighted by softmax(w · tanh(W [h; c])), c being the context that
      some encoders give beside each event's vector.
    - ``cls``: the vector of an extra token that reads all events.

    Args:
        kind: Which of them.
        width: Width D of an event's vector.
        context: Width C of the context that attention reads; 0 where there is none.
    """

    def __init__(self, kind: Pooling, width: int, context: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self.dimension = 2 * width if kind == "mean_std" else width
        if kind == "attention":
            self.score = nn.Sequential(
                nn.Linear(width + context, width), nn.Tanh(), nn.Linear(width, 1, bias=False)
            )

    def forward(self, state: EncoderState) -> Tensor:
        """Pool all events of a user.

        Returns:
            [B, dimension], float32.
        """
        if state.summary is not None:
            return state.summary
        vectors = self.at_events(state)
        return vectors[torch.arange(len(vectors)), state.batch.length - 1]

    def at_events(self, state: EncoderState) -> Tensor:
        """Pool what a user had done right after each event's time; not for ``cls``.

        Returns:
            [B, L, dimension], float32.
        """
        batch, events = state.batch, state.events
        if self.kind == "max":
            return at_group_end(batch, events.cummax(1).values)
        if self.kind == "last":
            before = (batch.group_start - 1).clamp(min=0)[..., None].expand_as(events)
            total = events.cumsum(1)
            earlier = total.gather(1, before) * (batch.group > 0)[..., None]
            size = batch.next_group_start - batch.group_start
            return (at_group_end(batch, total) - earlier) / size[..., None]
        if self.kind == "attention":
            read = events if state.context is None else torch.cat([events, state.context], 2)
            score = self.score(read).masked_fill(~batch.present[..., None], -torch.inf)
            weight = (score - score.amax(1, keepdim=True)).exp()
        else:
            weight = torch.ones_like(events[..., :1])
        total = weight.cumsum(1)
        mean = at_group_end(batch, (weight * events).cumsum(1) / total)
        if self.kind != "mean_std":
            return mean
        square = at_group_end(batch, events.square().cumsum(1) / total)
        # The root has no slope at zero, where a history of one event stands.
        deviation = ((square - mean.square()).clamp(min=0) + 1e-6).sqrt()
        return torch.cat([mean, deviation], dim=2)


def at_group_end(batch: Batch, running: Tensor) -> Tensor:
    """Give every event the value at the last event of its time.

    Args:
        batch: B histories of L events.
        running: [B, L, D].

    Returns:
        [B, L, D].
    """
    end = batch.next_group_start - 1
    return running.gather(1, end[..., None].expand_as(running))
