"""The contract of an encoder."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.batch import Batch

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # fitting needs it, executors do not

FloatMatrix = npt.NDArray[np.float32]

VocabularySizes = Mapping[str, int]
"""Rows of the embedding table of item, event_type, category, brand and price: the largest index
of the vocabulary plus one, so at least 2 (padding and unknown)."""


@dataclasses.dataclass(frozen=True)
class EncoderState:
    """What an encoder makes of a batch, once a user; queries read from it.

    Attributes:
        batch: The batch.
        events: One vector an event, [B, L, D], float32; anything at padding.
        summary: One vector a user that was computed among the events, [B, D], where the encoder
            has one.
        context: What attention pooling reads beside each event's vector, [B, L, C], where the
            encoder has it.
    """

    batch: Batch
    events: Tensor
    summary: Tensor | None = None
    context: Tensor | None = None


class Encoder(nn.Module, ABC):
    """Turns a batch of histories into K vectors a user.

    Attributes:
        options_type: Settings model of the options that a configuration may give.
        learns: False for encoders that are used as they were initialised.
        dimension: Width d of a user vector; that of ``item_vectors`` where there are several.
        interests: Vectors K a user.
        latest_events: Events of a history that it is given at most, the latest; None: all.
    """

    options_type: ClassVar[type[Settings]]
    learns: ClassVar[bool] = True
    latest_events: int | None = None
    dimension: int
    interests: int

    def __init__(self, sizes: VocabularySizes, options: Settings) -> None:  # noqa: ARG002  # the signature that the registry calls
        super().__init__()

    @abstractmethod
    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""

    @abstractmethod
    def read(self, state: EncoderState, query: Tensor | None = None) -> Tensor:
        """The user vectors.

        Args:
            state: What ``encode`` returned for B users.
            query: A vector to read for, [B, q]; ignored by encoders that answer no query.

        Returns:
            [B, K, d], float32; of several the first is the main one: that of most weight, or with
            a query the nearest to it.
        """

    def weights(self, state: EncoderState) -> Tensor:
        """The share of each vector among those of its user, as ``read`` without a query orders.

        Returns:
            [B, K], float32; positive and descending, 1 in sum.
        """
        users = len(state.batch.length)
        return torch.full((users, self.interests), 1.0 / self.interests)

    @abstractmethod
    def item_vectors(self) -> Tensor:
        """One vector an item index, [items, D], float32; the input table of the encoder."""


class EventReader(Encoder):
    """An encoder of one vector a user that may be causal, by its options.

    Attributes:
        reads_at_events: Whether it is, so that one pass gives the user vector as it was after each
            event.
    """

    reads_at_events: bool

    @abstractmethod
    def read_at_events(self, state: EncoderState) -> Tensor:
        """The user vectors as they were right after each event's time, where it is causal.

        Each equals what ``encode`` and ``read`` give for the history up to that time, so that one
        pass trains them all.

        Returns:
            [B, L, d], float32; anything at padding.
        """


def event_reader(encoder: Encoder) -> EventReader | None:
    """The encoder, if it is causal."""
    return encoder if isinstance(encoder, EventReader) and encoder.reads_at_events else None


class QueryEncoder(Encoder):
    """An encoder whose user vectors are read for a query: what of a history matters for it."""

    @abstractmethod
    def query_of(self, items: Tensor) -> Tensor:
        """The query that items make together: one item, a category, or what seeds have met.

        Args:
            items: Item indices, [N, n], int64; 0 fills up.

        Returns:
            [N, q], float32; zero for a row without items.
        """


class FittedEncoder(Encoder):
    """An encoder with vectors of tokens that come from counts, not gradients, and stay frozen.

    Attributes:
        frozen_fields: The fields that have such vectors, "item" first.
        fitting_users: Users that ``fit_tokens`` is given at most.
    """

    learns: ClassVar[bool] = False
    frozen_fields: ClassVar[tuple[str, ...]] = ("item",)
    fitting_users: int

    @abstractmethod
    def frozen_tokens(self) -> Tensor:
        """The frozen vectors themselves, [tokens, F], float32: the fields one after another."""

    def fit_tokens(
        self, bags: csr_matrix, seed: int, earlier: FloatMatrix | None = None
    ) -> dict[str, float]:
        """Put the vectors in their place.

        Args:
            bags: Events of each user with each token, [users, tokens].
            seed: Seed of random draws.
            earlier: Vectors of the same tokens by an earlier model, [tokens, F], zero where it had
                none: the new ones are to be readable beside them.

        Returns:
            Measures of the fit.

        Raises:
            RefusedError: If the bags tell nothing about tokens.
        """
        # Imported here: executors use a fitted model and need not load scikit-learn.
        from kinsight.encoders.basis import token_basis, turned_onto

        frozen = self.frozen_tokens()
        basis = token_basis(bags, frozen.shape[1], seed)
        vectors, measures = basis.vectors, {}
        if earlier is not None and earlier.shape == vectors.shape:
            vectors, measures["basis_kept_cosine"] = turned_onto(vectors, earlier)
        with torch.no_grad():
            frozen.copy_(torch.from_numpy(vectors))
        return measures | {
            "basis_users": float(basis.users),
            "basis_tokens": float(basis.tokens),
            "basis_variance_explained": basis.variance_explained,
        }
