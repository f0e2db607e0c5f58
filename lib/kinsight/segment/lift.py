"""How much more a segment does of something than all users do, shrunk by its uncertainty."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from kinsight.lift import Floats, shrink

# One-sided 95 %: what a term is sure to reach on other users.
SURE = 1.645


@dataclasses.dataclass(frozen=True)
class Term:
    """Something that members of a segment do more, or less, than all users.

    Attributes:
        label: What a person reads.
        token: Token of the vocabulary, or the feature of a trait.
        field: Vocabulary field, or ``trait``.
        lift: Shrunken lift on fitting users: 1 is the average.
        held_out_lift: Plain lift on held-out users; None where none of them has it.
        share: Mean over members of the share of their events, or share of members for a trait.
        base_share: The same over all users.
        support: Share of the members who have it at all.
        sure_lift: What the lift on held-out users exceeds with 95 % probability.
    """

    label: str
    token: str
    field: str
    lift: float
    held_out_lift: float | None
    share: float
    base_share: float
    support: float
    sure_lift: float

    @property
    def telling(self) -> float:
        """How well the term describes the segment: its log lift times its support."""
        return math.log(self.lift) * self.support

    def row(self) -> dict[str, str | float | None]:
        """The term as a struct of table ``segments``."""
        names = ("label", "token", "field", "lift", "held_out_lift", "share", "base_share")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Shares:
    """Sums over users of a per-user value in 0 to 1, for n pairs of a segment and a term.

    The value is the share of the user's events with a term (every user weighs the same, however
    active), or 1 for users with a trait.

    Attributes:
        users: Members with the term, fitting part [n].
        shares: Sum of the values over fitting members [n].
        squares: Sum of their squares [n].
        base_shares: Sum of the values over all fitting users [n].
        held_shares: Sum of the values over held-out members [n].
        base_held_shares: Sum of the values over all held-out users [n].
        members: Fitting members of the segment [n].
        held_members: Held-out members of the segment [n].
        base_members: All fitting users.
        base_held_members: All held-out users.
    """

    users: Floats
    shares: Floats
    squares: Floats
    base_shares: Floats
    held_shares: Floats
    base_held_shares: Floats
    members: Floats
    held_members: Floats
    base_members: float
    base_held_members: float


def lifts(shares: Shares) -> Mapping[str, Floats]:
    """Shrunken lift, held-out lift and what goes with them.

    The log of the ratio of mean values has the squared error var / (members x mean^2), by the
    delta method, less the part that the segment shares with the base; by it the ratio is shrunk.

    Args:
        shares: Sums for n pairs of a segment and a term; all members >= 1, all shares > 0.

    Returns:
        Arrays [n] named like the attributes of :class:`Term`; held_out_lift is NaN where no
        held-out user has the term.
    """
    share = shares.shares / shares.members
    base_share = shares.base_shares / shares.base_members
    variance = np.maximum(shares.squares / shares.members - share**2, 0.0)
    outside = 1.0 - shares.members / shares.base_members
    error = variance / (shares.members * share**2) * outside
    log_lift, posterior = shrink(np.log(share / base_share), error)
    held_error = error * shares.members / np.maximum(shares.held_members, 1.0)
    held_share = shares.held_shares / np.maximum(shares.held_members, 1.0)
    held_base = shares.base_held_shares / max(shares.base_held_members, 1.0)
    held_out = np.full_like(held_share, np.nan)
    np.divide(held_share, held_base, out=held_out, where=held_base > 0)
    return {
        "lift": np.exp(log_lift),
        "held_out_lift": held_out,
        "share": share,
        "base_share": base_share,
        "support": shares.users / shares.members,
        "sure_lift": np.exp(log_lift - SURE * np.sqrt(posterior + held_error)),
    }


def make_terms(
    shares: Shares, labels: list[str], tokens: list[str], fields: list[str]
) -> list[Term]:
    """A term for each pair, in the order of the arrays."""
    arrays = {name: values.tolist() for name, values in lifts(shares).items()}
    held_out = [None if math.isnan(x) else x for x in arrays.pop("held_out_lift")]
    return [
        Term(label, token, field, held_out_lift=held, **dict(zip(arrays, numbers, strict=True)))
        for label, token, field, held, *numbers in zip(
            labels, tokens, fields, held_out, *arrays.values(), strict=True
        )
    ]
