"""Listed anonymous ids and the users whom identities link them to, as of the instant."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.identities import links_known_at, spans_of


@dataclasses.dataclass(frozen=True)
class Identities:
    """Table identities and the as-of instant, which sees what became known before it."""

    rows: DataFrame
    instant: dt.datetime

    def ever(self) -> DataFrame:
        """anonymous_id, known_user: all users whom an id was ever linked to, terminals' too."""
        known = self.rows.where(F.col("known_from") < F.lit(self.instant))
        return known.select("anonymous_id", F.col("user_id").alias("known_user")).distinct()

    def current(self, ids: DataFrame) -> DataFrame:
        """anonymous_id, known_user: whose the ids (user_id) are at the instant, one user each."""
        ids = ids.select(F.col("user_id").alias("anonymous_id")).distinct()
        links = links_known_at(self.rows.join(ids, "anonymous_id", "left_semi"), self.instant)
        spans = spans_of(links, self.instant).where(F.col("starts") <= F.lit(self.instant))
        return spans.select("anonymous_id", "known_user")


def with_linked_users(
    entries: DataFrame, identities: Identities, cautious: Sequence[int]
) -> DataFrame:
    """The ids of lists, anonymous ones counting for the users whom they are linked to.

    Args:
        entries: list, user_id, rows.
        identities: What links the ids.
        cautious: Lists that keep people out: an id stays and counts for all users whom it was ever
            linked to. In the others it counts for its present user, instead of itself.

    Returns:
        list, user_id, rows (0 where only a link brought the user), linked (listed ids that were
        linked to a user).
    """
    is_cautious = F.col("list").isin(list(cautious))
    others = entries.where(~is_cautious)
    current = identities.current(others)
    others = others.join(current, others["user_id"] == current["anonymous_id"], "left").select(
        "list",
        F.coalesce("known_user", "user_id").alias("user_id"),
        "rows",
        F.when(F.col("known_user").isNotNull(), 1).otherwise(0).alias("linked"),
    )
    out, ever = entries.where(is_cautious), identities.ever()
    users = ever.groupBy("anonymous_id").agg(F.collect_set("known_user").alias("users"))
    users = users.withColumnRenamed("anonymous_id", "user_id")
    out = out.join(users, "user_id", "left")
    is_linked = F.col("users").isNotNull()
    own = out.select("list", "user_id", "rows", F.when(is_linked, 1).otherwise(0).alias("linked"))
    theirs = out.select(
        "list",
        F.explode("users").alias("user_id"),
        F.lit(0).alias("rows"),
        F.lit(0).alias("linked"),
    )
    together = others.unionByName(own).unionByName(theirs).groupBy("list", "user_id")
    return together.agg(F.sum("rows").alias("rows"), F.sum("linked").alias("linked"))


def with_refusals(users: DataFrame, identities: Identities) -> DataFrame:
    """Attributes and consent of users; a refusal of an anonymous id is its users' too.

    Args:
        users: user_id, attributes, consent: the newest value of each key.
        identities: What links the ids: all users ever linked to one.

    Returns:
        The same columns, with a row for users who have only such a refusal.
    """
    refused = users.select(
        F.col("user_id").alias("anonymous_id"),
        F.explode(F.map_keys(F.map_filter("consent", lambda _, given: ~given))).alias("key"),
    )
    told = refused.join(identities.ever(), "anonymous_id").groupBy("known_user")
    keys = told.agg(F.collect_set("key").alias("refused"))
    joined = users.join(keys.withColumnRenamed("known_user", "user_id"), "user_id", "full")
    none = F.array().cast("array<string>")
    no = F.transform(F.coalesce("refused", none), lambda _: F.lit(False))
    own = F.map_filter("consent", lambda key, _: ~F.array_contains("refused", key))
    consent = F.map_concat(
        F.coalesce(own, F.create_map().cast("map<string,boolean>")),
        F.map_from_arrays("refused", no),
    )
    consent = F.when(F.col("refused").isNull(), F.col("consent")).otherwise(consent)
    return joined.select("user_id", "attributes", consent.alias("consent"))
