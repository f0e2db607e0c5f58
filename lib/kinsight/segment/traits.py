"""Behavioural traits of clusters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kinsight.segment.lift import Shares, Term, make_terms
from kinsight.segment.sample import Sample
from kinsight.traits import (
    LEAST_SHARE,
    PURCHASE_SHARE,
    TRAIT_FIELD,
    TRAITS,
    Trait,
    has_trait,
    trait_label,
)


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
    return has_trait(trait, values, values[~sample.held_out]).astype(np.float64)


def _label(trait: Trait, sample: Sample) -> str:
    known = PURCHASE_SHARE in sample.features.names
    bought = sample.features.column(PURCHASE_SHARE) if known else np.zeros(1)
    return trait_label(trait, float(np.mean(bought)))
