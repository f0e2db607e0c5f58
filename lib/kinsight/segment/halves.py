"""Who is measured, and on what: held-out users are grouped by half of their days only.

Where segments are made of bags, a user's own events put him where he is. That members of a segment
do more of what it is named after then holds for any grouping, of pure noise too. So held-out users
are grouped by their even days and measured on their odd ones. Encoder vectors are of whole
histories: where they take part in the grouping, what is measured has taken part in it too.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.segment.blocks import Grouping
from kinsight.segment.fitting import Clustering
from kinsight.segment.inputs import Inputs
from kinsight.segment.members import COLD, assign_users

Days = Literal["all", "even", "odd"]


def measured_members(
    inputs: Inputs, grouping: Grouping, clustering: Clustering, assigned: DataFrame
) -> tuple[DataFrame, npt.NDArray[np.int64]]:
    """The members of each cluster with the bags they are measured on.

    Args:
        inputs: Users and bags of the date.
        grouping: What the users were grouped by.
        clustering: The clusters.
        assigned: user_id, cluster, held_out: one row a user.

    Returns:
        cluster, held_out, bags; and the held-out members of each cluster. Without bags in the
        grouping these are all warm users; else held-out users count where their even days put
        them, and only if they have events of the grouping's field on days of both kinds.
    """
    warm = assigned.where(F.col("cluster") != COLD).select("user_id", "cluster", "held_out")
    held_out = warm.where("held_out")
    if grouping.field is None:
        members = warm.join(bags_of(inputs.bags, "all"), "user_id")
    else:
        has_any = F.size(F.col("bags")[grouping.field]["tokens"]) > 0
        users = inputs.users.join(held_out.select("user_id"), "user_id", "left_semi")
        even = bags_of(inputs.bags, "even").where(has_any)
        columns = grouping.columns(users, even).where(F.col("tokens").isNotNull())
        by_even_days = assign_users(columns, grouping, clustering, minimum_events=0)
        held_out = by_even_days.select("user_id", "cluster", F.lit(True).alias("held_out"))
        held_out = held_out.join(bags_of(inputs.bags, "odd").where(has_any), "user_id")
        fitting = warm.where(~F.col("held_out"))
        members = fitting.join(bags_of(inputs.bags, "all"), "user_id").unionByName(held_out)
    counts = np.zeros(len(clustering.centroids), dtype=np.int64)
    for cluster, users_held_out in held_out.groupBy("cluster").count().collect():
        counts[cluster] = users_held_out
    return members.select("cluster", "held_out", "bags"), counts


def bags_of(bags: DataFrame, days: Days) -> DataFrame:
    """Bags of all, the even or the odd days, without the tokens not met on them.

    Args:
        bags: Rows of user_bags.
        days: Which days.

    Returns:
        user_id, bags: by field the tokens and counts.
    """

    def of_days(bag: Column) -> Column:
        if days == "all":
            return F.struct(bag["tokens"].alias("tokens"), bag["counts"].alias("counts"))
        counts = bag["odd_days"]
        if days == "even":
            counts = F.zip_with(bag["counts"], bag["odd_days"], lambda n, of_odd: n - of_odd)
        entries = F.zip_with(
            bag["tokens"], counts, lambda token, n: F.struct(token.alias("token"), n.alias("n"))
        )
        met = F.filter(entries, lambda entry: entry["n"] > 0)
        return F.struct(met["token"].alias("tokens"), met["n"].alias("counts"))

    by_field = F.transform_values("bags", lambda _, bag: of_days(bag))
    return bags.select("user_id", by_field.alias("bags"))
