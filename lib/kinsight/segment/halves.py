"""Who is measured, and on what: held-out users are grouped by half of their days only.

Where segments are made of bags, a user's own events put him where he is. That members of a segment
do more of what it is named after then holds for any grouping, of pure noise too. So held-out users
are grouped by their even days and measured on their odd ones. Encoder vectors are of whole
histories: where they take part in the grouping, what is measured has taken part in it too.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.segment.blocks import Grouping
from kinsight.segment.fitting import Clustering
from kinsight.segment.inputs import Inputs
from kinsight.segment.members import COLD, assign_users


def measured_members(
    inputs: Inputs, grouping: Grouping, clustering: Clustering, assigned: DataFrame
) -> DataFrame:
    """The members of each cluster, and the days on which each is measured.

    Args:
        inputs: Users and bags of the date.
        grouping: What the users were grouped by.
        clustering: The clusters.
        assigned: user_id, cluster, held_out: one row a user.

    Returns:
        user_id, cluster, held_out, of_odd_days. Without bags in the grouping these are all warm
        users; else held-out users count where their even days put them, and only if they have
        events of the grouping's field on days of both kinds.
    """
    warm = assigned.where(F.col("cluster") != COLD).select("user_id", "cluster", "held_out")
    if grouping.field is None:
        return warm.withColumn("of_odd_days", F.lit(False))
    held_out = warm.where("held_out").select("user_id")
    users = inputs.users.join(held_out, "user_id", "left_semi")
    even = even_days(inputs.bags.join(held_out, "user_id", "left_semi"), grouping.field)
    columns = grouping.columns(users, even).where(F.col("tokens").isNotNull())
    by_even_days = assign_users(columns, grouping, clustering, minimum_events=0)
    return (
        warm.where(~F.col("held_out"))
        .withColumn("of_odd_days", F.lit(False))
        .unionByName(
            by_even_days.select(
                "user_id",
                "cluster",
                F.lit(True).alias("held_out"),
                F.lit(True).alias("of_odd_days"),
            )
        )
    )


def even_days(bags: DataFrame, field: str) -> DataFrame:
    """What users met of a field on even days, if they have events of it on days of both kinds.

    Args:
        bags: Rows of user_bags.
        field: The field.

    Returns:
        user_id and bags, which holds nothing but the field's tokens and counts.
    """
    bag = F.col("bags")[field]
    counts = F.zip_with(bag["counts"], bag["odd_days"], lambda n, of_odd: n - of_odd)
    entries = F.zip_with(
        bag["tokens"], counts, lambda token, n: F.struct(token.alias("token"), n.alias("n"))
    )
    met = F.filter(entries, lambda entry: entry["n"] > 0)
    on_odd = F.exists(bag["odd_days"], lambda n: n > 0)
    of_field = F.struct(met["token"].alias("tokens"), met["n"].alias("counts"))
    return bags.where((F.size(met) > 0) & on_odd).select(
        "user_id", F.create_map(F.lit(field), of_field).alias("bags")
    )
