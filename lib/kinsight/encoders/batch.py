"""A padded batch of histories, and what its timestamps say about order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from kinsight.encoders.histories import COLUMNS, Histories, cut_by_tokens


@dataclasses.dataclass(frozen=True)
class Batch:
    """Histories of B users, oldest event first, padded at the end to L events.

    Events of equal time (a basket) form a group: among them there is no order, so everything
    that depends on order is defined by groups and not by places in the array.

    Attributes:
        item: Vocabulary indices, [B, L], int64; 0 is padding, 1 unknown. So the next four.
        event_type: As item.
        category: As item.
        brand: As item.
        price: Price buckets, as item.
        hour_of_week: 1 + 24 x weekday + hour, [B, L], int64; 0 is padding.
        seconds: Event times in seconds since 1970, [B, L], int64, ascending in a row.
        length: Events of each user, [B], int64, at least 1.
    """

    item: Tensor
    event_type: Tensor
    category: Tensor
    brand: Tensor
    price: Tensor
    hour_of_week: Tensor
    seconds: Tensor
    length: Tensor

    @classmethod
    def of(cls, histories: Histories) -> Batch:
        """Pad histories to a batch; at least one user."""
        columns = {
            name: torch.from_numpy(histories.padded(name).astype("int64")) for name in COLUMNS
        }
        return cls(**columns, length=torch.from_numpy(histories.length))

    def gather(self, place: Tensor, length: Tensor) -> Batch:
        """Stretches of these histories as histories of their own.

        Args:
            place: Where their events stand, counted through all rows of L places, [n, W], int64;
                any valid place beyond a stretch's end.
            length: Events of each, [n], int64, at most W.
        """
        inside = torch.arange(place.shape[1]) < length[:, None]
        columns = {name: getattr(self, name).reshape(-1)[place] * inside for name in COLUMNS}
        return Batch(**columns, length=length)

    @cached_property
    def present(self) -> Tensor:
        """True where there is an event, [B, L], bool."""
        return self._places < self.length[:, None]

    @cached_property
    def group(self) -> Tensor:
        """Rank of the event's time among the user's distinct times, [B, L], int64, from 0.

        Padding carries the rank of the last event.
        """
        return self._begins.cumsum(1) - 1

    @cached_property
    def group_start(self) -> Tensor:
        """Place of the first event of the event's group, [B, L], int64."""
        return torch.where(self._begins, self._places, 0).cummax(1).values

    @cached_property
    def next_group_start(self) -> Tensor:
        """Place of the first strictly later event, [B, L], int64; the length if there is none."""
        starts = torch.where(self._begins, self._places, self.length[:, None])
        later = torch.cat([starts[:, 1:], self.length[:, None]], dim=1)
        return later.flip(1).cummin(1).values.flip(1)

    @property
    def _places(self) -> Tensor:
        return torch.arange(self.item.shape[1]).expand_as(self.item)

    @cached_property
    def _begins(self) -> Tensor:
        """True for the first event of each group, [B, L], bool."""
        begins = torch.ones_like(self.item, dtype=torch.bool)
        begins[:, 1:] = self.seconds[:, 1:] != self.seconds[:, :-1]
        return begins & self.present


def batches_by_length(histories: Histories, tokens: int) -> Iterator[Batch]:
    """All users in batches of similar lengths, shortest first.

    Args:
        histories: N users.
        tokens: Events a batch, padding included.
    """
    ordered = histories.take(np.argsort(histories.length, kind="stable"))
    for part in cut_by_tokens(ordered.length, tokens):
        yield Batch.of(ordered.take(np.arange(part.start, part.stop)))
