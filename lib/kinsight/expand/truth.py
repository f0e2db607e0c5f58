"""How well a ranking finds a hidden truth. Nothing that ranks ever reads it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.expand.fitting import Expansion
from kinsight.expand.measures import FloatArray, auc_of_counts
from kinsight.expand.roles import RANKED, TRUTH
from kinsight.expand.roster import Roster


def truth_metrics(
    roster: Roster, ranked: DataFrame, expansions: Sequence[Expansion]
) -> dict[str, float]:
    """Metrics of each audience with a hidden truth, over all its ranked users (no seeds).

    Args:
        roster: The users and their roles.
        ranked: Rows of executor.NUMBERED, all hidden truths among them.
        expansions: The audiences.

    Returns:
        NAME.truth_users (how many could be found), NAME.truth_auc, NAME.truth_activity_auc, and
        NAME.truth_recall beside NAME.truth_random_recall at the reference level.
    """
    metrics: dict[str, float] = {}
    ranks = _ranks_of_truth(ranked, expansions)
    for expansion in expansions:
        name, counts = expansion.audience.name, expansion.audience.counts
        if name not in ranks:
            continue
        found, rank_sum, reached = ranks[name]
        others = counts.ranked - found
        by_events = _users_by_events(roster, name)
        outranked = found * others + found * (found + 1) / 2 - rank_sum
        metrics |= {
            f"{name}.truth_users": float(found),
            f"{name}.truth_auc": outranked / (found * others),
            f"{name}.truth_activity_auc": auc_of_counts(by_events[:, 1], by_events[:, 0]),
            f"{name}.truth_recall": reached / found,
            f"{name}.truth_random_recall": expansion.reference.share,
        }
    return metrics


def _ranks_of_truth(
    ranked: DataFrame, expansions: Sequence[Expansion]
) -> dict[str, tuple[int, int, int]]:
    """By audience: truths ranked, the sum of their ranks, those within the reference level."""
    measured = {
        e.audience.name: e.reference.reach for e in expansions if e.audience.definition.truth
    }
    if not measured:
        return {}
    reach = F.create_map(*(F.lit(part) for pair in measured.items() for part in pair))
    rows = (
        ranked.where(F.col("is_truth") & ~F.col("is_seed"))
        .groupBy("audience")
        .agg(F.count("*"), F.sum("rank"), F.count_if(F.col("rank") <= reach[F.col("audience")]))
    )
    return {row[0]: (row[1], row[2], row[3]) for row in rows.collect()}


def _users_by_events(roster: Roster, name: str) -> FloatArray:
    """Others and truths among the ranked users by number of events, ascending [values, 2]."""
    is_truth = F.col("roles")[roster.names.index(name)].bitwiseAND(TRUTH) > 0
    rows = (
        roster.frame.where(roster.role(name) == RANKED)
        .groupBy("events")
        .agg(F.count_if(~is_truth), F.count_if(is_truth))
        .orderBy("events")
        .collect()
    )
    return np.array([(row[1], row[2]) for row in rows], dtype=np.float64)
