"""Ranks over all users without bringing them to one task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.expand.executor import NUMBERED, rank_batches
from kinsight.expand.fitting import Expansion

PlacedCounts = Mapping[tuple[int, str], int]
"""Partition and audience to ranked users."""


def place_users(scored: DataFrame) -> DataFrame:
    """Sort scored users over range partitions: by audience, best first, ties by the id's hash.

    Args:
        scored: Rows of executor.SCORED.

    Returns:
        The same with the number of the partition; to be persisted, since ranks rest on it.
    """
    order = [F.col("audience"), F.col("score").desc(), F.col("tie"), F.col("user_id")]
    sorted_rows = scored.repartitionByRange(*order).sortWithinPartitions(*order)
    return sorted_rows.withColumn("partition", F.spark_partition_id())


def count_placed(placed: DataFrame) -> PlacedCounts:
    """Count the ranked users of each audience in each partition, in one small job."""
    counted = placed.where(~F.col("is_seed")).groupBy("partition", "audience").count()
    return {(row[0], row[1]): row[2] for row in counted.collect()}


def reach_is_filled(counts: PlacedCounts, expansions: Iterable[Expansion]) -> bool:
    """Whether enough users passed the thresholds to fill the largest level of every audience."""
    users: Counter[str] = Counter()
    for (_, audience), count in counts.items():
        users[audience] += count
    return all(users[e.audience.name] >= e.levels[-1].reach for e in expansions)


def rank_users(
    placed: DataFrame, counts: PlacedCounts, expansions: Sequence[Expansion]
) -> DataFrame:
    """Number the placed users of every audience, each partition from where the last one ended.

    No task sees all users of an audience.

    Args:
        placed: Persisted rows of :func:`place_users`.
        counts: What :func:`count_placed` found in them.
        expansions: The audiences.

    Returns:
        Rows of executor.NUMBERED: the members, and hidden truths whatever their rank, with an
        empty level beyond the largest. Kept seeds have rank 0.
    """
    offsets = partition_offsets(counts)
    levels = {e.audience.name: [(v.name, v.reach) for v in e.levels] for e in expansions}
    ranked = {e.audience.name: e.audience.counts.ranked for e in expansions}
    memberships = {e.audience.name: e.membership for e in expansions}

    def rank(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return rank_batches(batches, offsets, levels, ranked, memberships)

    return placed.mapInArrow(rank, NUMBERED)


def partition_offsets(counts: PlacedCounts) -> dict[tuple[int, str], int]:
    """Ranked users of an audience in the partitions before each one."""
    before: dict[str, int] = {}
    offsets = {}
    for (partition, audience), users in sorted(counts.items()):
        offsets[partition, audience] = before.get(audience, 0)
        before[audience] = offsets[partition, audience] + users
    return offsets
