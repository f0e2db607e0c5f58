"""Stable ids: today's clusters get the ids of the segments that they continue."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterable

import numpy as np

from kinsight.segment.algorithms.matching import Link, Overlaps, match

COLD_ID = "cold"


@dataclasses.dataclass(frozen=True)
class Ids:
    """The ids of today's clusters and how they came from the previous date.

    Attributes:
        of_cluster: Id of each cluster [k].
        lineage: Rows of segment_lineage without the columns of the producer key.
    """

    of_cluster: tuple[str, ...]
    lineage: tuple[dict[str, object], ...]


@dataclasses.dataclass(frozen=True)
class Movement:
    """Where users were at the previous date and are today.

    Attributes:
        previous_ids: Ids of the previous date's segments, cold aside, sorted [p].
        overlaps: Users by cluster and previous segment; cold ones count as known.
    """

    previous_ids: tuple[str, ...]
    overlaps: Overlaps


def movement(counts: Iterable[tuple[int | None, str | None, int]], clusters: int) -> Movement:
    """Arrange counts of users by (cluster, previous id) as matrices.

    Args:
        counts: Cluster of today (-1 for cold, None for users who are gone), segment of the
            previous date (None for users not known then), users.
        clusters: Number of clusters.
    """
    counts = list(counts)
    ids = tuple(sorted({previous for _, previous, _ in counts if previous} - {COLD_ID}))
    place = {segment_id: j for j, segment_id in enumerate(ids)}
    sizes, known = (np.zeros(clusters, dtype=np.int64) for _ in range(2))
    previous_sizes, previous_known = (np.zeros(len(ids), dtype=np.int64) for _ in range(2))
    common = np.zeros((clusters, len(ids)), dtype=np.int64)
    for cluster, previous, users in counts:
        is_cluster = cluster is not None and cluster >= 0
        if is_cluster:
            sizes[cluster] += users
            known[cluster] += users if previous is not None else 0
        if previous in place:
            previous_sizes[place[previous]] += users
            previous_known[place[previous]] += users if cluster is not None else 0
            if is_cluster:
                common[cluster, place[previous]] += users
    return Movement(ids, Overlaps(common, known, previous_known, sizes, previous_sizes))


def stable_ids(
    found: Movement, taken: Iterable[str], previous_as_of: dt.date | None, threshold: float
) -> Ids:
    """Give each cluster the id of the segment that it continues, or a new one.

    Args:
        found: Users by cluster and previous segment.
        taken: Every id that this segmentation ever gave.
        previous_as_of: The date compared with; None on the first.
        threshold: Least Jaccard index of a segment that continues.
    """
    links = match(found.overlaps, threshold)
    of_cluster = {
        link.cluster: found.previous_ids[link.previous]
        for link in links
        if link.kind == "continued" and link.previous is not None
    }
    sizes = found.overlaps.sizes
    number = max((_number(i) for i in (*taken, *found.previous_ids)), default=0)
    for cluster in np.argsort(-sizes, kind="stable").tolist():
        if cluster not in of_cluster:
            number += 1
            of_cluster[cluster] = f"s{number:02d}"

    def row(link: Link) -> dict[str, object]:
        return {
            "previous_as_of": previous_as_of,
            "previous_id": None if link.previous is None else found.previous_ids[link.previous],
            "segment_id": None if link.cluster is None else of_cluster[link.cluster],
            "kind": link.kind,
            "users_common": link.users_common,
            "overlap": link.overlap,
        }

    ids = tuple(of_cluster[cluster] for cluster in range(len(sizes)))
    return Ids(ids, tuple(row(link) for link in links))


def _number(segment_id: str) -> int:
    """The number in an id such as s07; 0 for ids of another form."""
    numbered = re.fullmatch(r"s(\d+)", segment_id)
    return int(numbered[1]) if numbered else 0
