"""Predict an item that the user met strictly later.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation" (SASRec), 2018.

What predicts is the user vector itself, by its products with the encoder's own item table (tied; a
vector of another width is projected first). Which vector predicts which event: ``next_events``. The
loss: ``item_softmax``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.objectives.base import ItemObjective, Loss, TrainingSet
from kinsight.objectives.item_softmax import ItemSoftmax, ItemSoftmaxOptions, require_next_items
from kinsight.objectives.next_events import best_over_interests, vectors_before
from kinsight.objectives.ranking import next_item_measures, next_purchase_measures


class NextItemOptions(ItemSoftmaxOptions):
    """Options of `next_item`."""


class NextItem(ItemObjective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items, for the correction.
        options: Sizes.
    """

    options_type: ClassVar[type[Settings]] = NextItemOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: NextItemOptions) -> None:
        super().__init__(encoder, data, options)
        self.data = data
        self.softmax = ItemSoftmax(data.item_frequency, options)
        self.project = projection(encoder)

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse a catalogue of one item, and histories without any order.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_next_items(data)

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch."""
        vectors, users, places = vectors_before(encoder, batch, draws)
        target = batch.item[users, places]
        chosen = self.softmax.choose(target, draws)
        vectors, target = self.project(vectors[chosen]), target[chosen]
        if not len(target):
            return Loss(vectors.sum(), 0)
        return Loss(self.softmax(encoder.item_vectors(), vectors, target, draws), len(target))

    def scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """How likely each item comes next, [B, items], as logits."""
        items = encoder.item_vectors()

        def score(vectors: Tensor) -> Tensor:
            return self.softmax.scores(items, self.project(vectors))

        return best_over_interests(encoder, batch, score)

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """Hits among ten for the latest time and the latest purchase; see ``ranking``."""

        def score(batch: Batch) -> Tensor:
            return self.scores(encoder, batch)

        return next_item_measures(
            score, self.data.item_frequency, held_out, tokens
        ) | next_purchase_measures(score, self.data, held_out, tokens)


def projection(encoder: Encoder) -> nn.Module:
    """From the width of a user vector to that of an item vector."""
    width = encoder.item_vectors().shape[1]
    if encoder.dimension == width:
        return nn.Identity()
    return nn.Linear(encoder.dimension, width)
