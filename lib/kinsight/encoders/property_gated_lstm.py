"""An LSTM whose gates see how an event happened, and whose content is what it was about.

Source: Ni et al., "Perceive Your Users in Depth: Learning Universal User Representations from
Multiple E-commerce Tasks" (DUPN, arXiv 1805.10727), property gated LSTM and attention.

With e_t what a step is about (item, category, brand, price), p_t how it happened (type, gap, hour,
weekday, position) and s the sigmoid:

    i_t = s(We_i e_t + Wp_i p_t + Wh_i h_{t-1} + b_i), the same for f_t and o_t
    c_t = f_t c_{t-1} + i_t tanh(We_c e_t + Wh_c h_{t-1} + b_c)
    h_t = o_t tanh(c_t)

so that a click and a purchase of an item write the same thing, and a purchase may write more of it.
This is the plain LSTM over [e_t; p_t] whose candidate has no weights for p_t, which is how it is
computed. The user vector is sum over events of a_j h_j with a = softmax(w · tanh(W [h_j; p_j])).

A step is one distinct time: the means of e and of p over its events, [B, T, width] and
[B, T, property_width]; attention reads each event's own p. Left out: the query and the user's
attributes in the attention, which sequences do not hold; items' several tags; the paper sets the
fields side by side (32/24/24/16/28 wide), here they add up.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, content_and_circumstance
from kinsight.encoders.gru import at_events, mean_by_time
from kinsight.encoders.pooled import EventEncoder, InputOptions
from kinsight.encoders.pooling import Pool, RunningPooling


class PropertyGatedLstmOptions(InputOptions):
    """Options of `property_gated_lstm`."""

    hidden: int = Limit(128, ge=4, description="Width of the state.")
    property_width: int = Limit(
        32, ge=4, description="Width of the part that sees how an event happened."
    )
    pooling: RunningPooling = "attention"


class PropertyGatedLstm(EventEncoder):
    """The property gated LSTM; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = PropertyGatedLstmOptions
    reads_at_events = True

    def __init__(self, sizes: VocabularySizes, options: PropertyGatedLstmOptions) -> None:
        super().__init__(sizes, options)
        content, circumstance = content_and_circumstance(options.fields)
        positions, how = options.positions, options.property_width
        self.input = EventInput(sizes, content, options.width, positions)
        self.properties = EventInput(sizes, circumstance, how, positions)
        self.input_norm = nn.LayerNorm(options.width)
        self.property_norm = nn.LayerNorm(how)
        self.drop = nn.Dropout(options.dropout)
        self.cell = PropertyGatedCell(options.width, how, options.hidden)
        self.output_norm = nn.LayerNorm(options.hidden)
        self.pool = Pool(options.pooling, options.hidden, context=how)
        self.dimension = self.pool.dimension

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        properties = self.properties(batch)
        about = self.drop(self.input_norm(mean_by_time(batch, self.input(batch))))
        how = self.drop(self.property_norm(mean_by_time(batch, properties)))
        states = self.drop(self.output_norm(self.cell(about, how)))
        return EncoderState(batch, at_events(batch, states), context=self.property_norm(properties))


class PropertyGatedCell(nn.Module):
    """The recurrence; see the module.

    Args:
        width: Width E of what a step is about.
        property_width: Width P of how it happened.
        hidden: Width H of the state.
    """

    def __init__(self, width: int, property_width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        # Rows as torch orders gates: input, forget, candidate, output.
        self.content = nn.Linear(width, 4 * hidden)
        self.state = nn.Linear(hidden, 4 * hidden, bias=False)
        # Input, forget and output gate: none for the candidate.
        self.gates = nn.Linear(property_width, 3 * hidden, bias=False)

    def forward(self, about: Tensor, how: Tensor) -> Tensor:
        """All states.

        Args:
            about: [B, T, E].
            how: [B, T, P].

        Returns:
            [B, T, H]. What stands after a user's last step changes none before it.
        """
        enter, forget, leave = self.gates.weight.chunk(3)
        gated = torch.cat([enter, forget, torch.zeros_like(enter), leave])
        weight = torch.cat([self.content.weight, gated], dim=1)
        none = torch.zeros(1, len(about), self.hidden)
        bias = self.content.bias
        weights = [weight, self.state.weight, bias, torch.zeros_like(bias)]
        steps = torch.cat([about, how], dim=2)
        # What nn.LSTM calls, which takes weights from its own parameters only. In full width:
        # oneDNN has no LSTM of half width for processors without AMX.
        with torch.autocast("cpu", enabled=False):
            states, _, _ = torch.lstm(
                steps.float(), [none, none], weights, True, 1, 0.0, self.training, False, True
            )
        return states
