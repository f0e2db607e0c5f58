"""Everything a person reads about the clusters, put together in the order of their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kinsight.segment.fitting import Clustering
from kinsight.segment.lift import Term
from kinsight.segment.members import Counted
from kinsight.segment.naming import name_segments
from kinsight.segment.profiles import Profile
from kinsight.segment.rows import Segment
from kinsight.segment.rules import Fit, find_rule, measure
from kinsight.segment.sample import Sample
from kinsight.segment.traits import trait_terms


def describe_segments(
    ids: Sequence[str],
    clustering: Clustering,
    sample: Sample,
    counted: Counted,
    terms: Sequence[Sequence[Term]],
    profiles: Mapping[int, Profile],
) -> list[Segment]:
    """Name the clusters, find their rules, and measure these on held-out users.

    Args:
        ids: Id of each cluster.
        clustering: Centroids and the clusters of the sample.
        sample: Sampled users.
        counted: Sizes and cohesion of the clusters.
        terms: Terms of each cluster.
        profiles: Feature means of each cluster.

    Returns:
        The segments, ordered by id.
    """
    order = sorted(range(len(ids)), key=lambda cluster: (len(ids[cluster]), ids[cluster]))
    traits = trait_terms(sample, clustering.labels, len(ids))
    tastes = [[t for t in terms[c] if not t.field.startswith("item")] for c in order]
    names = name_segments(tastes, [traits[c] for c in order])
    held_out = sample.features.rows(sample.held_out)
    fitting = sample.features.rows(~sample.held_out)
    segments = []
    for cluster, name in zip(order, names, strict=True):
        member = clustering.labels == cluster
        rule = find_rule(fitting, member[~sample.held_out])
        segments.append(
            Segment(
                segment_id=ids[cluster],
                size=int(counted.movement.overlaps.sizes[cluster]),
                cohesion=float(counted.cohesion[cluster]),
                centroid=clustering.centroids[cluster].tolist(),
                name=name,
                terms=terms[cluster],
                rule=rule,
                fit=measure(rule.holds(held_out), member[sample.held_out])
                if rule
                else Fit(None, None),
                profile=profiles.get(cluster, {}),
            )
        )
    return segments
