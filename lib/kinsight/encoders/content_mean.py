"""The mean of frozen item vectors over the window: the first floor, without any gradient.

Source: Dzhoha and Malykh, LTE (arXiv 2604.08181): the mean of the vectors of the items a user
touched, all weighing the same, whose item vectors are frozen so that every model version can be
read in one space; uniform weights beat those that favour recent events there. A later fit of the
same width is turned onto the earlier one, so versions share a space as far as tastes stay.

LTE's item vectors are content. Here they come from who meets what (``basis``); vectors given by the
shop are not read yet. The window is the user's sequence. An item that the basis does not know
counts as the average one, which is the zero vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, FittedEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import INITIAL_SPREAD, UNKNOWN
from kinsight.encoders.pooled import PooledEncoder
from kinsight.encoders.pooling import Pool

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from kinsight.encoders.base import FloatMatrix


class ContentMeanOptions(Settings):
    """Options of `content_mean`."""

    width: int = Limit(128, ge=2, le=1_024, description="Width of the item and user vectors.")
    fitting_users: int = Limit(
        100_000, ge=100, description="Users that item vectors are fitted on, by id hash."
    )


class ContentMean(PooledEncoder, FittedEncoder):
    """The mean of item vectors; one vector a user. Before it is fitted they are random.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = ContentMeanOptions

    def __init__(self, sizes: VocabularySizes, options: ContentMeanOptions) -> None:
        super().__init__(sizes, options)
        self.items = nn.Embedding(sizes["item"], options.width, padding_idx=0)
        nn.init.normal_(self.items.weight, std=INITIAL_SPREAD)
        with torch.no_grad():
            self.items.weight[: UNKNOWN + 1] = 0.0
        self.pool = Pool("mean", options.width)
        self.fitting_users = options.fitting_users
        self.dimension = options.width
        self.reads_at_events = True

    def fit_items(
        self, bags: csr_matrix, seed: int, earlier: FloatMatrix | None = None
    ) -> dict[str, float]:
        """Put the basis of the bags in place of the item vectors, turned onto the earlier one.

        Raises:
            RefusedError: If users share too few items.
        """
        # Imported here: executors use a fitted model and need not load scikit-learn.
        from kinsight.encoders.basis import item_basis, turned_onto

        basis = item_basis(bags, self.dimension, seed)
        vectors, measures = basis.vectors, {}
        if earlier is not None and earlier.shape == vectors.shape:
            vectors, measures["basis_kept_cosine"] = turned_onto(vectors, earlier)
        with torch.no_grad():
            self.items.weight.copy_(torch.from_numpy(vectors))
        return measures | {
            "basis_users": float(basis.users),
            "basis_items": float(basis.items),
            "basis_variance_explained": basis.variance_explained,
        }

    def encode(self, batch: Batch) -> EncoderState:
        """Look up the items."""
        rows = self.items.num_embeddings
        # A later vocabulary version may have appended tokens that this model never saw.
        index = torch.where(batch.item < rows, batch.item, UNKNOWN) * batch.present
        return EncoderState(batch, self.items(index))

    def item_vectors(self) -> Tensor:
        """The item vectors, [items, d]."""
        return self.items.weight
