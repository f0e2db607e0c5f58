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

from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, FittedEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import fresh_items, known_tokens
from kinsight.encoders.pooled import PooledEncoder
from kinsight.encoders.pooling import Pool


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
        with torch.no_grad():
            self.items.weight.copy_(fresh_items(sizes["item"], options.width))
        self.pool = Pool("mean", options.width)
        self.fitting_users = options.fitting_users
        self.dimension = options.width
        self.reads_at_events = True

    def frozen_items(self) -> Tensor:
        """The item vectors, [items, d]."""
        return self.items.weight

    def encode(self, batch: Batch) -> EncoderState:
        """Look up the items."""
        index = known_tokens(batch.item, self.items.num_embeddings)
        return EncoderState(batch, self.items(index * batch.present))

    def item_vectors(self) -> Tensor:
        """The item vectors, [items, d]."""
        return self.items.weight
