"""User vectors in a frozen space of items: the encoder learns, the decoder does not.

Source: Dzhoha and Malykh, LTE (arXiv 2604.08181), the asymmetric autoencoder: a decoder fixed to
the items' content vectors keeps training from turning the space of users. Its loss is not
published; this is the reading of the design: logits E z over items with E frozen, cross-entropy of
the user's later items.

The user vector z itself, [d], stands in the space: nothing is learned between it and E, [items, d],
one vector of length 1 an item (``content``); so the basis is as wide as the encoder's vector. Added
to the logits is the log share of each item, frozen too, so that z need not carry popularity. Later
items: any of a strictly later time (``next_events``). The softmax: ``item_softmax``.

Two trainings on the same users give vectors that can be compared, whatever their seeds, encoders of
one width, and epochs. At a later date the basis comes from other users and is turned onto that of
the earlier model, so that vectors stay comparable as far as who meets what has stayed the same.
Left out: content from texts and pictures, which would be the same at every date.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from kinsight.config import Settings
from kinsight.encoders.base import Encoder, FloatMatrix
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.errors import RefusedError
from kinsight.objectives.base import FittedObjective, ItemObjective, Loss, Sample, TrainingSet
from kinsight.objectives.content import content_basis
from kinsight.objectives.item_softmax import ItemSoftmax, ItemSoftmaxOptions, require_next_items
from kinsight.objectives.next_events import best_over_interests, vectors_long_before
from kinsight.objectives.ranking import next_item_measures

SMALLEST_SPREAD = 1e-4
"""A direction in which items spread less than this share of the widest is none."""


class AutoencodeFrozenBasisOptions(ItemSoftmaxOptions):
    """Options of `autoencode_frozen_basis`."""

    fitting_users: int = Field(
        100_000, ge=2, description="Users that the basis is fitted on at most, by id hash."
    )


class AutoencodeFrozenBasis(FittedObjective, ItemObjective):
    """The loss; see the module. Before it is fitted the basis is zero.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items.
        options: Sizes, and users of the fit.
    """

    options_type: ClassVar[type[Settings]] = AutoencodeFrozenBasisOptions
    basis: Tensor

    def __init__(
        self, encoder: Encoder, data: TrainingSet, options: AutoencodeFrozenBasisOptions
    ) -> None:
        super().__init__(encoder, data, options)
        self.data = data
        self.fitting_users = options.fitting_users
        self.softmax = ItemSoftmax(data.item_frequency, options)
        self.softmax.bias.requires_grad_(False)
        items = len(data.item_frequency)
        self.register_buffer("basis", torch.zeros(items, encoder.dimension))

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse a catalogue of one item, and histories without any order.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_next_items(data)

    @property
    def item_basis(self) -> Tensor:
        """The basis, [items, d]."""
        return self.basis

    def fit(self, sample: Sample, earlier: FloatMatrix | None = None) -> dict[str, float]:
        """Put the basis of a sample of users in place, turned onto the earlier one.

        Raises:
            RefusedError: If the users do not span as many dimensions as the user vector has.
        """
        # Imported here: checking a configuration reads the registry and need not load scikit-learn.
        from kinsight.encoders.basis import turned_onto

        items, width = self.basis.shape
        basis, measures = content_basis(sample, self.fitting_users, items, width)
        dimensions = int(torch.linalg.matrix_rank(basis.double(), rtol=SMALLEST_SPREAD))
        if dimensions < width:
            raise RefusedError(
                "The user vector is wider than the space of items: some of it would mean nothing.",
                expected=f"user vectors of at most {dimensions} dimensions, as the users' items "
                "span",
                found=f"{width}",
                to_do="lower train.encoder.width (or `hidden`), or bring more users",
            )
        if earlier is not None and earlier.shape == basis.shape:
            turned, measures["content_kept_cosine"] = turned_onto(basis.numpy(), earlier)
            basis = torch.from_numpy(turned)
        self.basis = basis
        return measures

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are later events of known items."""
        vectors, users, places = vectors_long_before(encoder, self.basis, batch, draws)
        target = batch.item[users, places]
        chosen = self.softmax.choose(target, draws)
        vectors, target = vectors[chosen], target[chosen]
        if not len(target):
            return Loss(vectors.sum(), 0)
        return Loss(self.softmax(self.basis, vectors, target, draws), len(target))

    def scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """How likely each item comes later, [B, items], as logits."""
        return best_over_interests(
            encoder, batch, lambda vectors: self.softmax.scores(self.basis, vectors)
        )

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """Hits among ten for the latest time; see ``ranking``."""

        def score(batch: Batch) -> Tensor:
            return self.scores(encoder, batch)

        return next_item_measures(score, self.data.item_frequency, held_out, tokens)
