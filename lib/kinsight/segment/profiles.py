"""Profiles: the mean of each readable feature over the members of each segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.segment.sample import SHARE_MAPS

# Decimals sum exactly in any order, so that a re-run gives equal means.
EXACT = "decimal(28,8)"

Profile = Mapping[str, float]


def profile_means(
    assigned: DataFrame, user_features: DataFrame, features: Sequence[str]
) -> tuple[dict[int, Profile], Profile]:
    """Means of the features by cluster and over all users.

    Args:
        assigned: user_id, cluster.
        user_features: Rows of user_features of the date.
        features: SQL expressions over user_features; a share absent from its map counts as 0,
            an unknown number is left out.

    Returns:
        Feature to mean for each cluster, cold ones under -1, and over all users.
    """
    sums = []
    for place, feature in enumerate(features):
        value = F.expr(feature)
        if feature.startswith(SHARE_MAPS):
            value = F.coalesce(value, F.lit(0.0))
        sums += [
            F.sum(value.cast(EXACT)).alias(f"sum_{place}"),
            F.count(value).alias(f"known_{place}"),
        ]
    rows = assigned.join(user_features, "user_id").groupBy("cluster").agg(*sums).collect()

    def means(selected: Sequence[Mapping[str, float]]) -> Profile:
        found = {}
        for place, feature in enumerate(features):
            known = sum(row[f"known_{place}"] for row in selected)
            if known:
                total = sum(row[f"sum_{place}"] or 0 for row in selected)
                found[feature] = float(total) / known
        return found

    as_maps = {row["cluster"]: row.asDict() for row in rows}
    return {c: means([row]) for c, row in as_maps.items()}, means(list(as_maps.values()))
