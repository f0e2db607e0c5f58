"""Nested size levels with exact sizes."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from kinsight.config import SizesConfig

REFERENCE_SHARE = 0.10


@dataclasses.dataclass(frozen=True)
class Level:
    """One size: the first ``reach`` users of the ranking.

    Attributes:
        name: ``5%`` or ``1000``.
        share: Reach divided by the ranked users.
        reach: Users.
    """

    name: str
    share: float
    reach: int


def size_levels(sizes: SizesConfig, ranked: int) -> list[Level]:
    """The levels of an audience, smallest first.

    Shares are rounded to whole users, half up, and to at least one; counts end at the ranked
    users. Of two levels with equal reach the first is kept, shares before counts.

    Args:
        sizes: Shares and counts.
        ranked: Number of ranked users, at least 1.
    """
    # Fraction(str(0.1)) is exactly 1/10, so a share of a round number of users is exact.
    wanted = [
        (f"{share * 100:.10g}%", max(1, int(Fraction(str(share)) * ranked + Fraction(1, 2))))
        for share in sizes.shares
    ]
    wanted += [(str(count), min(count, ranked)) for count in sizes.counts]
    first: dict[int, str] = {}
    for name, reach in wanted:
        first.setdefault(reach, name)
    return [Level(first[reach], reach / ranked, reach) for reach in sorted(first)]


def reference_level(levels: list[Level]) -> Level:
    """The level nearest to 10 %, at which recall and lift are told."""
    return min(levels, key=lambda level: abs(level.share - REFERENCE_SHARE))
