"""What encoders that pool the vectors of events have in common."""

from __future__ import annotations

from pydantic import Field as Limit
from pydantic import model_validator
from torch import Tensor
from typing_extensions import Self

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, EventReader
from kinsight.encoders.event_input import FIELDS, EventInput, Field, check_fields
from kinsight.encoders.pooling import Pool


class InputOptions(Settings):
    """Options of every encoder that reads ``event_input``."""

    width: int = Limit(64, ge=4, description="Width of an event's input.")
    dropout: float = Limit(0.2, ge=0, lt=1)
    fields: list[Field] = Limit(list(FIELDS), description="What of an event is read.")
    latest_events: int = Limit(
        200, ge=2, le=5_000, description="Events of a history that are read, the latest."
    )
    positions: int = Limit(512, ge=2, description="Distinct times told apart; later ones share.")

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        check_fields(self.fields)
        return self


class EventOptions(InputOptions):
    """Options of encoders of several layers."""

    layers: int = Limit(1, ge=1, le=48)


class HeadOptions(EventOptions):
    """Options of encoders with attention in several heads."""

    heads: int = Limit(2, ge=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"`width` {self.width} is not a multiple of `heads` {self.heads}")
        return self


class PooledEncoder(EventReader):
    """One vector a user: its event vectors, pooled. No query changes it.

    Attributes:
        pool: How.
    """

    pool: Pool
    interests = 1

    def read(self, state: EncoderState, query: Tensor | None = None) -> Tensor:
        """The user vector, [B, 1, d]; a query changes nothing."""
        del query
        vector: Tensor = self.pool(state)
        return vector[:, None]

    def read_at_events(self, state: EncoderState) -> Tensor:
        """The user vector right after each event's time, [B, L, d]."""
        return self.pool.at_events(state)


class EventEncoder(PooledEncoder):
    """A pooled encoder whose input is the sum of an event's fields.

    Attributes:
        input: That sum.
    """

    input: EventInput

    def item_vectors(self) -> Tensor:
        """The input table of items, [items, width]: outputs are tied to it."""
        return self.input.table("item").weight
