"""The nearest users and the nearest items in a frozen space, as `neighbour_contrastive` holds them.

Source: Cui et al., SRA-CL (arXiv 2503.04162), sections on inter- and intra-user contrast; the
search is exact, by products of unit vectors.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import INDEX_FIELDS, Histories, ranges
from kinsight.objectives.content import content_of
from kinsight.objectives.ranking import SCORES_AT_MOST
from kinsight.objectives.subsets import take_users

SWAPPED_ITEMS = 50_000
"""Items that are replaced or replace at most, the most frequent: all pairs of them are compared,
some 10 s on one core."""
PLACED_AT_ONCE = 256
CARRIED = ("category", "brand", "price")
"""Fields that an item brings along."""


class Bank(nn.Module):
    """Training users held in memory, with their places in the space. Empty before it is filled.

    Attributes:
        place: Unit vectors, [M, w].

    Args:
        events: Latest events of each that are kept.
    """

    index: Tensor
    seconds: Tensor
    length: Tensor
    place: Tensor
    mark: Tensor

    def __init__(self, events: int) -> None:
        super().__init__()
        self.events = events
        for name in ("index", "seconds", "length", "place", "mark"):
            self.register_buffer(name, torch.zeros(0))

    def fill(self, users: Histories, basis: Tensor) -> None:
        """Take users in, with places by their whole histories."""
        whole = Batch.of(users)
        # In parts: the vectors of all events at once would take a gigabyte.
        parts = (
            take_users(whole, rows)
            for rows in torch.split(torch.arange(len(users)), PLACED_AT_ONCE)
        )
        self.place = torch.cat([content_of(part, basis) for part in parts])
        self.mark = _marks(whole)
        length = np.minimum(users.length, self.events)
        latest = ranges(users.start + users.length - length, length)
        kept = Histories({name: c[latest] for name, c in users.columns.items()}, length)
        batch = Batch.of(kept)
        self.index = torch.stack([getattr(batch, name) for name in INDEX_FIELDS]).int()
        self.seconds, self.length = batch.seconds, batch.length

    def nearest(self, batch: Batch, place: Tensor, count: int) -> Tensor:
        """Rows of the nearest users in the bank, [B, k]; never the user herself.

        Args:
            batch: B histories.
            place: Their places, [B, w].
            count: How many; fewer where the bank is smaller.
        """
        own = (_marks(batch)[:, None] == self.mark).all(2)
        alike = (place @ self.place.T).masked_fill(own, -torch.inf)
        return alike.topk(min(count, len(self.place) - 1), dim=1).indices

    def histories(self, rows: Tensor) -> Batch:
        """The latest events of some users, [n]."""
        length = self.length[rows]
        width = int(length.max())
        columns = {
            name: values[rows, :width].long()
            for name, values in zip(INDEX_FIELDS, self.index, strict=True)
        }
        return Batch(**columns, seconds=self.seconds[rows, :width], length=length)


class Substitutes(nn.Module):
    """Which items may stand for which, and what they bring along. None before it is filled.

    Args:
        items: Rows of the item table.
        count: Nearest items of each.
    """

    near: Tensor
    carried: Tensor

    def __init__(self, items: int, count: int) -> None:
        super().__init__()
        self.register_buffer("near", torch.zeros(items, count, dtype=torch.int64))
        carried = torch.full((len(CARRIED), items), UNKNOWN, dtype=torch.int64)
        self.register_buffer("carried", carried)

    def fill(self, users: Histories, basis: Tensor, frequency: Tensor) -> None:
        """Find the nearest items by content, and their latest category, brand and price.

        Args:
            users: Users who show what items bring along.
            basis: Item vectors of length 1, or 0 where nothing is known, [items, w].
            frequency: Events with each item, [items]; the most frequent ones take part.
        """
        placed = basis.any(1)
        most = min(SWAPPED_ITEMS, int(placed.sum()))
        known = torch.where(placed, frequency, -1.0).topk(most).indices.sort().values
        unit = basis[known]
        count = min(self.near.shape[1], len(known) - 1)
        step = max(1, SCORES_AT_MOST // len(known))
        for begin in range(0, len(known), step):
            rows = torch.arange(begin, min(begin + step, len(known)))
            alike = unit[rows] @ unit.T
            alike[torch.arange(len(rows)), rows] = -torch.inf
            self.near[known[rows], :count] = known[alike.topk(count, dim=1).indices]
        item = users.columns["item"]
        inside = item < len(basis)
        for row, name in enumerate(CARRIED):
            values = np.full(len(basis), UNKNOWN, dtype=np.int64)
            values[item[inside]] = users.columns[name][inside]
            self.carried[row] = torch.from_numpy(values)

    def swap(self, batch: Batch, share: float, draws: torch.Generator) -> Batch:
        """Histories in which about a share of the events has a near item in place of its own.

        Args:
            batch: B histories of L events.
            share: Share of the events; those of items without neighbours stay.
            draws: Source of random draws.
        """
        drawn = torch.rand(batch.item.shape, generator=draws) < share
        column = torch.randint(self.near.shape[1], batch.item.shape, generator=draws)
        known = torch.where(batch.item < len(self.near), batch.item, UNKNOWN)
        other = self.near[known, column]
        drawn = drawn & batch.present & (other > 0)
        columns = {
            name: torch.where(drawn, values[other], getattr(batch, name))
            for name, values in zip(CARRIED, self.carried, strict=True)
        }
        item = torch.where(drawn, other, batch.item)
        return dataclasses.replace(batch, item=item, **columns)


def _marks(batch: Batch) -> Tensor:
    """What tells a history from all others, [B, 4]: its length, both ends, a hash of its items."""
    last = batch.seconds.gather(1, batch.length[:, None] - 1)
    # Powers of an odd number, past 64 bits in rings.
    powers = torch.full((batch.item.shape[1],), 1_000_003).cumprod(0)
    items = (batch.item * batch.present * powers).sum(1, keepdim=True)
    return torch.cat([batch.length[:, None], batch.seconds[:, :1], last, items], dim=1)
