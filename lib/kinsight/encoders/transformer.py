"""A pre-norm transformer over a user's events, and the same one left untrained.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation" (SASRec), 2018, for the causal
use; Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020, for pre-norm.
UNICON (arXiv 2309.13068) encodes histories this way; its sizes are not published.

Input: one token an event (``event_input``). Each block: h = h + attention(norm(h)), then
h = h + W2 gelu(W1 norm(h)); a last norm follows. With ``relative_positions``, each head of each
block adds a learned bias to the score of two events, by how many distinct times lie between them
(Shaw et al., "Self-Attention with Relative Position Representations", 2018, in the scalar form of
T5, Raffel et al., 2020): the field `position` counts from a history's beginning, the bias from the
event that reads. Left out: dropout of attention weights, for which torch has no fused kernel on
CPUs (a third of a step's time); nor has it one for the gradient of a bias.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput
from kinsight.encoders.pooled import EventEncoder, HeadOptions
from kinsight.encoders.pooling import Pool, Pooling


class TransformerOptions(HeadOptions):
    """Options of `transformer` and `random`."""

    layers: int = Limit(2, ge=1, le=48)
    causal: bool = Limit(True, description="False: an event also attends to later ones.")
    relative_positions: int = Limit(
        0,
        ge=0,
        le=5_000,
        description="How many times back attention tells apart by a learned bias; older events "
        "share the last. 0: no bias.",
    )
    pooling: Pooling = "mean"


class Block(nn.Module):
    """One pre-norm transformer block.

    Args:
        width: Of events, D.
        heads: Of attention, H.
        dropout: Of both sublayers' outputs.
        rows: Of the table of position biases; 0 for none.
    """

    def __init__(self, width: int, heads: int, dropout: float, rows: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.position_bias = nn.Parameter(torch.zeros(rows, heads)) if rows else None
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, events: Tensor, visible: Tensor, back: Tensor | None = None) -> Tensor:
        """One step.

        Args:
            events: [B, L, D].
            visible: True where the event of the row may read the event of the column, [B, L, L].
            back: Row of the table of position biases for each two events, [B, L, L]; where the
                block has one.

        Returns:
            [B, L, D].
        """
        users, places, width = events.shape
        projected = self.query_key_value(self.attention_norm(events))
        query, key, value = projected.view(users, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = visible[:, None]
        if self.position_bias is not None and back is not None:
            bias = F.embedding(back, self.position_bias).permute(0, 3, 1, 2)
            mask = bias.masked_fill(~mask, -torch.inf)
        read = F.scaled_dot_product_attention(query, key, value, mask)
        read = read.transpose(1, 2).reshape(users, places, width)
        events = events + self.drop(self.attention_out(read))
        fed: Tensor = self.drop(self.feed(self.feed_norm(events)))
        return events + fed


class Transformer(EventEncoder):
    """The trained transformer; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = TransformerOptions

    def __init__(self, sizes: VocabularySizes, options: TransformerOptions) -> None:
        super().__init__(sizes, options)
        width = options.width
        self.causal = options.causal
        self.input = EventInput(sizes, options.fields, width, options.positions)
        self.input_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(options.dropout)
        self.relative_positions = options.relative_positions
        # As many again for later events, where they are read, and one for the reader.
        rows = options.relative_positions * (1 if options.causal else 2)
        if rows and options.pooling == "cls":
            rows += 1
        self.blocks = nn.ModuleList(
            Block(width, options.heads, options.dropout, rows) for _ in range(options.layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.pool = Pool(options.pooling, width)
        self.reader = nn.Parameter(torch.randn(1, 1, width)) if options.pooling == "cls" else None
        self.dimension = self.pool.dimension
        self.reads_at_events = options.causal and options.pooling != "cls"

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        events = self.drop(self.input_norm(self.input(batch)))
        visible = visible_events(batch, self.causal)
        most = self.relative_positions
        back = times_back(batch, most, self.causal) if most else None
        if self.reader is not None:
            events = torch.cat([events, self.reader.expand(len(events), 1, -1)], dim=1)
            visible = F.pad(visible, (0, 1, 0, 1))
            visible[:, -1] = F.pad(batch.present, (0, 1), value=True)
            if back is not None:
                back = F.pad(back, (0, 1, 0, 1), value=most * (1 if self.causal else 2))
        for block in self.blocks:
            events = block(events, visible, back)
        events = self.output_norm(events)
        if self.reader is not None:
            return EncoderState(batch, events[:, :-1], summary=events[:, -1])
        return EncoderState(batch, events)


class RandomTransformer(Transformer):
    """The transformer as its seed made it: a floor that any trained encoder must beat."""

    learns: ClassVar[bool] = False


def times_back(batch: Batch, most: int, causal: bool) -> Tensor:
    """How many distinct times back each event lies from another.

    Args:
        batch: B histories of L events.
        most: Distances told apart, at least 1; longer ones share the last.
        causal: Later events are not read: they count as 0 back.

    Returns:
        [B, L, L], int32: of the row's event back to the column's 0 to ``most`` - 1; for events that
        come later and are read, ``most`` to 2 ``most`` - 1.
    """
    group = batch.group.int()
    back = group[..., None] - group[:, None, :]
    earlier = back.clamp(0, most - 1)
    if causal:
        return earlier
    return torch.where(back < 0, (-back).clamp(max=most) + most - 1, earlier)


def visible_events(batch: Batch, causal: bool) -> Tensor:
    """Who may read whom: never another event of the same time.

    A basket's lines share one timestamp and have no order (97.7 % of Complete Journey's lines
    stand in one, 9.4 a basket); a line that read its neighbours could tell them from each other.

    Args:
        batch: B histories of L events.
        causal: Only strictly earlier events, and the event itself.

    Returns:
        [B, L, L], bool: True where the row's event reads the column's; itself always, so that no
        row is empty.
    """
    group = batch.group
    other = (
        group[:, None, :] < group[..., None] if causal else group[:, None, :] != group[..., None]
    )
    itself = torch.eye(group.shape[1], dtype=torch.bool)
    return (other & batch.present[:, None, :]) | itself
