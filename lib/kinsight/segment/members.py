"""Assigning every user to a cluster in the executors, and counting the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.errors import IntegrityError
from kinsight.segment.algorithms.assignment import assign
from kinsight.segment.algorithms.space import Space
from kinsight.segment.algorithms.spherical import Floats
from kinsight.segment.blocks import Grouping
from kinsight.segment.fitting import Clustering
from kinsight.segment.lineage import Movement, movement

# Index of users with too few events, beside the clusters 0 to k - 1.
COLD = -1

ASSIGNED = "user_id STRING, cluster INT, second INT, distance DOUBLE, confidence DOUBLE"


@dataclasses.dataclass(frozen=True)
class Parts:
    """Sizes of the clusters in the fitting and the held-out part.

    Attributes:
        fitting: Fitting members of each cluster [k].
        held_out: Held-out members of each cluster [k].
    """

    fitting: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Counted:
    """What one pass over the assigned users tells.

    Attributes:
        users: All users, cold ones too.
        parts: Sizes of the clusters by part.
        cohesion: Mean cosine of the members of each cluster to its centroid [k].
        movement: Users by cluster and segment of the previous date.
    """

    users: int
    parts: Parts
    cohesion: npt.NDArray[np.float64]
    movement: Movement


def assign_users(
    users: DataFrame,
    grouping: Grouping,
    clustering: Clustering,
    minimum_events: int,
    also: Sequence[str] = (),
) -> DataFrame:
    """The cluster of each user, with distance, confidence and second-best cluster.

    Args:
        users: user_id, events_used and the columns of the grouping: one row a user.
        grouping: How the blocks are read.
        clustering: The space and centroids; they travel to the executors with the function.
        minimum_events: Users with fewer events get cluster -1 and no other value.
        also: Further columns to carry over.

    Returns:
        A row for each of ``users`` with the columns of ``ASSIGNED`` and those carried over.
    """
    assigner = _assigner(grouping, clustering.space, clustering.centroids, minimum_events, also)
    carried = [f"{name} {users.schema[name].dataType.simpleString()}" for name in also]
    return users.mapInArrow(assigner, ", ".join([ASSIGNED, *carried]))


def _assigner(
    grouping: Grouping,
    space: Space,
    centroids: Floats,
    minimum_events: int,
    also: Sequence[str],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def assign_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = assign(space.points(grouping.read(batch)), centroids)
            cold = batch.column("events_used").to_numpy() < minimum_events
            yield pa.RecordBatch.from_arrays(
                [
                    batch.column("user_id"),
                    pa.array(np.where(cold, COLD, found.nearest), pa.int32()),
                    pa.array(found.second, pa.int32(), mask=cold),
                    pa.array(found.distance, pa.float64(), mask=cold),
                    pa.array(found.confidence, pa.float64(), mask=cold),
                    *(batch.column(name) for name in also),
                ],
                names=["user_id", "cluster", "second", "distance", "confidence", *also],
            )

    return assign_batches


def count_assigned(assigned: DataFrame, previous: DataFrame | None, clusters: int) -> Counted:
    """Count users by cluster, part and segment of the previous date.

    Args:
        assigned: user_id, cluster, held_out, distance: one row a user.
        previous: user_id, previous (segment id) of the previous date; None on the first.
        clusters: Number of clusters.

    Raises:
        IntegrityError: If a vector had values that are not finite.
    """
    if previous is None:
        joined = assigned.withColumn("previous", F.lit(None).cast("string"))
    else:
        joined = assigned.join(previous, "user_id", "full")
    distance = F.when(F.isnan("distance"), None).otherwise(F.col("distance"))
    rows = (
        joined.groupBy("cluster", "held_out", "previous")
        .agg(
            F.count("*").alias("users"),
            F.count(distance).alias("measured"),
            # Decimals sum exactly in any order.
            F.sum(distance.cast("decimal(12,9)")).alias("distance"),
        )
        .collect()
    )
    today = [row for row in rows if row["cluster"] is not None]
    lost = sum(row["users"] - row["measured"] for row in today if row["cluster"] != COLD)
    if lost:
        raise IntegrityError(
            "Some vectors in table embeddings cannot be compared.",
            expected="finite numbers",
            found=f"{lost} users without a distance to their segment",
            to_do="run `kinsight embed` again; train anew if that does not help",
        )
    sizes = np.zeros((2, clusters), dtype=np.int64)
    distances = np.zeros(clusters)
    for row in today:
        if row["cluster"] != COLD:
            sizes[int(row["held_out"]), row["cluster"]] += row["users"]
    for cluster in range(clusters):
        total = sum(row["distance"] for row in today if row["cluster"] == cluster)
        distances[cluster] = float(total)
    return Counted(
        sum(row["users"] for row in today),
        Parts(sizes[0], sizes[1]),
        1.0 - distances / np.maximum(sizes.sum(axis=0), 1),
        movement(((r["cluster"], r["previous"], r["users"]) for r in rows), clusters),
    )
