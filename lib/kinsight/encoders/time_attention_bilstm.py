"""A bidirectional LSTM whose states are averaged by what they say and when they were.

Source: Min et al., "Behavior-based Financial Fraud Detection by Deep Clustering"
(FinDeepBehaviorCluster, arXiv 2101.04285): bidirectional LSTM with time attention over click
streams. The paper gives neither widths nor the form of the attention; this is a consistent reading:

    a = softmax over events of w · tanh(W [h_j; q_j]),  z = sum of a_j h_j

with h_j the state of the event's time, [B, L, 2 hidden], and q_j the sum of embeddings of the gap
to the time before, hour and weekday, [B, L, time_width]. A step of the LSTM is one distinct time,
the mean of its events (``gru``). The paper puts hand-made features beside z before it clusters:
here that is `segment.input: both`. Left out: dwell times, which sequences do not hold.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field as Limit
from torch import nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, Field
from kinsight.encoders.gru import at_events, mean_by_time, recur
from kinsight.encoders.pooled import EventEncoder, EventOptions
from kinsight.encoders.pooling import Pool

TIME_FIELDS: tuple[Field, ...] = ("gap", "hour", "weekday")


class TimeAttentionBiLstmOptions(EventOptions):
    """Options of `time_attention_bilstm`."""

    hidden: int = Limit(
        64, ge=4, description="Width of the state in one direction; a user vector is twice as wide."
    )
    time_width: int = Limit(16, ge=4, description="Width of the time features of the attention.")


class TimeAttentionBiLstm(EventEncoder):
    """The bidirectional LSTM with time attention; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = TimeAttentionBiLstmOptions
    reads_at_events = False

    def __init__(self, sizes: VocabularySizes, options: TimeAttentionBiLstmOptions) -> None:
        super().__init__(sizes, options)
        width, positions = options.width, options.positions
        self.input = EventInput(sizes, options.fields, width, positions)
        self.time = EventInput(sizes, TIME_FIELDS, options.time_width, positions)
        self.input_norm = nn.LayerNorm(width)
        self.time_norm = nn.LayerNorm(options.time_width)
        self.drop = nn.Dropout(options.dropout)
        self.lstm = nn.LSTM(
            width,
            options.hidden,
            options.layers,
            batch_first=True,
            # Between layers only; torch warns where there is nothing between.
            dropout=options.dropout if options.layers > 1 else 0.0,
            bidirectional=True,
        )
        self.output_norm = nn.LayerNorm(2 * options.hidden)
        self.pool = Pool("attention", 2 * options.hidden, context=options.time_width)
        self.dimension = self.pool.dimension

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        steps = self.drop(self.input_norm(mean_by_time(batch, self.input(batch))))
        states = self.drop(self.output_norm(recur(self.lstm, batch, steps)))
        return EncoderState(
            batch, at_events(batch, states), context=self.time_norm(self.time(batch))
        )
