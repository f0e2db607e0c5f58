"""Whose an event of an anonymous id is: equal to the rule written out in plain Python."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight import identities, lookup
from kinsight.dates import AsOf
from kinsight.identities import (
    count_chains,
    count_links,
    is_terminal,
    links_known_at,
    spans_of,
    with_known_users,
)

FIRST = dt.datetime(2024, 3, 1, tzinfo=dt.timezone.utc)
LINKS = "anonymous_id STRING, user_id STRING, known_from TIMESTAMP, valid_from TIMESTAMP, "
LINKS += "valid_to TIMESTAMP"
EVENTS = "user_id STRING, event_time TIMESTAMP"
FOREVER = dt.datetime(9999, 1, 1, tzinfo=dt.timezone.utc)
Link = tuple[str, str, dt.datetime, dt.datetime, dt.datetime | None]


def moment(number: float) -> dt.datetime:
    return FIRST + dt.timedelta(hours=number)


def owner(links: list[Link], anonymous_id: str, at: dt.datetime, instant: dt.datetime) -> str:
    """The rule of `kinsight.identities`, for one event."""
    by_link: dict[Any, dict[dt.datetime, dt.datetime]] = {}
    for cookie, user, known, begins, ends in links:
        if cookie == anonymous_id and known < instant:
            told = by_link.setdefault((user, begins), {})
            told[known] = max(told.get(known, begins), ends or FOREVER)
    fitting = []
    for (user, begins), told in by_link.items():
        in_time = sorted(told)
        corrections = {b for a, b in itertools.pairwise(in_time) if told[a] != told[b]}
        if begins <= at < told[in_time[-1]]:
            fitting += [
                (-begins.timestamp(), known > at, abs((known - at).total_seconds()), user)
                for known in set(in_time) - corrections
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
    monkeypatch.setattr(identities, "MOST_LINKS", 20)
    begins = moment(-1000)
    rows: list[Any] = [("phone", "anna", moment(n), begins, None) for n in range(30)]
    rows += [("till", f"user {n % 2}", moment(n), begins, None) for n in range(30)]
    rows += [("shared till", f"user {n % 2}", moment(n), moment(n), None) for n in range(30)]
    rows += [("undefined", f"user {n}", moment(0), begins, None) for n in range(30)]
    rows += [("tablet", "phone", moment(0), begins, None)]
    # Each login its own valid_from: open ended, overlapping, one after the other.
    rows += [("loyal", "anna", moment(n), moment(n), None) for n in range(30)]
    rows += [("lent", "anna" if n != 9 else "bob", moment(n), moment(n), None) for n in range(30)]
    rows += [("visits", "anna", moment(n), moment(n), moment(n + 2)) for n in range(30)]
    rows += [("office", "anna", moment(2 * n), moment(2 * n), moment(2 * n + 1)) for n in range(15)]
    rows += [("kiosk", "anna", moment(n), moment(n), moment(n + 0.5)) for n in range(30)]
    rows += [("kiosk", "bob", moment(0), begins, None)]
    links = links_known_at(spark.createDataFrame(rows, LINKS), moment(40)).persist()
    terminals = links.where(is_terminal()).select("anonymous_id").collect()
    assert sorted(row[0] for row in terminals) == ["kiosk", "shared till", "till", "undefined"]
    found: dict[str, list[int]] = {}
    for cookie, size in (
        links.where(~is_terminal()).select("anonymous_id", F.size("links")).collect()
    ):
        found.setdefault(cookie, []).append(size)
    assert found == {
        "phone": [1],
        "tablet": [1],
        "loyal": [1],
        "lent": [3],
        "visits": [1],
        "office": [1] * 15,
    }
    spans = spans_of(links, moment(-10))
    owners: dict[str, list[tuple[Any, ...]]] = {}
    columns = ["known_user", *(F.unix_timestamp(t) for t in ("starts", "ends"))]
    for cookie, *span in spans.select("anonymous_id", *columns).collect():
        owners.setdefault(cookie, []).append(tuple(span))
    hours = {c: sorted((u, _hour(a), _hour(b)) for u, a, b in s) for c, s in owners.items()}
    assert [(u, b) for u, _, b in hours["phone"]] == [("anna", None)]
    assert [(u, b) for u, _, b in hours["tablet"]] == [("phone", None)]
    assert hours["loyal"] == [("anna", 0, None)]
    assert hours["visits"] == [("anna", 0, 31)]
    assert hours["office"] == [("anna", 2 * n, 2 * n + 1) for n in range(15)]
    assert ("bob", 9, 10) in hours["lent"]
    assert {u for u, _, _ in hours["lent"]} == {"anna", "bob"}
    assert count_chains(spans) == 1
    links.unpersist()


def test_the_row_known_last_says_when_a_link_ends(spark: SparkSession) -> None:
    begins, rows = moment(-1000), list[Any]()
    rows += [("sold", "bob", moment(0), begins, None)]
    rows += [("sold", "bob", moment(10), begins, moment(10))]
    rows += [
        ("kept", "bob", moment(0), begins, moment(5)),
        ("kept", "bob", moment(10), begins, None),
    ]
    rows += [("lent", "bob", moment(0), begins, None), ("lent", "anna", moment(5), begins, None)]
    # Not a login of bob: clicks between anna's and this stay hers.
    rows += [("lent", "bob", moment(8), begins, moment(20))]
    identities_table = spark.createDataFrame(rows, LINKS)
    ends = {}
    for hour in (10, 11):
        spans = spans_of(links_known_at(identities_table, moment(hour)), moment(0)).select(
            "anonymous_id", "known_user", F.unix_timestamp("ends")
        )
        ends[hour] = sorted(((c, u, _hour(e)) for c, u, e in spans.collect()), key=repr)
    assert [span for span in ends[10] if span[0] != "lent"] == [
        ("kept", "bob", 5),
        ("sold", "bob", None),
    ], "what is told at the instant is not seen"
    kept, sold = ([s for s in ends[11] if s[0] == cookie] for cookie in ("kept", "sold"))
    assert {s[1:] for s in kept if s[2] is None} == {("bob", None)}
    assert max(s[2] for s in sold) == 10
    assert {s[1] for s in ends[11] if s[0] == "lent" and s[2] is None} == {"anna"}


def _hour(seconds: int | None) -> int | None:
    return None if seconds is None else int(seconds - FIRST.timestamp()) // 3600


@pytest.mark.parametrize("most", [1_000, 1])
def test_one_users_events_are_those_of_all_however_many_ids_there_are(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(lookup, "FILTERED_IDS", most)
    links = [(f"cookie {n}", f"user {n % 2}", moment(n), moment(n), None) for n in range(6)]
    events = [(f"cookie {n}", moment(h)) for n in range(7) for h in range(9)]
    events += [(f"user {n}", moment(3)) for n in range(3)]
    identities_ = spark.createDataFrame(links, LINKS)
    window = spark.createDataFrame(events, EVENTS)
    as_of = AsOf(moment(5).date(), moment(5), "UTC")
    spans = spans_of(links_known_at(identities_, as_of.instant), lookup.FIRST_INSTANT)
    of_all = with_known_users(window, spans).where("user_id = 'user 0'").collect()
    found = lookup.events_under(window, identities_, "user 0", as_of).collect()
    assert len(found) == 1 + 9 + 7 + 5, "its own, and those after each login known by then"
    assert sorted(found) == sorted(of_all)
