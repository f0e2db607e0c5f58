"""The mean of frozen vectors of what a user met: no gradient, and hard to beat.

Source: Dzhoha and Malykh, LTE (arXiv 2604.08181): the mean of the vectors of the items a user
touched, all weighing the same, whose item vectors are frozen so that every model version can be
read in one space; uniform weights beat those that favour recent events there. A later fit of the
same width is turned onto the earlier one, so versions share a space as far as tastes stay.

u = mean over the distinct items of E_item + mean over the distinct categories of E_category. LTE's
vectors are content. Here E comes from who meets what, items and categories side by side
(``basis``); vectors given by the shop are not read yet. Each token counts once, however often it
was met: what a household lives on says more than how often it shops. The window is the user's
sequence. A token that the basis does not know counts as the average one, which is the zero vector.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, EventReader, FittedEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import fresh_items, known_tokens
from kinsight.encoders.pooling import at_group_end


class ContentMeanOptions(Settings):
    """Options of `content_mean`."""

    width: int = Limit(64, ge=2, le=1_024, description="Width of the token and user vectors.")
    fitting_users: int = Limit(
        100_000, ge=100, description="Users that token vectors are fitted on, by id hash."
    )


class ContentMean(EventReader, FittedEncoder):
    """The mean of token vectors; one vector a user. Before it is fitted they are random.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Width, and users of the fit.
    """

    options_type: ClassVar[type[Settings]] = ContentMeanOptions
    frozen_fields: ClassVar[tuple[str, ...]] = ("item", "category")
    interests = 1
    reads_at_events = True

    def __init__(self, sizes: VocabularySizes, options: ContentMeanOptions) -> None:
        super().__init__(sizes, options)
        self.sizes = {field: sizes[field] for field in self.frozen_fields}
        self.tokens = nn.Embedding(sum(self.sizes.values()), options.width)
        fresh = [fresh_items(size, options.width) for size in self.sizes.values()]
        with torch.no_grad():
            self.tokens.weight.copy_(torch.cat(fresh))
        self.fitting_users = options.fitting_users
        self.dimension = options.width

    def frozen_tokens(self) -> Tensor:
        """The vectors of items, then of categories, [items + categories, d]."""
        return self.tokens.weight

    def encode(self, batch: Batch) -> EncoderState:
        """Average what was met up to each event's time."""
        begin, total = 0, torch.zeros(*batch.item.shape, self.dimension)
        for field, size in self.sizes.items():
            index = known_tokens(getattr(batch, field), size) * batch.present
            first = first_meetings(index) & batch.present
            met = (self.tokens(begin + index) * first[..., None]).cumsum(1)
            total = total + met / first.cumsum(1).clamp(min=1)[..., None]
            begin += size
        return EncoderState(batch, at_group_end(batch, total))

    def read(self, state: EncoderState, query: Tensor | None = None) -> Tensor:
        """The user vector, [B, 1, d]; a query changes nothing."""
        del query
        return state.events[torch.arange(len(state.events)), state.batch.length - 1][:, None]

    def read_at_events(self, state: EncoderState) -> Tensor:
        """The user vector right after each event's time, [B, L, d]."""
        return state.events

    def item_vectors(self) -> Tensor:
        """The vectors of items alone, [items, d]."""
        return self.tokens.weight[: self.sizes["item"]]


def first_meetings(index: Tensor) -> Tensor:
    """True where a token stands for the first time in its row, [B, L], bool.

    Args:
        index: Tokens, [B, L], int64.
    """
    ordered, place = index.sort(dim=1, stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.zeros_like(new).scatter(1, place, new)
