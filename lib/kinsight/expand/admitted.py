"""An audience that passed the gate, and what became of its seeds."""

from __future__ import annotations

import dataclasses

from kinsight.expand.definition import AudienceDefinition


@dataclasses.dataclass(frozen=True)
class SeedCounts:
    """What became of a seed list; see schemas/audiences.sql.

    ``sent`` = ``duplicate`` + ``unknown`` + ``ineligible`` + ``matched``.
    """

    sent: int = 0
    duplicate: int = 0
    unknown: int = 0
    ineligible: int = 0
    matched: int = 0
    eligible: int = 0
    suppressed: int = 0

    @property
    def ranked(self) -> int:
        """Users to be ranked: eligible, not suppressed, no seeds."""
        return self.eligible - self.matched


@dataclasses.dataclass(frozen=True)
class Admitted:
    """An audience that passed the gate."""

    definition: AudienceDefinition
    counts: SeedCounts
    needed: int
    valid_days: int

    @property
    def name(self) -> str:
        """Name of the audience."""
        return self.definition.name
