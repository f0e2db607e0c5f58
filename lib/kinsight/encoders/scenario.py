"""Every event is read in the light of its scenario and of the history so far, before pooling.

Source: Zhang et al., "Scenario-Adaptive Fine-Grained Personalization Network" (SFPNet, SIGIR 2024,
arXiv 2404.09709): stacked blocks that tailor a behaviour to its scenario. The paper's gates are not
known here; this is a consistent reading. With b_j an event, S_j its scenario, s the sigmoid, each
block:

    g_j = 2 s(Wg S_j + c) b_j                      (the scenario gates every feature)
    C_j = Wc [mean of g, standard deviation of g]  (distribution-aware pooling)
    b_j = b_j + W2 gelu(W1 [norm(b_j); S_j; C_j])  (context back to every event, residual)

all [B, L, width]. The paper's scenarios are country, device and channel, which sequences do not
hold. Here a scenario is the sum of embeddings of fields that they have, `scenario_fields`: by
default the event type, hour and weekday. All other fields make b_j.

By default C_j pools what came strictly before the event's time, so that one pass gives the user
vector after every event; `causal: false` pools the whole history, as in the paper. Left out: the
recommended item beside each behaviour, losses by scenario.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from pydantic import model_validator
from torch import Tensor, nn
from typing_extensions import Self

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, Field
from kinsight.encoders.pooled import EventEncoder, EventOptions
from kinsight.encoders.pooling import Pool, RunningPooling


class ScenarioOptions(EventOptions):
    """Options of `scenario`."""

    layers: int = Limit(2, ge=1, le=48, description="Blocks.")
    scenario_fields: list[Field] = Limit(
        ["event_type", "hour", "weekday"],
        min_length=1,
        description="What makes the scenario of an event; the others of `fields` make the event.",
    )
    causal: bool = Limit(True, description="False: an event's context is the whole history.")
    pooling: RunningPooling = Limit(
        "mean_std", description="As in the paper: the vector is twice as wide as an event."
    )

    @model_validator(mode="after")
    def _scenario_fits(self) -> Self:
        fields = self.scenario_fields
        if "item" in fields or len(set(fields)) < len(fields):
            raise ValueError("`scenario_fields` must hold each field once, and not `item`")
        return self


class Scenario(EventEncoder):
    """The stack of blocks; one vector a user.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = ScenarioOptions

    def __init__(self, sizes: VocabularySizes, options: ScenarioOptions) -> None:
        super().__init__(sizes, options)
        width, positions = options.width, options.positions
        fields = [field for field in options.fields if field not in options.scenario_fields]
        self.input = EventInput(sizes, fields, width, positions)
        self.scenario = EventInput(sizes, options.scenario_fields, width, positions)
        self.input_norm = nn.LayerNorm(width)
        self.scenario_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(options.dropout)
        self.blocks = nn.ModuleList(
            ScenarioBlock(width, options.dropout, options.causal) for _ in range(options.layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.pool = Pool(options.pooling, width)
        self.dimension = self.pool.dimension
        self.reads_at_events = options.causal

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user."""
        events = self.drop(self.input_norm(self.input(batch)))
        scenario = self.scenario_norm(self.scenario(batch))
        for block in self.blocks:
            events = block(batch, events, scenario)
        return EncoderState(batch, self.output_norm(events))


class ScenarioBlock(nn.Module):
    """One block; see the module.

    Args:
        width: Width of events and scenarios.
        dropout: Of what is added to an event.
        causal: Whether the context is what came strictly before.
    """

    def __init__(self, width: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.gate = nn.Linear(width, width)
        self.pool = Pool("mean_std", width)
        self.context = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(3 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, batch: Batch, events: Tensor, scenario: Tensor) -> Tensor:
        """One step, [B, L, width], of events and their scenarios, [B, L, width] each."""
        gated = 2 * self.gate(scenario).sigmoid() * events
        context = self.context(self._pooled(EncoderState(batch, gated.float())))
        read = torch.cat([self.norm(events), scenario, context], dim=2)
        tailored: Tensor = events + self.drop(self.feed(read))
        return tailored

    def _pooled(self, state: EncoderState) -> Tensor:
        """Mean and standard deviation for each event, [B, L, 2 width]; zero where none is earlier.

        Events of one time share them: none of that time is among them where they are causal.
        """
        batch = state.batch
        if not self.causal:
            whole: Tensor = self.pool(state)
            return whole[:, None].expand(-1, batch.item.shape[1], -1)
        pooled = self.pool.at_events(state)
        before = (batch.group_start - 1).clamp(min=0)[..., None].expand_as(pooled)
        return pooled.gather(1, before) * (batch.group > 0)[..., None]
