"""Predict the type of a strictly later event, then its item given that type.

Source: Liu, Hou and McAuley, MBGen (arXiv 2405.16871): P(next event) = P(type | history) ·
P(item | history, type), both by cross-entropy. The factorised form asks what the user will do
before it asks with what, so "which item, if it is a purchase" is a question of its own.

Loss of a vector h, in the width of items, with a next event of type b and item t: CE(W h + c, b) +
CE of t for the vector h + W2 gelu(W1 [h; e_b]), e_b being an embedding of the type; c, learned,
begins at the log share of each type, W and W2 at zero, so that training begins at `next_item`.
Which vector predicts which event: ``next_events``; the second term: ``item_softmax``, with a pull
to items met before that is learned by type: ``repeats``. Left out of MBGen: item codes instead of
items, the interleaved tokens, experts by position, beam search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.errors import RefusedError
from kinsight.objectives.base import Loss, TrainingSet
from kinsight.objectives.item_softmax import (
    log_share,
    require_next_items,
)
from kinsight.objectives.next_events import best_over_interests, vectors_before
from kinsight.objectives.next_item import NextItem, NextItemOptions


class TypeThenItemOptions(NextItemOptions):
    """Options of `type_then_item`."""

    type_weight: float = Field(1.0, gt=0, description="Weight of the type's term.")


class TypeThenItem(NextItem):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items and types.
        options: Sizes and the weight of the type's term.
    """

    options_type: ClassVar[type[Settings]] = TypeThenItemOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: TypeThenItemOptions) -> None:
        types = len(data.type_frequency)
        super().__init__(encoder, data, options, questions=types)
        self.type_weight = options.type_weight
        self.types = types
        width = encoder.item_vectors().shape[1]
        self.type_scores = nn.Linear(width, self.types)
        self.type_vectors = nn.Embedding(self.types, width)
        self.given_type = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        with torch.no_grad():
            self.type_scores.weight.zero_()
            self.type_scores.bias.copy_(log_share(data.type_frequency))
            for weight in self.given_type[2].parameters():
                weight.zero_()

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse what `next_item` refuses, and events of a single type.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_next_items(data)
        types = int((data.type_frequency > 0).sum())
        if types < 2:
            raise RefusedError(
                "There is no next type to predict: all events are of one.",
                expected="at least 2 event types in the vocabulary",
                found=f"{types}",
                to_do="use `train.objective: [{name: next_item}]`, which is the same without types",
            )

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are events of known type and item."""
        vectors, users, places = vectors_before(encoder, batch, draws)
        kind = batch.event_type[users, places]
        known = (kind > UNKNOWN) & (kind < self.types)
        target = torch.where(known, batch.item[users, places], UNKNOWN)
        chosen = self.choose(target, batch, draws)
        vectors, target, kind = self.project(vectors[chosen]), target[chosen], kind[chosen]
        if not len(target):
            return Loss(vectors.sum(), 0)
        type_scores = self.type_scores(vectors)[:, UNKNOWN + 1 :]
        type_loss = F.cross_entropy(type_scores, kind - UNKNOWN - 1, reduction="sum")
        given = self._given(vectors, kind)
        pull = self.pull(given, batch, users[chosen], places[chosen], kind)
        item_loss = self.softmax(encoder.item_vectors(), given, target, draws, pull)
        return Loss(item_loss + self.type_weight * type_loss, len(target))

    def scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """How likely each item comes next, whatever the type, [B, items]: log of its chance."""
        items, given_type = encoder.item_vectors(), self._scores_given(encoder, batch)

        def of_any_type(vectors: Tensor) -> Tensor:
            user = self.project(vectors)
            types = self.type_scores(user)[:, UNKNOWN + 1 :].log_softmax(1)
            total = torch.full((len(user), len(items)), -torch.inf)
            for number in range(types.shape[1]):
                scores = given_type(user, UNKNOWN + 1 + number)
                scores[:, : UNKNOWN + 1] = -torch.inf
                total = torch.logaddexp(total, types[:, number, None] + scores.log_softmax(1))
            return total

        return best_over_interests(encoder, batch, of_any_type)

    def purchase_scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """How likely each item is that of the next purchase, [B, items], as logits."""
        given_type, purchase = self._scores_given(encoder, batch), self.data.purchase or UNKNOWN

        def of_purchases(vectors: Tensor) -> Tensor:
            return given_type(self.project(vectors), purchase)

        return best_over_interests(encoder, batch, of_purchases)

    def _scores_given(self, encoder: Encoder, batch: Batch) -> Callable[[Tensor, int], Tensor]:
        """Vectors, [B, D], and a type to the scores of every item if that comes, [B, items]."""
        items, met = encoder.item_vectors(), self.met_so_far(batch)

        def score(user: Tensor, kind: int) -> Tensor:
            kinds = torch.full((len(user),), kind)
            given = self._given(user, kinds)
            return self.softmax.scores(items, given, self.pull_of(given, met, kinds))

        return score

    def _given(self, vectors: Tensor, kind: Tensor) -> Tensor:
        """The vectors that predict an item of a type, [n, D]."""
        given: Tensor = self.given_type(torch.cat([vectors, self.type_vectors(kind)], dim=1))
        return vectors + given
