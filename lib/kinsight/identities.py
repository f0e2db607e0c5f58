"""Anonymous ids that became known users: whose an event is, as of an instant.

A link (a row of table identities) is seen only if it became known before the as-of instant, so a
login does not tell an earlier date whose the clicks before it were. Of several links that cover an
event of one anonymous id these count, in this order: the latest valid_from; the last one known at
the time of the event, else the first one after it (the last login before a click, or the next
one); the smallest user_id. Links are applied once: an id that is linked to another anonymous id
stops there.

A log only grows, so a link is closed by telling it once more: of the rows with one anonymous_id,
user_id and valid_from the one that became known last decides valid_to. A row that tells another
valid_to than the row before it is such a correction, no login of its own.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

MOST_CHANGES = 100
"""An id of more users, or that changed hands more often, is a terminal of many (a till, a library,
an id such as `undefined`), nobody's own."""
MOST_LINKS = 10 * MOST_CHANGES
"""Of several users at one time; with more of them an id is a terminal too. Links of one user that
follow each other count once."""

_FOREVER = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class LinkCounts:
    """What the links did to the events of a window.

    Attributes:
        anonymous_ids: Anonymous ids with events that count for a user.
        events: Such events.
        contested_ids: Those of them with events that links of several users cover.
        contested_events: Such events.
    """

    anonymous_ids: int
    events: int
    contested_ids: int
    contested_events: int


def links_known_at(identities: DataFrame, instant: dt.datetime) -> DataFrame:
    """The links of each anonymous id that an as-of instant may see.

    A log of logins tells the same over and over: what does not change whose an event is, is left
    out. Terminals are found and cut before any of their links are brought together.

    Args:
        identities: Table identities.
        instant: The as-of instant.

    Returns:
        anonymous_id and links, an array of structs (valid_from, known_from: microseconds since
        1970; user_id; valid_to). A row for links that overlap in time, so an id may have several.
        Of a terminal links is null.
    """
    micros = [F.unix_micros(t).alias(t) for t in ("valid_from", "valid_to", "known_from")]
    known = identities.where(F.col("known_from") < F.lit(instant)).select(
        "anonymous_id", "user_id", *micros
    )
    owners = known.select("anonymous_id", "user_id").distinct().groupBy("anonymous_id").count()
    crowds = owners.where(F.col("count") > MOST_CHANGES).select("anonymous_id")
    known = known.join(F.broadcast(crowds), "anonymous_id", "left_anti")
    # All that follows looks at one anonymous id at a time: one shuffle.
    told = _settled(_told(_corrected(known.repartition("anonymous_id"))))
    return _overlapping(_merged(told)).unionByName(crowds, allowMissingColumns=True)


def _corrected(known: DataFrame) -> DataFrame:
    """One row a login, each with the valid_to that was told last."""
    link = Window.partitionBy("anonymous_id", "user_id", "valid_from")
    in_time = link.orderBy("known_from")
    told_before = F.lag(F.struct("valid_to")).over(in_time)
    is_login = told_before.isNull() | told_before["valid_to"].eqNullSafe(F.col("valid_to"))
    # Of two ends that were told at one time the later one counts.
    longest = F.max(F.coalesce(F.col("valid_to"), F.lit(_FOREVER)))
    return (
        known.groupBy("anonymous_id", "user_id", "valid_from", "known_from")
        .agg(F.nullif(longest, F.lit(_FOREVER)).alias("valid_to"))
        .withColumn("is_login", is_login)
        .withColumn("valid_to", F.max_by("valid_to", "known_from").over(link))
        .where("is_login")
    )


def _told(logins: DataFrame) -> DataFrame:
    """anonymous_id, valid_from, known_from, told: what became known at a time, if it is news."""
    in_time = Window.partitionBy("anonymous_id", "valid_from").orderBy("known_from")
    return (
        logins.groupBy("anonymous_id", "valid_from", "known_from")
        .agg(F.sort_array(F.collect_set(F.struct("user_id", "valid_to"))).alias("told"))
        .withColumn("before", F.lag("told").over(in_time))
        .where(~F.col("told").eqNullSafe(F.col("before")))
        .drop("before")
    )


def _settled(told: DataFrame) -> DataFrame:
    """The same, but of an id that went to other users too often only one row, told null."""
    each = Window.partitionBy("anonymous_id")
    in_order = each.orderBy("valid_from", "known_from")
    users = F.col("told")["user_id"]
    before = F.lag(users).over(in_order)
    is_calm = F.count_if("is_change").over(each) <= MOST_CHANGES
    return (
        told.withColumn("is_change", before.isNotNull() & (before != users))
        .withColumn("is_calm", is_calm)
        .withColumn("number", F.row_number().over(in_order))
        .where(F.col("is_calm") | (F.col("number") == 1))
        .withColumn("told", F.when(F.col("is_calm"), F.col("told")))
        .drop("is_change", "is_calm", "number")
    )


def _merged(told: DataFrame) -> DataFrame:
    """anonymous_id, valid_from, ends, links: those of one valid_from.

    Links of one user that overlap or adjoin, and that no other link begins between, are one.
    """
    links = F.transform(
        "told",
        lambda link: F.struct(
            F.col("valid_from"),
            F.col("known_from"),
            link["user_id"].alias("user_id"),
            link["valid_to"].alias("valid_to"),
        ),
    )
    begun = told.groupBy("anonymous_id", "valid_from").agg(
        F.flatten(F.collect_list(links)).alias("links")
    )
    in_order = Window.partitionBy("anonymous_id").orderBy("valid_from")
    sole = F.when(F.size("links") == 1, F.get("links", F.lit(0))["user_id"])
    of_sole = Window.partitionBy("anonymous_id", "turn").orderBy("valid_from")
    is_same = F.coalesce(F.col("sole") == F.lag("sole").over(in_order), F.lit(False))
    ends = F.array_max(F.transform("links", lambda k: F.coalesce(k["valid_to"], F.lit(_FOREVER))))
    earlier = of_sole.rowsBetween(Window.unboundedPreceding, -1)
    is_apart = F.coalesce(F.col("valid_from") > F.max("ends").over(earlier), F.lit(False))
    longer = F.transform(
        "links", lambda link: link.withField("valid_to", F.nullif(F.col("ends"), F.lit(_FOREVER)))
    )
    return (
        begun.withColumn("sole", sole)
        .withColumn("ends", ends)
        .withColumn("is_turn", ~is_same)
        .withColumn("turn", F.count_if("is_turn").over(in_order))
        .withColumn("is_apart", is_apart)
        .withColumn("part", F.count_if("is_apart").over(of_sole))
        .groupBy("anonymous_id", "turn", "part", "sole")
        .agg(
            F.min_by("links", "valid_from").alias("links"),
            F.min("valid_from").alias("valid_from"),
            F.max("ends").alias("ends"),
        )
        .withColumn("links", F.when(F.col("sole").isNull(), F.col("links")).otherwise(longer))
        .drop("turn", "part", "sole")
    )


def _overlapping(merged: DataFrame) -> DataFrame:
    """anonymous_id and the links of each stretch of time without a gap; null of a terminal."""
    in_order = Window.partitionBy("anonymous_id").orderBy("valid_from")
    earlier = in_order.rowsBetween(Window.unboundedPreceding, -1)
    is_apart = F.coalesce(F.col("valid_from") >= F.max("ends").over(earlier), F.lit(False))
    stretch = Window.partitionBy("anonymous_id", "stretch")
    links = F.when(F.col("size") <= MOST_LINKS, F.col("links"))
    return (
        merged.withColumn("is_apart", is_apart)
        .withColumn("stretch", F.count_if("is_apart").over(in_order))
        .withColumn("size", F.sum(F.size("links")).over(stretch))
        .withColumn("links", links)
        .groupBy("anonymous_id", "stretch", "size")
        .agg(F.flatten(F.collect_list("links")).alias("links"))
        .select("anonymous_id", F.when(F.size("links") > 0, F.col("links")).alias("links"))
    )


def is_terminal() -> Column:
    """Whether an id of :func:`links_known_at` changed hands too often to be a person's."""
    return F.col("links").isNull()


def spans_of(links: DataFrame, start: dt.datetime) -> DataFrame:
    """For each anonymous id the times when it is one user's; none overlap.

    Args:
        links: See :func:`links_known_at`; terminals are left out.
        start: Spans that end by then are left out.

    Returns:
        anonymous_id, known_user, starts, ends (null: no end), is_contested (links of other users
        cover the span too).
    """
    own = F.when(F.size("links") > 1, F.transform("links", lambda link: link["known_from"]))
    edges = F.flatten(
        F.array(
            F.transform("links", lambda link: link["valid_from"]),
            F.transform("links", lambda link: link["valid_to"]),
            # Who owns an event may change where a link becomes known, if there is another.
            F.coalesce(own, F.array().cast("array<bigint>")),
        )
    )
    edges = F.array_sort(F.array_distinct(F.array_compact(edges)))

    def covers(link: Column) -> Column:
        ends = link["valid_to"]
        return (link["valid_from"] <= F.col("edge")) & (ends.isNull() | (ends > F.col("edge")))

    def rank(link: Column) -> Column:
        is_later = link["known_from"] > F.col("edge")
        distance = F.when(is_later, link["known_from"]).otherwise(-link["known_from"])
        return F.struct(-link["valid_from"], is_later, distance, link["user_id"].alias("user_id"))

    users = F.array_distinct(F.transform("covering", lambda link: link["user_id"]))
    ends = F.timestamp_micros(F.get("edges", F.col("place") + 1))
    return (
        links.where(~is_terminal())
        .withColumn("edges", edges)
        .select("anonymous_id", "links", "edges", F.posexplode("edges").alias("place", "edge"))
        .withColumn("covering", F.filter("links", covers))
        .select(
            "anonymous_id",
            F.array_min(F.transform("covering", rank))["user_id"].alias("known_user"),
            F.timestamp_micros("edge").alias("starts"),
            ends.alias("ends"),
            (F.size(users) > 1).alias("is_contested"),
        )
        .where(F.col("known_user").isNotNull())
        .where(F.col("ends").isNull() | (F.col("ends") > F.lit(start)))
    )


def count_links(window: DataFrame, spans: DataFrame) -> LinkCounts:
    """What :func:`with_known_users` changes in a window."""
    by_id = (
        window.join(spans, _is_in_span(window, spans))
        .groupBy("anonymous_id")
        .agg(F.count("*").alias("events"), F.count_if("is_contested").alias("contested"))
    )
    row = by_id.agg(
        F.count("*"),
        F.coalesce(F.sum("events"), F.lit(0)),
        F.count_if(F.col("contested") > 0),
        F.coalesce(F.sum("contested"), F.lit(0)),
    ).first()
    return LinkCounts(*row) if row is not None else LinkCounts(0, 0, 0, 0)


def count_chains(spans: DataFrame) -> int:
    """Anonymous ids that are linked to ids which are themselves anonymous."""
    anonymous = spans.select(F.col("anonymous_id").alias("known_user")).distinct()
    linked = spans.join(anonymous, "known_user", "left_semi")
    return linked.select("anonymous_id").distinct().count()


def with_known_users(window: DataFrame, spans: DataFrame) -> DataFrame:
    """The events of a window under the ids of known users, other columns as they were.

    Args:
        window: Events.
        spans: See :func:`spans_of`; marked for broadcast, nothing is shuffled.
    """
    joined = window.join(spans, _is_in_span(window, spans), "left")
    user = F.coalesce(spans["known_user"], window["user_id"]).alias("user_id")
    return joined.select(*(user if c == "user_id" else window[c] for c in window.columns))


def _is_in_span(window: DataFrame, spans: DataFrame) -> Column:
    time = window["event_time"]
    in_time = (time >= spans["starts"]) & (spans["ends"].isNull() | (time < spans["ends"]))
    return (window["user_id"] == spans["anonymous_id"]) & in_time
