"""A long history folded by what it was about: first inside each fold, then across folds.

Source: Qiao et al., "LBSF: Long-term Payment Behavior Sequence Folding" (arXiv 2411.15056): one
user's events are parted by merchant and stay in order of time inside; merchants are encoded in
parallel, then related to each other. Operators and widths are not published; these are a reading.

Here a fold is the events of one category (or brand, or item), as `fold_by` says; those of unknown
category are one fold. Inside: pre-norm transformer blocks (``transformer``) over the fold's events,
causal between distinct times, mean over events, [folds, width]. Across: blocks over a user's folds,
each reading all, without positions, [B, F, width]. An event's vector is that of its fold, so the
mean over events weighs folds by their size. Gap and position are those inside the fold: the time
since the user last met the category.

Attention costs the sum of the folds' squared lengths plus the square of their number, instead of
the square of the history. Folds are encoded in batches of similar length (at most twice as long as
the shortest), so padding costs at most four times that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field as Limit
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, known_tokens
from kinsight.encoders.pooled import EventEncoder, HeadOptions
from kinsight.encoders.pooling import Pool, RunningPooling
from kinsight.encoders.transformer import Block, visible_events


class FoldedOptions(HeadOptions):
    """Options of `folded`."""

    latest_events: int = Limit(
        1_000, ge=2, le=5_000, description="Events of a history that are read, the latest."
    )
    layers: int = Limit(1, ge=1, le=48, description="Blocks inside folds, and as many across.")
    fold_by: Literal["category", "brand", "item"] = Limit(
        "category", description="Events with the same one are a fold."
    )
    pooling: RunningPooling = "mean"


@dataclasses.dataclass(frozen=True)
class Folds:
    """How the events of a batch are parted.

    Attributes:
        of_event: Fold of each event, [events of all users]; folds are numbered by user, then key.
        place: Where these events stand in the flattened batch, sorted by fold, then time.
        start: Where a fold begins in ``place``, [folds].
        length: Events of each fold, [folds].
        user: User of each fold, [folds], ascending.
    """

    of_event: Tensor
    place: Tensor
    start: Tensor
    length: Tensor
    user: Tensor

    @classmethod
    def of(cls, batch: Batch, key: Tensor) -> Folds:
        """Part events by user and key.

        Args:
            batch: B histories of L events.
            key: [B, L], int64, not negative.
        """
        width = key.shape[1]
        present = batch.present.reshape(-1).nonzero()[:, 0]
        user = present // width
        # Stable, so that events of a fold stay in order of time.
        both, order = (user * (key.max() + 1) + key.reshape(-1)[present]).sort(stable=True)
        begins = torch.ones_like(both, dtype=torch.bool)
        begins[1:] = both[1:] != both[:-1]
        of_event = begins.cumsum(0) - 1
        length = torch.bincount(of_event)
        start = length.cumsum(0) - length
        place = present[order]
        return cls(of_event, place, start, length, place[start] // width)

    def by_length(self) -> Iterator[Tensor]:
        """The folds in parts of similar length: 1, 2 to 3, 4 to 7 events and so on."""
        bucket = torch.log2(self.length.double() + 0.5).floor().long()
        for size in sorted(set(bucket.tolist())):
            yield (bucket == size).nonzero()[:, 0]

    def batch(self, batch: Batch, folds: Tensor) -> Batch:
        """Some folds as histories of their own.

        Args:
            batch: What was folded.
            folds: Their numbers, [n].
        """
        length = self.length[folds]
        inside = torch.arange(int(length.max()))
        # Beyond the end of a fold its last event stands in; nothing reads it.
        place = self.start[folds, None] + inside.minimum(length[:, None] - 1)
        return batch.gather(self.place[place], length)


class Folded(EventEncoder):
    """The two levels; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = FoldedOptions
    reads_at_events = False

    def __init__(self, sizes: VocabularySizes, options: FoldedOptions) -> None:
        super().__init__(sizes, options)
        width, dropout = options.width, options.dropout
        self.fold_by, self.keys = options.fold_by, sizes[options.fold_by]
        self.input = EventInput(sizes, options.fields, width, options.positions)
        self.input_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        self.inside = nn.ModuleList(
            Block(width, options.heads, dropout) for _ in range(options.layers)
        )
        self.across = nn.ModuleList(
            Block(width, options.heads, dropout) for _ in range(options.layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.pool = Pool(options.pooling, width)
        self.dimension = self.pool.dimension

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        folds = Folds.of(batch, known_tokens(getattr(batch, self.fold_by), self.keys))
        parts = list(folds.by_length())
        inside = torch.cat([self.encode_folds(folds.batch(batch, part)) for part in parts])
        # From the order of the parts back to that of the folds.
        vectors = inside[torch.cat(parts).argsort()]
        related = self._relate(vectors, folds, len(batch.length))
        events = torch.zeros(batch.item.numel(), related.shape[1], dtype=related.dtype)
        events = events.index_copy(0, folds.place, related[folds.of_event])
        return EncoderState(batch, events.view(*batch.item.shape, -1))

    def encode_folds(self, folds: Batch) -> Tensor:
        """One vector a fold, [n, width], of folds given as histories."""
        events = self.drop(self.input_norm(self.input(folds)))
        visible = visible_events(folds, causal=True)
        for block in self.inside:
            events = block(events, visible)
        total: Tensor = (events * folds.present[..., None]).sum(1)
        return total / folds.length[:, None]

    def _relate(self, vectors: Tensor, folds: Folds, users: int) -> Tensor:
        """The vectors of folds after each has read the user's others, [folds, width]."""
        count = torch.bincount(folds.user, minlength=users)
        first = count.cumsum(0) - count
        rank = torch.arange(len(folds.user)) - first[folds.user]
        widest = int(count.max())
        row = folds.user * widest + rank
        table = torch.zeros(users * widest, vectors.shape[1], dtype=vectors.dtype)
        table = table.index_copy(0, row, vectors).view(users, widest, -1)
        present = torch.arange(widest) < count[:, None]
        visible = present[:, None, :] | torch.eye(widest, dtype=torch.bool)
        for block in self.across:
            table = block(table, visible)
        related: Tensor = self.output_norm(table).reshape(users * widest, -1)[row]
        return related
