"""The contract of an objective."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import Encoder, FloatMatrix, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories

Sample = Callable[[int], Iterable[Histories]]
"""Gives about so many training users at most, by a hash of their ids, in parts."""


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """What is known about the histories before training.

    Attributes:
        item_frequency: Events with each item index in the lookback window, [items], float64; the
            rows of padding and unknown are zero.
        users: Users to train on.
        users_with_order: Those of them whose events bear at least two distinct times.
        longest: Events of the longest history.
        batch_tokens: Events a batch, padding included.
        type_frequency: As item_frequency, of event types, [types].
        purchase: Index of the event type purchase, where there is one.
        sizes: Rows of the vocabulary tables.
    """

    item_frequency: Tensor
    users: int
    users_with_order: int
    longest: int
    batch_tokens: int
    type_frequency: Tensor
    purchase: int | None
    sizes: VocabularySizes


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss summed over targets, so that batches of unequal size average rightly.

    Attributes:
        total: Sum over the targets, scalar.
        targets: How many there were; may be 0, with a total of 0.
    """

    total: Tensor
    targets: int

    @property
    def mean(self) -> Tensor:
        """Mean over the targets; 0 without any."""
        return self.over(self.targets)

    def over(self, targets: int) -> Tensor:
        """This total as a part of the mean over so many targets; 0 without any.

        Args:
            targets: Its own, or those of several processes together.
        """
        return self.total / max(1, targets)


class Objective(nn.Module, ABC):
    """A loss over a batch of histories."""

    options_type: ClassVar[type[Settings]]

    def __init__(self, encoder: Encoder, data: TrainingSet, options: Settings) -> None:  # noqa: ARG002  # the signature that the registry calls
        super().__init__()

    @classmethod
    @abstractmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse data from which nothing can be learned.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """

    @abstractmethod
    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch.

        Args:
            encoder: The encoder, in training or evaluation mode.
            batch: B histories.
            draws: Source of all random draws.
        """

    @abstractmethod
    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """What the loss is worth in measures that a person knows, on held-out users.

        Args:
            encoder: The trained encoder.
            held_out: Histories that it was not trained on.
            tokens: Events a batch, padding included.

        Returns:
            Measure to value.
        """


class ItemObjective(Objective):
    """An objective that says which items a user takes next."""

    @abstractmethod
    def scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """How likely each item comes next, [B, items]: higher is likelier."""

    def purchase_scores(self, encoder: Encoder, batch: Batch) -> Tensor:
        """The same if what comes next is a purchase."""
        return self.scores(encoder, batch)


class FittedObjective(Objective):
    """An objective that learns something from a sample of users first, which then stays frozen.

    What it learns are buffers: part of every checkpoint, and handed to the processes that train
    elsewhere, so that all of them hold the same to the last bit.
    """

    @property
    def item_basis(self) -> Tensor | None:
        """The space that the encoder learns to place users in, [items, d], where there is one.

        It is kept with the model, and the next training turns its own onto it.
        """
        return None

    @abstractmethod
    def fit(self, sample: Sample, earlier: FloatMatrix | None = None) -> dict[str, float]:
        """Put the buffers in their place.

        No seed: two trainings with different seeds on the same users hold the same.

        Args:
            sample: Gives training users.
            earlier: The ``item_basis`` of an earlier model for the same items, [items, d], zero
                where it had none.

        Returns:
            Measures of the fit.

        Raises:
            RefusedError: If the users tell too little.
        """

    def take_over(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the buffers of another fit in place; until then they have the wrong shapes.

        Args:
            tensors: Among others the buffers, by the names of ``state_dict``.
        """
        for name, _ in list(self.named_buffers()):
            owner, _, buffer = name.rpartition(".")
            setattr(self.get_submodule(owner), buffer, tensors[name])
