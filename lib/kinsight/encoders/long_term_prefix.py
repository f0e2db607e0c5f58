"""A transformer over recent events that begins with what the user liked long before them.

Source: Dzhoha and Malykh, "Long-Term Embeddings for Balanced Personalization" (LTE, arXiv
2604.08181): the mean of frozen item vectors over a lagged window, uniform weights, as a prefix
token of a causal transformer; its window ends before the sequence begins, or what is to be
predicted leaks into it.

A history is cut into blocks of `recent_events` events, never inside a time. An event of block k
reads strictly earlier events of blocks k - 1 and k, itself, and prefix token k:

    p_k = W m_k + c,  m_k = mean of frozen vectors of the items in blocks 0 to k - 2

So every event has a sequence of one to two blocks before it, the window of its prefix ends strictly
before that sequence begins, and neither hangs on what comes later: one pass gives the user vector
after every event. In the first two blocks the window is empty and m_k zero. Tokens: [B, N + L,
width] with N blocks. The window reaches back to the first event of the stored sequence; with
`sequence.max_length` up to `recent_events` no window has an event and this is `transformer`.

Frozen vectors come from who meets what (``basis``), as those of `content_mean`; content vectors
given by the shop are not read. The paper's other long-term vector, an autoencoder with a frozen
decoder, is an objective. Left out: attention that skips what it may not read; it costs what that of
`transformer` costs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, FittedEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, fresh_items, known_items
from kinsight.encoders.pooled import EventEncoder, HeadOptions
from kinsight.encoders.pooling import Pool, RunningPooling
from kinsight.encoders.transformer import Block, visible_events


class LongTermPrefixOptions(HeadOptions):
    """Options of `long_term_prefix`."""

    layers: int = Limit(2, ge=1, le=48)
    recent_events: int = Limit(
        50, ge=1, description="An event reads so many events before it, at most twice as many."
    )
    frozen_width: int = Limit(
        128, ge=2, le=1_024, description="Width of the frozen item vectors of the prefix."
    )
    fitting_users: int = Limit(
        100_000, ge=100, description="Users that frozen vectors are fitted on, by id hash."
    )
    pooling: RunningPooling = "mean"


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

    def frozen_items(self) -> Tensor:
        """The frozen item vectors, [items, frozen_width]."""
        return self.frozen

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        block_of = self.block_of(batch)
        windows = self.windows(batch)
        prefixes = self.drop(self.prefix(windows))
        events = self.drop(self.input_norm(self.input(batch)))
        number = windows.shape[1]
        near = block_of[:, None, :] >= block_of[..., None] - 1
        seen = visible_events(batch, causal=True) & near
        own_prefix = block_of[..., None] == torch.arange(number)
        # A prefix reads itself only; an event its own prefix and the recent events.
        visible = F.pad(torch.cat([own_prefix, seen], dim=2), (0, 0, number, 0))
        visible[:, :number, :number] = torch.eye(number, dtype=torch.bool)
        tokens = torch.cat([prefixes, events], dim=1)
        for block in self.blocks:
            tokens = block(tokens, visible)
        return EncoderState(batch, self.output_norm(tokens)[:, number:])

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
        frozen = self.frozen[known_items(batch, len(self.frozen))]
        with torch.autocast("cpu", enabled=False):
            total = inside.float() @ frozen
        return total / inside.sum(2, keepdim=True).clamp(min=1)
