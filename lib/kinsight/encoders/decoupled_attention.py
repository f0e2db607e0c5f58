"""Attention and representation each with a table of its own, so that neither spoils the other.

Source: Feng et al., "Long-Sequence Recommendation Models Need Decoupled Embeddings" (DARE, ICLR
2025, arXiv 2410.02604): a small table says which events matter for a query, another what they mean.

For a query q, [B, attention_width]: h = sum over events of softmax(a_j · q / sqrt(attention_width))
r_j, where a_j and r_j are the sums of an event's fields in the two tables, [B, L, attention_width]
and [B, L, width]. The product of h with the target's representation, the paper's target-aware
features summed up, is taken by whoever scores items: objectives do so with ``item_vectors``.

A query is the mean of the attention vectors of items: one item, a category, or what seeds have met
(``query_of``). Without one each event asks with its own item, reading itself and strictly earlier
events, and the answers are pooled, the mean by default. So the attention table is trained by the
history itself and no target is shown to the vector that predicts it. Left out: the search for the
nearest events (histories are short enough to weigh all), the network over the features, and the
separate attention over time, which is a field of a_j here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field as Limit
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, QueryEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, mean_of_items
from kinsight.encoders.pooled import EventEncoder, InputOptions
from kinsight.encoders.pooling import Pool
from kinsight.encoders.transformer import visible_events


class DecoupledAttentionOptions(InputOptions):
    """Options of `decoupled_attention`."""

    attention_width: int = Limit(
        32, ge=4, description="Width of the table for attention; half of `width` costs little."
    )
    pooling: Literal["mean", "last", "max"] = Limit(
        "mean", description="Of the events' own answers, where there is no query."
    )


class DecoupledAttention(EventEncoder, QueryEncoder):
    """The two tables; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = DecoupledAttentionOptions
    reads_at_events = True

    def __init__(self, sizes: VocabularySizes, options: DecoupledAttentionOptions) -> None:
        super().__init__(sizes, options)
        fields, positions = options.fields, options.positions
        self.input = EventInput(sizes, fields, options.width, positions)
        self.attention = EventInput(sizes, fields, options.attention_width, positions)
        self.input_norm = nn.LayerNorm(options.width)
        self.drop = nn.Dropout(options.dropout)
        self.output_norm = nn.LayerNorm(options.width)
        self.pool = Pool(options.pooling, options.width)
        self.dimension = options.width

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user: what events mean, and beside it what attention sees."""
        meaning = self.drop(self.input_norm(self.input(batch)))
        return EncoderState(batch, meaning, context=self.attention(batch))

    def read(self, state: EncoderState, query: Tensor | None = None) -> Tensor:
        """The user vector, [B, 1, width]: the answer to a query, or those of all events pooled."""
        if query is None:
            return super().read(self._own_answers(state))
        return self._answers(state, query[:, None], state.batch.present[:, None])

    def read_at_events(self, state: EncoderState) -> Tensor:
        """The user vector right after each event's time, [B, L, width]."""
        return super().read_at_events(self._own_answers(state))

    def query_of(self, items: Tensor) -> Tensor:
        """The mean of the attention vectors of items, [N, attention_width]."""
        return mean_of_items(self.attention.table("item"), items)

    def _own_answers(self, state: EncoderState) -> EncoderState:
        """What each event gets that asks with its own item."""
        batch = state.batch
        query = self.query_of(batch.item.reshape(-1, 1)).view(*batch.item.shape, -1)
        answers = self._answers(state, query, visible_events(batch, causal=True))
        return EncoderState(batch, answers)

    def _answers(self, state: EncoderState, query: Tensor, visible: Tensor) -> Tensor:
        """Means of events by attention.

        Args:
            state: B histories of L events.
            query: [B, Q, attention_width].
            visible: True where a query may read an event, [B, Q, L].

        Returns:
            [B, Q, width].
        """
        assert state.context is not None
        found = F.scaled_dot_product_attention(query, state.context, state.events, visible)
        answers: Tensor = self.output_norm(found)
        return answers
