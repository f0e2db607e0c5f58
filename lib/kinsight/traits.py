"""Behavioural traits: who is in the top or bottom fifth of a readable feature."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

TRAIT_FIELD = "trait"
FIFTH = 0.2
# Ties can leave far less than a fifth strictly beyond the quantile; a trait of few says little.
LEAST_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class Trait:
    """A trait and how it is told from a feature.

    Attributes:
        label: What a person reads.
        facet: A name holds one trait of each facet.
        feature: Name of the feature.
        top: Top fifth; the bottom fifth otherwise.
    """

    label: str
    facet: str
    feature: str
    top: bool = True


PURCHASE_SHARE = "type_shares['purchase']"
TRAITS = (
    Trait("High Value", "value", "monetary"),
    Trait("Low Value", "value", "monetary", top=False),
    Trait("Wide Range", "value", "categories"),
    Trait("Premium", "price", "average_price"),
    Trait("Low Prices", "price", "average_price", top=False),
    Trait("Big Baskets", "visit", "events_per_session"),
    Trait("Small Baskets", "visit", "events_per_session", top=False),
    Trait("Frequent", "rhythm", "frequency"),
    Trait("Occasional", "rhythm", "frequency", top=False),
    Trait("Lapsing", "rhythm", "recency_days"),
    Trait("New", "rhythm", "tenure_days", top=False),
    Trait("Weekend", "time", "weekend_share"),
    Trait("Weekday", "time", "weekend_share", top=False),
    Trait("Morning", "time", "morning_share"),
    Trait("Afternoon", "time", "afternoon_share"),
    Trait("Evening", "time", "evening_share"),
    Trait("Night", "time", "night_share"),
    Trait("Buying", "mix", PURCHASE_SHARE),
    Trait("Browsing", "mix", PURCHASE_SHARE, top=False),
)
FACETS = {trait.label: trait.facet for trait in TRAITS} | {
    "Long Visits": "visit",
    "Short Visits": "visit",
}


def has_trait(
    trait: Trait, values: npt.NDArray[np.float64], base: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether users lie strictly beyond the fifth of the base; false where unknown.

    Args:
        trait: The trait.
        values: Its feature for some users, NaN where unknown [n].
        base: Its feature for the users whose fifth it is, NaN where unknown.
    """
    known = base[~np.isnan(base)]
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    edge = np.quantile(known, 1 - FIFTH if trait.top else FIFTH)
    return np.asarray(values > edge if trait.top else values < edge)


def trait_label(trait: Trait, purchase_share: float) -> str:
    """What a person reads: a visit is a basket only where most events are purchases."""
    if trait.facet == "visit" and purchase_share < 0.5:
        return "Long Visits" if trait.top else "Short Visits"
    return trait.label
