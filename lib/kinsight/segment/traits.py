"""Behavioural traits: who is in the top or bottom fifth of a readable feature."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.segment.lift import Shares, Term, make_terms
from kinsight.segment.sample import Sample

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


def trait_terms(sample: Sample, labels: npt.NDArray[np.int64], clusters: int) -> list[list[Term]]:
    """The traits of each cluster, with fifths cut on fitting users.

    Args:
        sample: Sampled users.
        labels: Their clusters [n].
        clusters: Number of clusters.

    Returns:
        One list of terms a cluster.
    """
    fitting = ~sample.held_out
    known = [t for t in TRAITS if t.feature in sample.features.names]
    has = np.stack([_has(sample, trait) for trait in known], axis=1)
    kept = [j for j in range(len(known)) if LEAST_SHARE <= has[fitting, j].mean() < 1 - LEAST_SHARE]
    has = has[:, kept]
    names = [_label(known[j], sample) for j in kept]
    features = [known[j].feature for j in kept]
    sizes = np.bincount(labels[fitting], minlength=clusters).astype(np.float64)
    held_sizes = np.bincount(labels[~fitting], minlength=clusters).astype(np.float64)
    base, held_base = has[fitting].sum(axis=0), has[~fitting].sum(axis=0)
    found = []
    for cluster in range(clusters):
        count = has[fitting & (labels == cluster)].sum(axis=0)
        seen = count > 0
        members = np.full(seen.sum(), sizes[cluster])
        shares = Shares(
            users=count[seen],
            shares=count[seen],
            squares=count[seen],
            base_shares=base[seen],
            held_shares=has[~fitting & (labels == cluster)].sum(axis=0)[seen],
            base_held_shares=held_base[seen],
            members=members,
            held_members=np.full_like(members, held_sizes[cluster]),
            base_members=float(fitting.sum()),
            base_held_members=float((~fitting).sum()),
        )
        of_seen = [j for j in range(len(kept)) if seen[j]]
        fields = [TRAIT_FIELD] * len(of_seen)
        tokens = [features[j] for j in of_seen]
        found.append(make_terms(shares, [names[j] for j in of_seen], tokens, fields))
    return found


def _has(sample: Sample, trait: Trait) -> npt.NDArray[np.float64]:
    """1 for users strictly beyond the fifth of fitting users; 0 also where unknown."""
    values = sample.features.column(trait.feature)
    fitted = values[~sample.held_out & ~np.isnan(values)]
    if not len(fitted):
        return np.zeros(len(values))
    edge = np.quantile(fitted, 1 - FIFTH if trait.top else FIFTH)
    beyond = values > edge if trait.top else values < edge
    return np.asarray(beyond, dtype=np.float64)


def _label(trait: Trait, sample: Sample) -> str:
    """A visit is a basket only where most events are purchases."""
    buys = (
        PURCHASE_SHARE in sample.features.names
        and np.mean(sample.features.column(PURCHASE_SHARE)) >= 0.5
    )
    if trait.facet == "visit" and not buys:
        return "Long Visits" if trait.top else "Short Visits"
    return trait.label
