"""Anonymous ids that became known users: whose an event is, as of an instant.

A link (a row of table identities) is seen only if it became known before the as-of instant, so a
login does not tell an earlier date whose the clicks before it were. Of several links that cover an
event of one anonymous id these count, in this order: the latest valid_from; the last one known at
the time of the event, else the first one after it (the last login before a click, or the next
one); the smallest user_id. Links are applied once: an id that is linked to another anonymous id
stops there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

MOST_CHANGES = 100
"""An id that changed hands more often is a terminal of many (a till, a library), nobody's own."""


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

    A log of logins tells the same over and over: what became known at one time is left out if it
    is just what became known the time before.

    Args:
        identities: Table identities.
        instant: The as-of instant.

    Returns:
        anonymous_id and links, an array of structs (valid_from, known_from: microseconds since
        1970; user_id; valid_to).
    """
    micros = [F.unix_micros(t).alias(t) for t in ("valid_from", "valid_to", "known_from")]
    told = (
        identities.where(F.col("known_from") < F.lit(instant))
        # All that follows looks at one anonymous id at a time: one shuffle.
        .repartition("anonymous_id")
        .select("anonymous_id", "user_id", *micros)
        .groupBy("anonymous_id", "valid_from", "known_from")
        .agg(F.sort_array(F.collect_set(F.struct("user_id", "valid_to"))).alias("told"))
    )
    in_time = Window.partitionBy("anonymous_id", "valid_from").orderBy("known_from")
    links = F.transform(
        "told",
        lambda link: F.struct(
            F.col("valid_from"),
            F.col("known_from"),
            link["user_id"].alias("user_id"),
            link["valid_to"].alias("valid_to"),
        ),
    )
    return (
        told.withColumn("before", F.lag("told").over(in_time))
        .where(~F.col("told").eqNullSafe(F.col("before")))
        .groupBy("anonymous_id")
        .agg(F.flatten(F.collect_list(links)).alias("links"))
    )


def is_terminal() -> Column:
    """Whether an id of :func:`links_known_at` changed hands too often to be a person's."""
    return F.size("links") > MOST_CHANGES


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
