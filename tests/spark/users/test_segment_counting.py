"""What members of clusters do, counted in Spark: on odd days for some, on all for others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from pyspark.sql import Row, SparkSession

from kinsight.segment.algorithms.shares import UNIT
from kinsight.segment.counting import sum_shares
from kinsight.segment.halves import even_days

BAG = "STRUCT<tokens: ARRAY<INT>, counts: ARRAY<FLOAT>, odd_days: ARRAY<FLOAT>>"
MEMBERS = f"cluster INT, held_out BOOLEAN, of_odd_days BOOLEAN, bags MAP<STRING, {BAG}>"
FIELDS = ("brand", "category_1", "item")

Bag = tuple[list[int], list[float], list[float]]
Member = tuple[int, bool, bool, dict[str, Bag]]


def drawn(users: int) -> list[Member]:
    """Users of whom some lack a field, have none of its tokens, or none on odd days."""
    rng = np.random.default_rng(4)
    members = []
    for user in range(users):
        bags = {}
        for field in rng.permutation(FIELDS)[: rng.integers(1, 4)].tolist():
            tokens = np.sort(rng.choice(np.arange(2, 12), rng.integers(0, 5), replace=False))
            counts = rng.integers(1, 6, len(tokens))
            odd = rng.integers(0, counts + 1) * (user % 5 > 0)
            bags[field] = (
                tokens.tolist(),
                counts.astype(float).tolist(),
                odd.astype(float).tolist(),
            )
        held_out = bool(rng.random() < 0.4)
        members.append((int(rng.integers(0, 3)), held_out, held_out and user % 2 > 0, bags))
    return members


def expected(members: list[Member]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for cluster, held_out, of_odd_days, bags in members:
        for field, (tokens, counts, odd) in bags.items():
            taken = odd if of_odd_days else counts
            for token, count in zip(tokens, taken, strict=True):
                if count > 0:
                    share = count / sum(taken)
                    fixed, square = (int(v * UNIT + 0.5) for v in (share, share * share))
                    values = (0, 0, 0, fixed) if held_out else (1, fixed, square, 0)
                    sums = found[cluster, field, token]
                    found[cluster, field, token] = [
                        a + b for a, b in zip(sums, values, strict=True)
                    ]
    return dict(found)


def test_sums_equal_those_of_plain_python(spark: SparkSession) -> None:
    members = drawn(60)
    frame = spark.createDataFrame(members, MEMBERS).repartition(3)
    rows = sum_shares(frame, FIELDS).collect()
    assert {tuple(row[:3]): list(row[3:]) for row in rows} == expected(members)


def test_a_field_that_no_bag_has_adds_nothing(spark: SparkSession) -> None:
    frame = spark.createDataFrame(drawn(10), MEMBERS)
    known, more = (sum_shares(frame, fields) for fields in (FIELDS, (*FIELDS, "unheard")))
    assert sorted(more.collect()) == sorted(known.collect())


def test_even_days_are_those_of_users_with_events_on_both_kinds(spark: SparkSession) -> None:
    rows = [
        ("both", {"item": ([2, 3, 4], [2.0, 1.0, 3.0], [1.0, 1.0, 0.0])}),
        ("even alone", {"item": ([2], [2.0], [0.0])}),
        ("odd alone", {"item": ([2], [2.0], [2.0])}),
        ("another field", {"brand": ([2], [2.0], [1.0])}),
    ]
    frame = spark.createDataFrame(rows, f"user_id STRING, bags MAP<STRING, {BAG}>")
    assert even_days(frame, "item").collect() == [
        Row(user_id="both", bags={"item": Row(tokens=[2, 4], counts=[1.0, 3.0])})
    ]
