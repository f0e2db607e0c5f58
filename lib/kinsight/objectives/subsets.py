"""Parts of a batch: some of its users, some of their events, some of their distinct times."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import COLUMNS


def with_order(batch: Batch) -> Tensor:
    """Rows of the users with at least two distinct times, [n], int64."""
    return torch.nonzero(batch.group[:, -1] > 0)[:, 0]


def take_users(batch: Batch, rows: Tensor) -> Batch:
    """The users of some rows, [n], in that order."""
    columns = {name: getattr(batch, name)[rows] for name in COLUMNS}
    return dataclasses.replace(batch, **columns, length=batch.length[rows])


def keep_events(batch: Batch, keep: Tensor) -> Batch:
    """Histories without some of their events, as if these had never been.

    Args:
        batch: B histories of L events.
        keep: True at the events that stay, [B, L], bool; at least one a user, none in the padding.
    """
    length = keep.sum(1)
    place = (~keep).long().argsort(dim=1, stable=True)[:, : int(length.max())]
    columns = {name: getattr(batch, name).gather(1, place) for name in COLUMNS}
    return dataclasses.replace(batch, **columns, length=length)


def random_times(batch: Batch, share: Tensor, draws: torch.Generator) -> Tensor:
    """Some random distinct times of each user, each with all its events.

    Args:
        batch: B histories of L events, each of at least two distinct times.
        share: Share of the times to take, [B]; rounded to at least one and never all of them.
        draws: Source of random draws.

    Returns:
        True at their events, [B, L], bool.
    """
    times = batch.group[:, -1] + 1
    size = (share * times).round().long().clamp(min=1).minimum(times - 1)
    lots = torch.rand(len(times), int(times.max()), generator=draws)
    lots = lots.masked_fill(torch.arange(lots.shape[1]) >= times[:, None], 2.0)
    rank = lots.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    taken = (rank < size[:, None]).gather(1, batch.group)
    return taken & batch.present
