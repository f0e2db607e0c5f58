"""Further segments of users with several vectors: one for each thing that they are after.

Source: Cen et al., ComiRec (arXiv 2005.09347), for users with several interests. Segments are made
of the main interest of each user, and so are names, sizes and rules. The others are then assigned
to the nearest segment: a user belongs to as many segments as his interests lie in.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kinsight.segment.blocks import Grouping
from kinsight.segment.fitting import Clustering
from kinsight.segment.inputs import Inputs
from kinsight.segment.members import COLD, assign_users


def further_memberships(
    inputs: Inputs,
    grouping: Grouping,
    clustering: Clustering,
    assigned: DataFrame,
    minimum_events: int,
) -> DataFrame | None:
    """The segments of users' further interests, each segment of a user once.

    Args:
        inputs: Users, their further interests and bags of the date.
        grouping: What the users were grouped by.
        clustering: The clusters.
        assigned: user_id, cluster: the main one of each user.
        minimum_events: Users with fewer events are cold, and cold alone.

    Returns:
        user_id, membership_rank from 1 in the order of the interests, cluster, second, distance,
        confidence; None where users have one vector, or are grouped without vectors.
    """
    if inputs.further is None or not grouping.vectors:
        return None
    columns = grouping.columns(inputs.further, inputs.bags, also=["interest"])
    found = assign_users(columns, grouping, clustering, minimum_events, also=["interest"])
    # The first interest that lies in a segment stands for all of the user's that do.
    first = Window.partitionBy("user_id", "cluster").orderBy("interest")
    distinct = found.where(F.col("cluster") != COLD).withColumn("n", F.row_number().over(first))
    main = assigned.select("user_id", "cluster")
    others = distinct.where(F.col("n") == 1).join(main, ["user_id", "cluster"], "left_anti")
    rank = F.row_number().over(Window.partitionBy("user_id").orderBy("interest"))
    return others.select(
        "user_id",
        rank.alias("membership_rank"),
        "cluster",
        "second",
        "distance",
        "confidence",
    )
