"""What a synthetic shop is like."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.special import ndtri
from typing_extensions import Self

from kinsight.config import Settings


class SynthOptions(Settings):
    """Size, time and faults of a synthetic shop."""

    users: int = Field(10_000, ge=100, le=1_000_000_000)
    items: int = Field(20_000, ge=1_000, le=10_000_000)
    days: int = Field(180, ge=7, le=3_650, description="Days of history before the date.")
    as_of: dt.date = Field(dt.date(2024, 7, 1), description="The first day without events.")
    seed: int = Field(1, ge=0, lt=2**63)
    median_events: float = Field(6, gt=0, le=500, description="Of a user's history.")
    spread: float = Field(1.45, ge=0, le=3, description="Of the logarithm of a history's events.")
    most_events: int = Field(500, ge=1, le=100_000)
    drift: float = Field(0.1, ge=0, le=1, description="Share of users whose tastes change.")
    nights: int = Field(0, ge=0, description="Last days that come in folders of their own.")
    bots: int = Field(0, ge=0, le=100)
    bot_share: float = Field(0.1, gt=0, lt=0.9, description="Of all events, by all bots together.")
    late: float = Field(0, ge=0, lt=1, description="Share of a night's events that come later.")
    duplicates: float = Field(0, ge=0, lt=1, description="Share of events that come twice.")
    malformed: float = Field(0, ge=0, lt=1, description="Share of rows that are no events.")
    format: Literal["parquet", "csv", "json"] = "parquet"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.nights >= self.days:
            raise ValueError("`nights` must be fewer than `days`")
        if self.bots and not self.bot_events:
            raise ValueError("so few users leave no event for each of so many bots")
        if self.late and not self.nights:
            raise ValueError("late events need `nights`: they come in a later night's folder")
        return self

    @property
    def start(self) -> dt.date:
        """The first day with events."""
        return self.as_of - dt.timedelta(days=self.days)

    @property
    def history_until(self) -> dt.date:
        """The first day that has a folder of its own; the date where none has."""
        return self.as_of - dt.timedelta(days=self.nights)

    @property
    def bot_events(self) -> int:
        """Events of each bot, from the mean length of histories."""
        if not self.bots:
            return 0
        return round(self.expected_events * self.bot_share / (1 - self.bot_share) / self.bots)

    @property
    def expected_events(self) -> int:
        """Events of all users who are no bots, about."""
        middles = (np.arange(10_000) + 0.5) / 10_000
        return round(float(self.lengths(middles).mean()) * self.users)

    def lengths(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Lengths of histories from uniform numbers: log-normal, from 1 to the most allowed."""
        length = np.rint(np.exp(np.log(self.median_events) + self.spread * ndtri(uniform)))
        whole: npt.NDArray[np.int64] = np.clip(length, 1, self.most_events).astype(np.int64)
        return whole
