"""A transformer over recent events that begins with what the user liked long before them.

Source: Dzhoha and Malykh, "Long-Term Embeddings for Balanced Personalization" (LTE, arXiv
2604.08181): the mean of frozen item vectors over a lagged window, uniform weights, as a prefix
token of a causal transformer; its window ends before the sequence begins, or what is to be
predicted leaks into it.

A history is cut into blocks of `recent_events` events, never inside a time. Each block k is read by
a pass of its own over prefix token k and the events of blocks k - 1 and k, [1 + W, width], causal
between distinct times, which gives the vectors of the events of block k. With

    p_k = W m_k + c,  m_k = mean of frozen vectors of the items in blocks 0 to k - 2

the window of the prefix ends strictly before that sequence begins, and neither hangs on what comes
later: one encoding gives the user vector after every event. In the first two blocks the window is
empty and m_k zero. The window reaches back to the first event of the stored sequence; with
`sequence.max_length` up to twice `recent_events` no window has an event, and the prefix is the same
for everybody.

Frozen vectors come from who meets what (``basis``), as those of `content_mean`; content vectors
given by the shop are not read. The paper's other long-term vector, an autoencoder with a frozen
decoder, is an objective. Cost: every event is encoded twice, but attention grows with the length
and not with its square.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, FittedEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, fresh_items, known_tokens
from kinsight.encoders.pooled import EventEncoder, HeadOptions
from kinsight.encoders.pooling import Pool, RunningPooling
from kinsight.encoders.transformer import Block, visible_events


class LongTermPrefixOptions(HeadOptions):
    """Options of `long_term_prefix`."""

    latest_events: int = Limit(
        1_000, ge=2, le=5_000, description="Events of a history that are read, the latest."
    )
    layers: int = Limit(2, ge=1, le=48)
    recent_events: int = Limit(
        50,
        ge=1,
        description="Events a block; an event reads those of its block and the one before.",
    )
    frozen_width: int = Limit(
        128, ge=2, le=1_024, description="Width of the frozen item vectors of the prefix."
    )
    fitting_users: int = Limit(
        100_000, ge=100, description="Users that frozen vectors are fitted on, by id hash."
    )
    pooling: RunningPooling = "mean"


@dataclasses.dataclass(frozen=True)
class Sequences:
    """The events that are read together: each block of a history with the one before it.

    Attributes:
        user: Row of the batch, [n].
        block: Number of the block, [n].
        place: Where its events and those before stand, counted through all rows, [n, W]; any
            valid place beyond the end.
        length: How many they are, [n].
        own: True at the events of the block itself, [n, W].
    """

    user: Tensor
    block: Tensor
    place: Tensor
    length: Tensor
    own: Tensor

    @classmethod
    def of(cls, batch: Batch, block_of: Tensor) -> Sequences:
        """Cut a batch into sequences; each of its events is in one block.

        Args:
            batch: B histories of L events.
            block_of: The block of each event, [B, L], ascending in a row.
        """
        number = torch.arange(int(block_of.max()) + 1)[:, None]
        before = block_of[:, None, :]
        start = (batch.present[:, None] & (before < number - 1)).sum(2)
        first_own = (batch.present[:, None] & (before < number)).sum(2)
        end = (batch.present[:, None] & (before <= number)).sum(2)
        user, block = torch.nonzero(end > first_own, as_tuple=True)
        start, first_own, end = (at[user, block, None] for at in (start, first_own, end))
        place = start + torch.arange(int((end - start).max()))
        own = (place >= first_own) & (place < end)
        rows = user[:, None] * block_of.shape[1]
        return cls(user, block, rows + place.minimum(end - 1), (end - start)[:, 0], own)


class LongTermPrefix(EventEncoder, FittedEncoder):
    """The transformer with a prefix; one vector a user.

    Before it is fitted, frozen vectors are random.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = LongTermPrefixOptions
    learns: ClassVar[bool] = True
    reads_at_events = True

    def __init__(self, sizes: VocabularySizes, options: LongTermPrefixOptions) -> None:
        super().__init__(sizes, options)
        width = options.width
        self.recent_events = options.recent_events
        self.fitting_users = options.fitting_users
        self.input = EventInput(sizes, options.fields, width, options.positions)
        self.input_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(options.dropout)
        self.frozen: Tensor
        # A buffer: it is kept with the weights, and no optimiser sees it.
        self.register_buffer("frozen", fresh_items(sizes["item"], options.frozen_width))
        self.prefix = nn.Linear(options.frozen_width, width)
        self.blocks = nn.ModuleList(
            Block(width, options.heads, options.dropout) for _ in range(options.layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.pool = Pool(options.pooling, width)
        self.dimension = self.pool.dimension

    def frozen_tokens(self) -> Tensor:
        """The frozen item vectors, [items, frozen_width]."""
        return self.frozen

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        width = batch.item.shape[1]
        sequences = Sequences.of(batch, self.block_of(batch))
        prefix = self.drop(self.prefix(self.windows(batch)[sequences.user, sequences.block]))
        events = self.drop(self.input_norm(self.input(batch))).reshape(-1, prefix.shape[1])
        tokens = torch.cat([prefix[:, None], events[sequences.place]], dim=1)
        recent = visible_events(batch.gather(sequences.place, sequences.length), causal=True)
        # Every event reads the prefix, which reads itself only.
        visible = F.pad(F.pad(recent, (1, 0), value=True), (0, 0, 1, 0))
        visible[:, 0, 0] = True
        for block in self.blocks:
            tokens = block(tokens, visible)
        encoded = self.output_norm(tokens)[:, 1:]
        out = torch.zeros(len(events), encoded.shape[2], dtype=encoded.dtype)
        out = out.index_copy(0, sequences.place[sequences.own], encoded[sequences.own])
        return EncoderState(batch, out.view(-1, width, encoded.shape[2]))

    def block_of(self, batch: Batch) -> Tensor:
        """The block of each event, [B, L], int64: that of the first event of its time."""
        return batch.group_start // self.recent_events

    def windows(self, batch: Batch) -> Tensor:
        """What prefix tokens say before they are projected: means of frozen vectors.

        Args:
            batch: B histories whose events lie in up to N blocks.

        Returns:
            [B, N, frozen_width], float32; zero where nothing is two blocks back.
        """
        block_of = self.block_of(batch)
        number = torch.arange(int(block_of.max()) + 1)
        inside = (block_of[:, None, :] < number[:, None] - 1) & batch.present[:, None, :]
        frozen = self.frozen[known_tokens(batch.item, len(self.frozen))]
        with torch.autocast("cpu", enabled=False):
            total = inside.float() @ frozen
        return total / inside.sum(2, keepdim=True).clamp(min=1)
