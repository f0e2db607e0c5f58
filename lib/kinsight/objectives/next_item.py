"""Predict an item that the user met strictly later.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation" (SASRec), 2018.

What predicts is the user vector itself, by its products with the encoder's own item table (tied; a
vector of another width is projected first). Which vector predicts which event: ``next_events``. The
loss: ``item_softmax``. Items that the user met before have a pull of their own: ``repeats``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.objectives.base import ItemObjective, Loss, TrainingSet
from kinsight.objectives.item_softmax import ItemSoftmax, ItemSoftmaxOptions, require_next_items
from kinsight.objectives.next_events import best_over_interests, vectors_before
from kinsight.objectives.ranking import next_item_measures, next_purchase_measures
from kinsight.objectives.repeats import Met, Pull, Repeats, met_before, met_so_far


class NextItemOptions(ItemSoftmaxOptions):
    """Options of `next_item`."""

    repeats: bool = Field(
        True, description="Whether a pull to items that the user met before is learned."
    )


class NextItem(ItemObjective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items, for the correction.
        options: Sizes.
        questions: Kinds of targets for which repeats count otherwise.
    """

    options_type: ClassVar[type[Settings]] = NextItemOptions

    def __init__(
        self, encoder: Encoder, data: TrainingSet, options: NextItemOptions, questions: int = 1
    ) -> None:
        super().__init__(encoder, data, options)
        self.data = data
        self.softmax = ItemSoftmax(data.item_frequency, options)
        self.project = projection(encoder)
        width, types = encoder.item_vectors().shape[1], len(data.type_frequency)
        self.repeats = Repeats(width, types, questions) if options.repeats else None

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
        chosen = self.choose(target, batch, draws)
        vectors, target = self.project(vectors[chosen]), target[chosen]
        if not len(target):
            return Loss(vectors.sum(), 0)
        pull = self.pull(vectors, batch, users[chosen], places[chosen])
        loss = self.softmax(encoder.item_vectors(), vectors, target, draws, pull)
        return Loss(loss, len(target))

    def choose(self, target: Tensor, batch: Batch, draws: torch.Generator) -> Tensor:
        """Places of the targets that are scored; see ``ItemSoftmax.choose``."""
        events = 0 if self.repeats is None else batch.item.shape[1]
        return self.softmax.choose(target, draws, events)

    def pull(
        self,
        vectors: Tensor,
        batch: Batch,
        users: Tensor,
        places: Tensor,
        question: Tensor | None = None,
    ) -> Pull | None:
        """What items get that users, [n], had met strictly before their events at places, [n]."""
        if self.repeats is None:
            return None
        return self.pull_of(vectors, met_before(batch, users, places, self.softmax.items), question)

    def met_so_far(self, batch: Batch) -> Met | None:
        """What the users of a batch have met, where repeats are learned."""
        return None if self.repeats is None else met_so_far(batch, self.softmax.items)

    def pull_of(
        self, vectors: Tensor, met: Met | None, question: Tensor | None = None
    ) -> Pull | None:
        """What items get that were met, for the vectors that predict, [n, D]; see ``repeats``."""
        if self.repeats is None or met is None:
            return None
        return self.repeats.pull(vectors, met, question)

    def scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """How likely each item comes next, [B, items], as logits."""
        items, met = encoder.item_vectors(), self.met_so_far(batch)

        def score(vectors: Tensor) -> Tensor:
            user = self.project(vectors)
            return self.softmax.scores(items, user, self.pull_of(user, met))

        return best_over_interests(encoder, batch, score)

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """Hits among ten for the latest time and the latest purchase; see ``ranking``."""

        def any_type(batch: Batch) -> Tensor:
            return self.scores(encoder, batch)

        def purchases(batch: Batch) -> Tensor:
            return self.purchase_scores(encoder, batch)

        return next_item_measures(
            any_type, self.data.item_frequency, held_out, tokens
        ) | next_purchase_measures(purchases, self.data, held_out, tokens)


def projection(encoder: Encoder) -> nn.Module:
    """From the width of a user vector to that of an item vector."""
    width = encoder.item_vectors().shape[1]
    if encoder.dimension == width:
        return nn.Identity()
    return nn.Linear(encoder.dimension, width)
