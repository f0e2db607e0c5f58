"""Which cluster of today is which segment of the previous date, by the members they share.

Centroids are not compared: a retrained encoder turns the space, members stay.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

# A split or merge is told when more than half of all members went one way.
MOST = 0.5


@dataclasses.dataclass(frozen=True)
class Link:
    """How one segment passed from the previous date to this one.

    Attributes:
        kind: continued, split, born, merged or retired.
        previous: Index of the previous segment; None where born.
        cluster: Index of the cluster of today; None where retired.
        users_common: Users in both.
        overlap: Jaccard index of the members known at both dates.
    """

    kind: str
    previous: int | None
    cluster: int | None
    users_common: int
    overlap: float


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """Users by cluster of today and segment of the previous date.

    Attributes:
        common: Users in cluster i and previous segment j [k, p].
        known: Members of each cluster who were known at the previous date [k].
        previous_known: Members of each previous segment who are known today [p].
        sizes: All members of each cluster [k].
        previous_sizes: All members of each previous segment [p].
    """

    common: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]
    previous_known: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    previous_sizes: npt.NDArray[np.int64]

    def jaccard(self) -> npt.NDArray[np.float64]:
        """Users in both over users in either, among users known at both dates [k, p]."""
        either = self.known[:, None] + self.previous_known[None, :] - self.common
        return np.asarray(self.common / np.maximum(either, 1))


def match(found: Overlaps, threshold: float) -> list[Link]:
    """Link every cluster and every previous segment.

    Pairs are chosen to maximise the sum of Jaccard indices (Hungarian method) over pairs at or
    above the threshold; these continue. Another cluster is a split if most of its members came
    from a segment that continues elsewhere, else born. Another previous segment merged if most
    of its members went to one cluster, else it is retired.

    Args:
        found: Users by cluster and previous segment.
        threshold: Least Jaccard index of a segment that continues.

    Returns:
        One link a cluster, then one a previous segment that does not continue.
    """
    common, overlap = found.common, found.jaccard()
    eligible = np.where(overlap >= threshold, overlap, 0.0)
    continued = {
        int(i): int(j)
        for i, j in zip(*linear_sum_assignment(-eligible), strict=True)
        if eligible[i, j] > 0
    }

    def link(kind: str, previous: int, cluster: int) -> Link:
        users = int(common[cluster, previous])
        return Link(kind, previous, cluster, users, float(overlap[cluster, previous]))

    links = []
    for cluster in range(common.shape[0]):
        source = int(common[cluster].argmax()) if common.shape[1] else None
        if cluster in continued:
            links.append(link("continued", continued[cluster], cluster))
        elif (
            source is not None
            and source in continued.values()
            and common[cluster, source] > MOST * found.sizes[cluster]
        ):
            links.append(link("split", source, cluster))
        else:
            links.append(Link("born", None, cluster, 0, 0.0))
    for previous in range(common.shape[1]):
        if previous in continued.values():
            continue
        target = int(common[:, previous].argmax())
        if common[target, previous] > MOST * found.previous_sizes[previous]:
            links.append(link("merged", previous, target))
        else:
            links.append(Link("retired", previous, None, 0, 0.0))
    return links
