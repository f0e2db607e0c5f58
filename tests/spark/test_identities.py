"""Whose an event of an anonymous id is: equal to the rule written out in plain Python."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight.sequence import identities
from kinsight.sequence.identities import (
    count_chains,
    count_links,
    links_known_at,
    spans_of,
    with_known_users,
)

FIRST = dt.datetime(2024, 3, 1, tzinfo=dt.timezone.utc)
LINKS = "anonymous_id STRING, user_id STRING, known_from TIMESTAMP, valid_from TIMESTAMP, "
LINKS += "valid_to TIMESTAMP"
EVENTS = "user_id STRING, event_time TIMESTAMP"
Link = tuple[str, str, dt.datetime, dt.datetime, dt.datetime | None]


def moment(number: int) -> dt.datetime:
    return FIRST + dt.timedelta(hours=number)


def owner(links: list[Link], anonymous_id: str, at: dt.datetime, instant: dt.datetime) -> str:
    """The rule of `kinsight.sequence.identities`, for one event."""
    fitting = [
        (-begins.timestamp(), known > at, abs((known - at).total_seconds()), user)
        for cookie, user, known, begins, ends in links
        if cookie == anonymous_id
        and known < instant
        and begins <= at
        and (ends is None or at < ends)
    ]
    return min(fitting)[3] if fitting else anonymous_id


def test_every_event_belongs_to_whom_the_plain_rule_says(spark: SparkSession) -> None:
    rng = random.Random(4)
    links: list[Link] = []
    for _ in range(400):
        begins = rng.choice([-1000, -1000, -1000, rng.randrange(40)])
        ends = rng.choice([None, None, begins + 1 + rng.randrange(30)])
        links.append(
            (
                f"cookie {rng.randrange(60)}",
                f"user {rng.randrange(4)}",
                moment(rng.randrange(50)),
                moment(begins),
                None if ends is None else moment(ends),
            )
        )
    events = [(f"cookie {c}", moment(h)) for c in range(62) for h in range(-2, 52)]
    instant = moment(35)
    spans = spans_of(
        links_known_at(spark.createDataFrame(links, LINKS), instant), moment(-10)
    ).persist()
    window = spark.createDataFrame(events, EVENTS).withColumn("raw", F.col("user_id"))
    found = with_known_users(window, spans).collect()
    assert len(found) == len(events), "no event is lost or doubled"
    utc = dt.timezone.utc
    wrong = [
        row
        for row in found
        if row["user_id"]
        != owner(links, row["raw"], row["event_time"].replace(tzinfo=utc), instant)
    ]
    assert not wrong

    counts = count_links(window, spans)
    linked = [row for row in found if row["user_id"] != row["raw"]]
    assert (counts.events, counts.anonymous_ids) == (len(linked), len({r["raw"] for r in linked}))
    assert 0 < counts.contested_events < counts.events
    assert count_chains(spans) == 0
    spans.unpersist()


def test_repeated_logins_are_one_link_and_terminals_are_nobodys(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "MOST_CHANGES", 10)
    begins = moment(-1000)
    rows: list[Any] = [("phone", "anna", moment(n), begins, None) for n in range(30)]
    rows += [("till", f"user {n % 2}", moment(n), begins, None) for n in range(30)]
    rows += [("tablet", "phone", moment(0), begins, None)]
    links = links_known_at(spark.createDataFrame(rows, LINKS), moment(40))
    sizes = links.select("anonymous_id", F.size("links")).collect()
    assert {row[0]: row[1] for row in sizes} == {"phone": 1, "till": 30, "tablet": 1}
    spans = spans_of(links, moment(-10))
    owners = spans.select("anonymous_id", "known_user", "ends").collect()
    assert sorted(tuple(row) for row in owners) == [
        ("phone", "anna", None),
        ("tablet", "phone", None),
    ]
    assert count_chains(spans) == 1
