"""Predict the items of hidden times from the rest of the history, earlier and later.

Source: Sun et al., BERT4Rec (arXiv 1904.06690): hide a share of the positions and predict their
items from both sides.

Hidden are whole distinct times, a share of a user's and never all: of a hidden event, item,
category, brand and price read as unknown, its type and time stay. Events of one time have no order
and must not tell of each other, so none of a time stays in sight. With the event's vector h_t and
the user vector z of the history so hidden, the loss is CE of the item for P h_t + Q z
(``item_softmax``); Q trains what stage `embed` keeps, of whatever pooling.

Meant for encoders that read both ways (`causal: false`, `bidirectional: true`). In a causal one h_t
knows earlier events alone, and later ones count through z only. Left out: that some chosen places
keep their item or take a random one, for which an encoder that never meets hidden ones when it is
used would gain; and the last place hidden alone, as BERT4Rec fine-tunes.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch, batches_by_length
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories
from kinsight.objectives.base import Loss, Objective, TrainingSet
from kinsight.objectives.item_softmax import ItemSoftmax, ItemSoftmaxOptions, require_next_items
from kinsight.objectives.ranking import AT
from kinsight.objectives.subsets import random_times, take_users, with_order
from kinsight.objectives.vectors import event_width

SHOWN_BY = ("item", "category", "brand", "price")
"""Fields that tell an item."""


class MaskedItemOptions(ItemSoftmaxOptions):
    """Options of `masked_item`."""

    hidden: float = Field(0.2, gt=0, lt=1, description="Share of a user's times that are hidden.")


class MaskedItem(Objective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items.
        options: Sizes, and how much is hidden.
    """

    options_type: ClassVar[type[Settings]] = MaskedItemOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: MaskedItemOptions) -> None:
        super().__init__(encoder, data, options)
        self.hidden = options.hidden
        self.frequency = data.item_frequency
        self.softmax = ItemSoftmax(data.item_frequency, options)
        width = encoder.item_vectors().shape[1]
        self.of_event = nn.Linear(event_width(encoder), width, bias=False)
        self.of_user = nn.Linear(encoder.dimension, width, bias=False)

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse a catalogue of one item, and histories of a single time.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_next_items(data)

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are hidden events of known items."""
        rows = with_order(batch)
        if not len(rows):
            return Loss(encoder.item_vectors().sum() * 0.0, 0)
        vectors, target = self._hidden_events(encoder, take_users(batch, rows), draws)
        chosen = self.softmax.choose(target, draws)
        vectors, target = vectors[chosen], target[chosen]
        if not len(target):
            return Loss(vectors.sum(), 0)
        return Loss(self.softmax(encoder.item_vectors(), vectors, target, draws), len(target))

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """How often a hidden item stands among the first ten of the ranked catalogue.

        Returns:
            ``masked_hit_rate_10`` over hidden events of known items, beside the ten most frequent
            items in ``masked_popularity_hit_rate_10``, and ``masked_events``; nothing without any.
        """
        items = encoder.item_vectors()
        draws = torch.Generator().manual_seed(0)
        popular = self.frequency.topk(min(AT, len(items))).indices
        found, easy, events = 0, 0, 0
        for batch in batches_by_length(held_out, tokens):
            rows = with_order(batch)
            if not len(rows):
                continue
            vectors, target = self._hidden_events(encoder, take_users(batch, rows), draws)
            chosen = self.softmax.choose(target, draws)
            target = target[chosen]
            scores = self.softmax.scores(items, vectors[chosen])
            scores[:, : UNKNOWN + 1] = -torch.inf
            best = scores.topk(min(AT, len(items)), dim=1).indices
            found += int((best == target[:, None]).sum())
            easy += int((popular == target[:, None]).sum())
            events += len(target)
        if not events:
            return {}
        return {
            f"masked_hit_rate_{AT}": found / events,
            f"masked_popularity_hit_rate_{AT}": easy / events,
            "masked_events": float(events),
        }

    def _hidden_events(
        self, encoder: Encoder, batch: Batch, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """What predicts each hidden event, [N, D], and its item, [N]."""
        share = torch.full((len(batch.length),), self.hidden)
        hidden = random_times(batch, share, draws)
        users, places = torch.nonzero(hidden, as_tuple=True)
        state = encoder.encode(without_items(batch, hidden))
        of_user = self.of_user(encoder.read(state)[:, 0])
        vectors = self.of_event(state.events[users, places]) + of_user[users]
        return vectors, batch.item[users, places]


def without_items(batch: Batch, hidden: Tensor) -> Batch:
    """A batch whose hidden events, [B, L], tell their type and time alone."""
    columns = {name: torch.where(hidden, UNKNOWN, getattr(batch, name)) for name in SHOWN_BY}
    return dataclasses.replace(batch, **columns)
