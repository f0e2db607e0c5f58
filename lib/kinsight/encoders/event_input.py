"""The input of an encoder: one vector an event, the sum of embeddings of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kinsight.encoders.base import VocabularySizes
from kinsight.encoders.batch import Batch

Field = Literal[
    "item", "event_type", "category", "brand", "price", "gap", "hour", "weekday", "position"
]
FIELDS: tuple[Field, ...] = (
    "item", "event_type", "category", "brand", "price", "gap", "hour", "weekday", "position",
)  # fmt: skip
CONTENT_FIELDS: tuple[Field, ...] = ("item", "category", "brand", "price")
"""What an event is about; the other fields say how and when it happened."""

UNKNOWN = 1
GAP_BUCKETS = 34
"""Padding, no earlier event, and one bucket a power of two seconds up to 2^31 (68 years)."""
INITIAL_SPREAD = 0.05
"""Standard deviation of fresh embeddings: scores of items start near zero, so the first loss is
that of a uniform guess."""


def check_fields(fields: Sequence[Field]) -> None:
    """Refuse a choice of fields without the item, or with one of them twice.

    Raises:
        ValueError: For pydantic, which adds where it stands.
    """
    if "item" not in fields or len(set(fields)) < len(fields):
        raise ValueError("`fields` must hold `item`, and each field once")


def content_and_circumstance(fields: Sequence[Field]) -> tuple[list[Field], list[Field]]:
    """The fields that say what an event is about, and those that say how and when, in order."""
    content = [field for field in fields if field in CONTENT_FIELDS]
    return content, [field for field in fields if field not in CONTENT_FIELDS]


class EventInput(nn.Module):
    """Sums the embeddings of an event's fields.

    Position is the rank of the event's time and the gap is measured from the previous time, so
    that the events of a basket get the same ones and stay exchangeable.

    Args:
        sizes: Rows of the vocabulary tables.
        fields: Fields that count; without any, all vectors are zero.
        width: Width D of the vectors.
        positions: Distinct positions; later ones share the last.
    """

    def __init__(
        self, sizes: VocabularySizes, fields: Sequence[Field], width: int, positions: int
    ) -> None:
        super().__init__()
        self.width = width
        rows = dict(sizes) | {"gap": GAP_BUCKETS, "hour": 25, "weekday": 8, "position": positions}
        self.tables = nn.ModuleDict(
            {field: nn.Embedding(rows[field], width, padding_idx=0) for field in fields}
        )
        for field in fields:
            weight = self.table(field).weight
            nn.init.normal_(weight, std=INITIAL_SPREAD)
            with torch.no_grad():
                weight[0].zero_()

    def table(self, field: str) -> nn.Embedding:
        """The embedding table of a field."""
        table = self.tables[field]
        assert isinstance(table, nn.Embedding)
        return table

    def forward(self, batch: Batch) -> Tensor:
        """Embed a batch.

        Returns:
            [B, L, D], float32; zero at padding.
        """
        if not self.tables:
            return torch.zeros(*batch.item.shape, self.width)
        vectors = [self.table(field)(self._index(field, batch)) for field in self.tables]
        return torch.stack(vectors).sum(0)

    def _index(self, field: str, batch: Batch) -> Tensor:
        """Row numbers of a field in its table, [B, L], int64; 0 at padding."""
        rows = self.table(field).num_embeddings
        if field == "gap":
            index = gap_bucket(batch)
        elif field == "hour":
            index = (batch.hour_of_week - 1) % 24 + 1
        elif field == "weekday":
            index = (batch.hour_of_week - 1) // 24 + 1
        elif field == "position":
            index = (batch.group + 1).clamp(max=rows - 1)
        else:
            index = known_tokens(getattr(batch, field), rows)
        return index * batch.present


def known_tokens(index: Tensor, rows: int) -> Tensor:
    """Indices as a table of so many rows knows them: what lies beyond it becomes unknown.

    A later vocabulary version may have appended tokens that a model never saw.
    """
    return torch.where(index < rows, index, UNKNOWN)


def fresh_items(rows: int, width: int) -> Tensor:
    """Item vectors before they are fitted, [rows, width]: random, zero for padding and unknown."""
    table = torch.randn(rows, width) * INITIAL_SPREAD
    table[: UNKNOWN + 1] = 0.0
    return table


def mean_of_items(table: nn.Embedding, items: Tensor) -> Tensor:
    """The mean vector of each set of items, in whatever table of them.

    Args:
        table: One row an item.
        items: Item indices, [N, n], int64; 0 fills up. Those beyond the table read as unknown.

    Returns:
        [N, width]; zero for a row without items.
    """
    count = (items > 0).sum(1, keepdim=True)
    mean: Tensor = table(known_tokens(items, table.num_embeddings)).sum(1) / count.clamp(min=1)
    return mean


def gap_bucket(batch: Batch) -> Tensor:
    """Time since the user's previous distinct time, in powers of two.

    Returns:
        [B, L], int64: 1 where there is none, else 2 + floor(log2(seconds)), at most the last.
    """
    before = (batch.group_start - 1).clamp(min=0)
    gap = batch.seconds - batch.seconds.gather(1, before)
    # Half a second is added so that log2 of a whole power never falls short of it.
    bucket = 2 + torch.log2(gap.clamp(min=1).double() + 0.5).floor().long()
    return torch.where(batch.group == 0, 1, bucket.clamp(max=GAP_BUCKETS - 1))
