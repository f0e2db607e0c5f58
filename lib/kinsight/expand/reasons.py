"""Why an audience is what it is: what its seeds do more than the base. No Spark."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from kinsight.expand.habits import Habits
from kinsight.expand.measures import BoolArray, FloatArray, IntArray
from kinsight.lift import shrink
from kinsight.traits import (
    LEAST_SHARE,
    PURCHASE_SHARE,
    TRAIT_FIELD,
    TRAITS,
    has_trait,
    trait_label,
)

REASON_USERS = 20_000
"""Seeds, and users of the base, that reasons are told from at most, the first by id hash."""
LEAST_SUPPORT = 0.02
LEAST_USERS = 5
"""What fewer of the seeds do is no reason."""
LEAST_LIFT = 1.2
CANDIDATES = 20  # of each field, before names are known
MOST = 12
MOST_OF_A_KIND = 5
ERROR_RATE = 0.2
"""Share of the reasons of an audience that may be chance; so seeds drawn by lot get none in four
draws of five."""


@dataclasses.dataclass(frozen=True)
class Reason:
    """Something that seeds do more than the base; see schemas/audiences.sql.

    Attributes:
        label: What a person reads; the token until its name is known.
        token: Token of the vocabulary, or the feature of a trait.
        field: Vocabulary field, or ``trait``.
        index: Index of the token, or place of the trait.
        lift: Shrunken lift.
        share: Over the seeds.
        base_share: Over the base.
        support: Share of the seeds who do it at all.
    """

    label: str
    token: str
    field: str
    index: int
    lift: float
    share: float
    base_share: float
    support: float

    @property
    def telling(self) -> float:
        """Log lift times support: what few seeds do explains little, however rare it is."""
        return math.log(self.lift) * self.support

    @property
    def kind(self) -> str:
        """Items, brands, traits, or categories of any level."""
        return "category" if self.field.startswith("category") else self.field

    def row(self) -> tuple[str, str, str, float, float, float]:
        """The reason as a struct of table ``audiences``."""
        return self.label, self.token, self.field, self.lift, self.share, self.base_share


def candidate_reasons(habits: Habits, seeds: BoolArray) -> list[Reason]:
    """What the seeds surely do more than the base, the most telling of each field first.

    Args:
        habits: Habits of seeds and base [n].
        seeds: True for seeds; the others are the base [n].

    Returns:
        At most ``CANDIDATES`` a field; tokens of the vocabulary go by their index until they are
        named.
    """
    found = []
    error_rate = ERROR_RATE / (len(habits.shares) + 1)  # all fields, and traits
    for field, shares in habits.shares.items():
        of_seeds, of_base = shares[seeds], shares[~seeds]
        tokens = np.arange(shares.shape[1])
        reasons = _over_indexed(field, tokens, of_seeds, of_base, error_rate)
        found += sorted(reasons, key=lambda r: (-r.telling, r.index))[:CANDIDATES]
    return found + _trait_reasons(habits, seeds, error_rate)


def choose_reasons(named: Iterable[Reason]) -> list[Reason]:
    """The most telling reasons, without saying one thing twice.

    A category is left out where one above or below it is there already, a label where it is
    there already (items of one name); at most ``MOST_OF_A_KIND`` are items, brands, categories
    or traits.
    """
    chosen: list[Reason] = []
    for reason in sorted(named, key=lambda r: (-r.telling, r.field, r.token)):
        same_kind = [c for c in chosen if c.kind == reason.kind]
        if (
            len(same_kind) < MOST_OF_A_KIND
            and reason.label.casefold() not in {c.label.casefold() for c in chosen}
            and not any(_in_line(c, reason) for c in same_kind)
        ):
            chosen.append(reason)
    return chosen[:MOST]


def _in_line(one: Reason, other: Reason) -> bool:
    """Whether one category holds the other."""
    shorter, longer = sorted((one.token, other.token), key=len)
    return one.kind == "category" and longer.startswith(f"{shorter} > ")


def _trait_reasons(habits: Habits, seeds: BoolArray, error_rate: float) -> list[Reason]:
    """The traits that more seeds than base users have."""
    has = np.column_stack(
        [
            has_trait(trait, habits.features[trait.feature], habits.features[trait.feature][~seeds])
            for trait in TRAITS
        ]
    ).astype(np.float64)
    base_share = has[~seeds].mean(axis=0) if (~seeds).any() else np.zeros(len(TRAITS))
    kept = np.flatnonzero((base_share >= LEAST_SHARE) & (base_share < 1 - LEAST_SHARE))
    rows = sparse.csr_matrix(has[:, kept])
    buying = float(np.nan_to_num(habits.features[PURCHASE_SHARE]).mean()) if len(seeds) else 0.0
    return [
        dataclasses.replace(
            reason,
            label=trait_label(TRAITS[reason.index], buying),
            token=TRAITS[reason.index].feature,
        )
        for reason in _over_indexed(TRAIT_FIELD, kept, rows[seeds], rows[~seeds], error_rate)
    ]


def _over_indexed(
    field: str,
    numbers: IntArray,
    of_seeds: sparse.csr_matrix,
    of_base: sparse.csr_matrix,
    error_rate: float,
) -> list[Reason]:
    """What seeds do more than the base, more surely than chance would show in one of all tokens.

    The log of the ratio of two means has the squared error var / (n x mean^2) of the one plus
    that of the other, by the delta method. Thousands of items are looked at, and the oddest of
    them would pass a bound made for one: see :func:`_discoveries`.

    Args:
        field: Field of the columns.
        numbers: Index of each column [columns].
        of_seeds: Values of 0 to 1 [seeds, columns].
        of_base: The same of the base [base, columns].
        error_rate: Share of what is found that may be chance.
    """
    n, m = of_seeds.shape[0], of_base.shape[0]
    users = np.bincount(of_seeds.indices, of_seeds.data > 0, minlength=len(numbers))
    asked = np.flatnonzero(users >= max(LEAST_USERS, LEAST_SUPPORT * n))
    if not len(asked) or not m:
        return []
    share, share_variance = _mean_and_variance(of_seeds[:, asked])
    base_share, base_variance = _mean_and_variance(of_base[:, asked])
    # One average user more in the base: what nobody of a small base does has no infinite lift.
    everybody = (share * n + base_share * m) / (n + m)
    smoothed = (base_share * m + everybody) / (m + 1)
    # Nor is its share known exactly: so many users come with an error of one over their number.
    base_users = np.bincount(of_base.indices, of_base.data > 0, minlength=len(numbers))[asked]
    base_error = np.maximum(base_variance / (m * smoothed**2), 1.0 / (base_users + 1.0))
    squared_error = share_variance / (n * share**2) + base_error
    log_lift, variance = shrink(np.log(share / smoothed), squared_error)
    surely_over = _discoveries(ndtr(-log_lift / np.sqrt(variance)), error_rate)
    lift = np.exp(log_lift)
    return [
        Reason(
            label=str(numbers[asked[j]]),
            token=str(numbers[asked[j]]),
            field=field,
            index=int(numbers[asked[j]]),
            lift=float(lift[j]),
            share=float(share[j]),
            base_share=float(base_share[j]),
            support=float(users[asked[j]] / n),
        )
        for j in np.flatnonzero(surely_over & (lift >= LEAST_LIFT))
    ]


def _discoveries(chance: FloatArray, error_rate: float) -> BoolArray:
    """Which of many measured things stand out, with so many false ones among them at most.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate" (1995), section 3.1.

    Args:
        chance: For each, how likely chance alone would show as much [n].
        error_rate: Expected share of false ones among those found.
    """
    order = np.argsort(chance, kind="stable")
    passes = np.flatnonzero(
        chance[order] <= error_rate * np.arange(1, len(chance) + 1) / len(chance)
    )
    found = np.zeros(len(chance), dtype=np.bool_)
    if len(passes):
        found[order[: passes[-1] + 1]] = True
    return found


def _mean_and_variance(values: sparse.csr_matrix) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of each column."""
    mean = np.asarray(values.sum(axis=0)).ravel() / values.shape[0]
    square = np.asarray(values.multiply(values).sum(axis=0)).ravel() / values.shape[0]
    return mean, np.maximum(square - mean**2, 0.0)
