"""Predict an item met later by what the history adds to having none.

Source: Zhang et al., CFT (arXiv 2410.22809): CE(y | x, h) + .1 · CE(y | logits(x, h) - logits(x,
none)); the second term fits to the target the effect of the behaviour h alone.

Here y is an item of the next time (``next_events``), the logits of a history are v·E + b as in
``item_softmax``, and those of none are b: what a zero vector gives, popularity. So the effect e_j
of item j is v·E_j, and what having met it adds (``repeats``). Its cross-entropy is taken over
candidates as likely as they are without a history, each at its share p_j of all events: CE of
softmax(e + log p). Over items all alike, as the paper takes tokens, the effect would have to
explain popularity too, and the sum of both terms is least where b is zero and the vector carries
everything. With p its optimum is e = log P(y | h) / P(y), which fits the first term as well: the
vector is left with what behaviour adds to popularity. (On planted shops of skewed popularity, the
slope of v·E on log p was .01 to .03 either with this term or without it, as b begins at log p; and
.2 to .8 over items alike. Of vectors that carried all of it before, this term at weight 1 left two
thirds of what `next_item` left, at equal quality; all without ``repeats``.)

Left out: x. Attributes of users are not in sequences, so what they explain stays in the vector;
weights by token, for an item is one.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.objectives.base import Loss, TrainingSet
from kinsight.objectives.item_softmax import log_share
from kinsight.objectives.next_events import vectors_before
from kinsight.objectives.next_item import NextItem, NextItemOptions
from kinsight.objectives.vectors import history_vectors


class HistoryEffectOptions(NextItemOptions):
    """Options of `history_effect`."""

    effect_weight: float = Field(0.1, gt=0, description="Weight of the effect's term.")


class HistoryEffect(NextItem):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items: what is known without a history.
        options: Sizes, and the weight of the effect's term.
    """

    options_type: ClassVar[type[Settings]] = HistoryEffectOptions
    log_popularity: Tensor

    def __init__(self, encoder: Encoder, data: TrainingSet, options: HistoryEffectOptions) -> None:
        super().__init__(encoder, data, options)
        self.effect_weight = options.effect_weight
        self.register_buffer("log_popularity", log_share(data.item_frequency))

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch."""
        vectors, users, places = vectors_before(encoder, batch, draws)
        target = batch.item[users, places]
        chosen = self.choose(target, batch, draws)
        vectors, target = self.project(vectors[chosen]), target[chosen]
        if not len(target):
            return Loss(vectors.sum(), 0)
        items = encoder.item_vectors()
        pull = self.pull(vectors, batch, users[chosen], places[chosen])
        whole = self.softmax(items, vectors, target, draws, pull)
        popular = self.log_popularity
        effect = self.softmax.cross_entropy(items, vectors, popular, target, draws, pull)
        return Loss(whole + self.effect_weight * effect, len(target))

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """Those of `next_item`, and how much of popularity the vectors carry.

        Returns:
            Also ``effect_of_popularity``: the slope, over items that the window holds, of the mean
            effect v·E over held-out users on the log of an item's share; 0 where vectors carry
            nothing of it, 1 where they carry all.
        """
        found = super().measures(encoder, held_out, tokens)
        known = self.data.item_frequency > 0
        if not found or known.sum() < 2:
            return found
        mean = self.project(history_vectors(encoder, held_out, tokens)).mean(0)
        effect = encoder.item_vectors()[known] @ mean
        popularity = self.log_popularity[known] - self.log_popularity[known].mean()
        spread = popularity.square().sum()
        # Where all items are equally popular there is nothing to carry.
        slope = (effect * popularity).sum() / spread if spread > 0 else torch.zeros(())
        return found | {"effect_of_popularity": float(slope)}
