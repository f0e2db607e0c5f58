"""Sums of shares: equal to plain sums, whatever comes together."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest

from kinsight.segment.algorithms import shares
from kinsight.segment.algorithms.shares import UNIT, Bag, ShareSums


def drawn(users: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[Bag]]:
    rng = np.random.default_rng(seed)
    bags = []
    for field in range(2):
        length = rng.integers(0, 4, users)
        tokens = rng.integers(2, 9 + field, length.sum()).astype(np.int32)
        bags.append(Bag(tokens, rng.integers(0, 5, length.sum()).astype(np.float64), length))
    return rng.integers(0, 3, users), rng.random(users) < 0.3, bags


def expected(cluster: np.ndarray, held_out: np.ndarray, bags: list[Bag]) -> dict[tuple, list[int]]:
    found: dict[tuple, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for field, bag in enumerate(bags):
        begin = 0
        for user, length in enumerate(bag.length):
            counts = bag.counts[begin : begin + length]
            for token, count in zip(bag.tokens[begin : begin + length], counts, strict=True):
                if count:
                    share = Fraction(int(count), int(counts.sum()))
                    sums = found[int(cluster[user]), field, int(token)]
                    if held_out[user]:
                        sums[3] += round(share * int(UNIT))
                    else:
                        for place, value in enumerate((1, share * int(UNIT), share**2 * int(UNIT))):
                            sums[place] += round(value)
            begin += length
    return dict(found)


def as_dict(sums: ShareSums) -> dict[tuple, list[int]]:
    rows = zip(*sums.result().values(), strict=True)
    return {(row[0], row[1], row[2]): [int(v) for v in row[3:]] for row in rows}


@pytest.mark.parametrize("most_rows", [1, 10**6])
def test_sums_equal_those_of_plain_python(most_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MOST_ROWS", most_rows)
    sums, parts = ShareSums(fields=2), [drawn(40, seed) for seed in range(3)]
    plain: dict[tuple, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for cluster, held_out, bags in parts:
        for field, bag in enumerate(bags):
            sums.add(field, cluster, held_out, bag)
        for key, values in expected(cluster, held_out, bags).items():
            plain[key] = [a + b for a, b in zip(plain[key], values, strict=True)]
    assert as_dict(sums) == dict(plain)


def test_nobody_gives_no_rows() -> None:
    assert as_dict(ShareSums(fields=1)) == {}
    empty = ShareSums(fields=1)
    nothing = Bag(np.empty(0, np.int32), np.empty(0), np.zeros(2, np.int64))
    empty.add(0, np.zeros(2, np.int64), np.zeros(2, bool), nothing)
    assert as_dict(empty) == {}
