"""A GRU over a user's distinct times, in one direction or in both.

Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, for the cell;
Babaev et al., CoLES (arXiv 2002.08232), for its use on events of customers.

One step is one distinct time: the mean of the inputs of its events (``event_input``), normalised.
So the lines of a basket have no order and the recurrence is as long as there are visits, not lines
(9.4 lines a basket in Complete Journey). The vector of an event is the state after its whole time;
it says nothing that tells it from the others of that time. Left out: the number of events of a
time, which the mean does not show.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput
from kinsight.encoders.pooled import EventEncoder, EventOptions
from kinsight.encoders.pooling import Pool, RunningPooling


class GruOptions(EventOptions):
    """Options of `gru`."""

    hidden: int = Limit(128, ge=4, description="Width of the state in one direction.")
    bidirectional: bool = Limit(
        False, description="Read backwards too; the vector is then twice as wide."
    )
    pooling: RunningPooling = "mean"


class Gru(EventEncoder):
    """The GRU; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = GruOptions

    def __init__(self, sizes: VocabularySizes, options: GruOptions) -> None:
        super().__init__(sizes, options)
        self.input = EventInput(sizes, options.fields, options.width, options.positions)
        self.input_norm = nn.LayerNorm(options.width)
        self.drop = nn.Dropout(options.dropout)
        self.gru = nn.GRU(
            options.width,
            options.hidden,
            options.layers,
            batch_first=True,
            # Between layers only; torch warns where there is nothing between.
            dropout=options.dropout if options.layers > 1 else 0.0,
            bidirectional=options.bidirectional,
        )
        width = options.hidden * (2 if options.bidirectional else 1)
        self.output_norm = nn.LayerNorm(width)
        self.pool = Pool(options.pooling, width)
        self.dimension = self.pool.dimension
        self.reads_at_events = not options.bidirectional

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        steps = self.drop(self.input_norm(mean_by_time(batch, self.input(batch))))
        states = self.drop(self.output_norm(recur(self.gru, batch, steps)))
        return EncoderState(batch, at_events(batch, states))


def recur(cell: nn.RNNBase, batch: Batch, steps: Tensor) -> Tensor:
    """Run a recurrent network over distinct times.

    Args:
        cell: The network, batch first.
        batch: B histories of at most T distinct times.
        steps: [B, T, D].

    Returns:
        [B, T, H]; zero after a user's last time.
    """
    times = batch.group[:, -1] + 1
    # Packed, so that reading backwards begins at a user's last time and not in the padding.
    packed = pack_padded_sequence(steps, times, batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(cell(packed)[0], batch_first=True)
    return states


def at_events(batch: Batch, states: Tensor) -> Tensor:
    """Give every event the state of its time.

    Args:
        batch: B histories of L events, at most T distinct times.
        states: [B, T, H].

    Returns:
        [B, L, H].
    """
    return states.gather(1, batch.group[..., None].expand(-1, -1, states.shape[2]))


def mean_by_time(batch: Batch, events: Tensor) -> Tensor:
    """Average the vectors of the events of each distinct time.

    Args:
        batch: B histories of L events, at most T distinct times.
        events: [B, L, D], zero at padding.

    Returns:
        [B, T, D]; zero after a user's last time.
    """
    users, _, width = events.shape
    longest = int(batch.group[:, -1].max()) + 1
    # Padding carries the rank of the last time and adds zero to it.
    place = (batch.group + torch.arange(users)[:, None] * longest).reshape(-1)
    total = torch.zeros(users * longest, width).index_add(0, place, events.reshape(-1, width))
    present = batch.present.reshape(-1, 1).float()
    count = torch.zeros(users * longest, 1).index_add(0, place, present)
    return (total / count.clamp(min=1)).view(users, longest, width)
