"""Users near each other by content shall have near vectors; so shall views with items swapped.

Source: Cui et al., SRA-CL (arXiv 2503.04162), without its language model, whose texts gave the
paper its space. Here the space is frozen content of items and users (``content``).

Between users: of user u the k nearest of a bank of training users are encoded, h_1 … h_k, and make
a synthetic positive h⁺ = Σ p_i h_i, p = softmax over i of LeakyReLU(a · [W t_u, W t_i]), t being
the places in the frozen space. Within users: two views of a history, in each of which a share of
the events takes another item, drawn from the k nearest of its own, with that item's latest
category, brand and price. Loss of a user: InfoNCE of (h_u, h⁺) + weight · InfoNCE of the two views
(``info_nce``), both among some users of the batch, the anchors.

The paper compares dot products at temperature 1; here cosines, as encoders have vectors of any
length. Its positives are searched among all users; the bank is a sample, held in memory, so that
neighbours can be encoded whatever the loader reads, and a user is never her own neighbour. The
search is exact. Left out: dropout of the attention. Weights of .05 to .1 beside `next_item` were
best in the paper.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import Encoder, FloatMatrix
from kinsight.encoders.batch import Batch, batches_by_length
from kinsight.encoders.histories import Histories
from kinsight.errors import RefusedError
from kinsight.objectives.base import FittedObjective, Loss, Sample, TrainingSet
from kinsight.objectives.content import content_basis, content_of
from kinsight.objectives.info_nce import InfoNceOptions, info_nce, require_users_to_compare
from kinsight.objectives.neighbours import Bank, Substitutes
from kinsight.objectives.ranking import AT
from kinsight.objectives.subsets import take_users
from kinsight.objectives.vectors import user_vectors

ATTENTION_WIDTH = 64
MEASURED_USERS = 2_000
"""Held-out users whose neighbours are compared at most: all pairs are."""


class NeighbourContrastiveOptions(InfoNceOptions):
    """Options of `neighbour_contrastive`."""

    neighbours: int = Field(10, ge=1, description="Nearest users, and nearest items.")
    width: int = Field(64, ge=2, description="Width of the frozen space.")
    fitting_users: int = Field(
        100_000, ge=2, description="Users that the space is fitted on at most, by id hash."
    )
    bank_users: int = Field(
        5_000, ge=2, description="Users among whom neighbours are searched, by id hash."
    )
    bank_events: int = Field(50, ge=1, description="Latest events of a neighbour that are read.")
    anchors: int = Field(
        64, ge=2, description="Users a batch that are compared; each has its neighbours encoded."
    )
    swapped: float = Field(0.2, gt=0, le=1, description="Share of events with another item.")
    views_weight: float = Field(1.0, ge=0, description="Weight of the two views' term.")


class NeighbourContrastive(FittedObjective):
    """The loss; see the module. It has none before it is fitted.

    Args:
        encoder: The encoder to train.
        data: How many items there are.
        options: Sizes.
    """

    options_type: ClassVar[type[Settings]] = NeighbourContrastiveOptions
    basis: Tensor

    def __init__(
        self, encoder: Encoder, data: TrainingSet, options: NeighbourContrastiveOptions
    ) -> None:
        super().__init__(encoder, data, options)
        self.options = options
        items = len(data.item_frequency)
        self.register_buffer("basis", torch.zeros(items, options.width))
        self.bank = Bank(options.bank_events)
        self.substitutes = Substitutes(items, options.neighbours)
        self.frequency = data.item_frequency
        self.place = nn.Linear(options.width, ATTENTION_WIDTH, bias=False)
        self.attend = nn.Linear(2 * ATTENTION_WIDTH, 1, bias=False)

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse users of one time, and batches of too few users.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_users_to_compare(data)

    def fit(self, sample: Sample, earlier: FloatMatrix | None = None) -> dict[str, float]:
        """Fit the space, the bank, and which item may stand for which; no earlier space matters.

        Raises:
            RefusedError: If users share too few items, or there are fewer than two.
        """
        del earlier
        options = self.options
        self.basis, measures = content_basis(
            sample, options.fitting_users, len(self.basis), options.width
        )
        users = Histories.concatenate(sample(options.bank_users))
        if len(users) < 2:
            raise RefusedError(
                "There are no neighbours: too few users to train on.",
                expected="at least 2 users in the sample",
                found=f"{len(users)}",
                to_do="bring more users, or leave `neighbour_contrastive` out",
            )
        self.bank.fill(users, self.basis)
        self.substitutes.fill(users, self.basis, self.frequency)
        return measures | {"bank_users": float(len(users))}

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are the anchors."""
        users = len(batch.length)
        if users < 2:
            return Loss(encoder.item_vectors().sum() * 0.0, 0)
        anchors = batch
        if users > self.options.anchors:
            drawn = torch.randperm(users, generator=draws)[: self.options.anchors]
            anchors = take_users(batch, drawn)
        temperature = self.options.temperature
        total = info_nce(
            user_vectors(encoder, anchors), self.positives(encoder, anchors), temperature
        )
        if self.options.views_weight:
            swapped = self.options.swapped
            one, other = (
                user_vectors(encoder, self.substitutes.swap(anchors, swapped, draws))
                for _ in range(2)
            )
            total = total + self.options.views_weight * info_nce(one, other, temperature)
        return Loss(total, len(anchors.length))

    def positives(self, encoder: Encoder, anchors: Batch) -> Tensor:
        """The synthetic positive of each user, [A, d]."""
        place = content_of(anchors, self.basis)
        near = self.bank.nearest(anchors, place, self.options.neighbours)
        rows, which = torch.unique(near, return_inverse=True)
        vectors = user_vectors(encoder, self.bank.histories(rows))[which]
        own = self.place(place)[:, None].expand(-1, near.shape[1], -1)
        theirs = self.place(self.bank.place[near])
        score = F.leaky_relu(self.attend(torch.cat([own, theirs], dim=2)))
        return (score.softmax(1) * vectors).sum(1)

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """Whether held-out users have the same neighbours by their vectors and by content.

        Returns:
            ``neighbours_shared_10``: of the ten nearest by vector, the share that is among the ten
            nearest by content, mean over users; beside ``neighbours_chance_10``, and
            ``neighbour_users``; nothing for fewer than 12 users.
        """
        users = min(len(held_out), MEASURED_USERS)
        if users < AT + 2:
            return {}
        by_vector, by_content = [], []
        for batch in batches_by_length(held_out.take(np.arange(users)), tokens):
            by_vector.append(F.normalize(user_vectors(encoder, batch), dim=1))
            by_content.append(content_of(batch, self.basis))
        one, other = (_nearest(torch.cat(parts)) for parts in (by_vector, by_content))
        shared = (one[..., None] == other[:, None]).any(2).float().mean()
        return {
            f"neighbours_shared_{AT}": float(shared),
            f"neighbours_chance_{AT}": AT / (users - 1),
            "neighbour_users": float(users),
        }


def _nearest(unit: Tensor) -> Tensor:
    """The ten nearest others of each row, [N, 10]."""
    alike = (unit @ unit.T).fill_diagonal_(-torch.inf)
    return alike.topk(AT, dim=1).indices
