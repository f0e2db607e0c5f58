"""Ranks, levels and thresholds, as executors and the driver compute them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from kinsight.expand.executor import rank_batches
from kinsight.expand.fitting import safe_threshold
from kinsight.expand.probability import Membership
from kinsight.expand.ranking import partition_offsets

LEVELS = {"a": [("10%", 2), ("5", 5)], "b": [("10%", 1)]}

MEMBERSHIPS = dict.fromkeys("ab", Membership(slope=1.0, intercept=-1.0, labelled=0.25))


def rows(audience: str, partition: int, ids: str, **flags: str) -> pa.RecordBatch:
    """One batch, a letter an id; flags name the ids that carry them."""
    return pa.RecordBatch.from_pydict(
        {
            "audience": [audience] * len(ids),
            "user_id": list(ids),
            "score": [1.0] * len(ids),
            "similarity": pa.array([None] * len(ids), pa.float64()),
            "is_seed": [i in flags.get("seeds", "") for i in ids],
            "is_truth": [i in flags.get("truth", "") for i in ids],
            "partition": [partition] * len(ids),
        }
    )


def ranked(partition: int, *batches: pa.RecordBatch) -> list[tuple[str, str, int, str]]:
    offsets = partition_offsets({(0, "a"): 3, (1, "a"): 4, (1, "b"): 2})
    found = pa.Table.from_batches(
        rank_batches(batches, offsets, LEVELS, {"a": 7, "b": 2}, MEMBERSHIPS)
    )
    columns = ("audience", "user_id", "rank", "level")
    return list(zip(*(found[name].to_pylist() for name in columns), strict=True))


def test_each_partition_goes_on_where_the_last_one_ended() -> None:
    assert ranked(0, rows("a", 0, "xy"), rows("a", 0, "z")) == [
        ("a", "x", 1, "10%"),
        ("a", "y", 2, "10%"),
        ("a", "z", 3, "5"),
    ]
    second = pa.Table.from_batches([rows("a", 1, "uvw"), rows("b", 1, "xy")])
    batch = second.combine_chunks().to_batches()[0]
    assert ranked(1, batch) == [("a", "u", 4, "5"), ("a", "v", 5, "5"), ("b", "x", 1, "10%")]


def test_kept_seeds_take_no_rank_from_others() -> None:
    assert ranked(0, rows("a", 0, "xsy", seeds="s")) == [
        ("a", "x", 1, "10%"),
        ("a", "s", 0, "seed"),
        ("a", "y", 2, "10%"),
    ]


def test_hidden_truths_are_ranked_beyond_the_largest_level() -> None:
    assert ranked(1, rows("a", 1, "uvwx", truth="x")) == [
        ("a", "u", 4, "5"),
        ("a", "v", 5, "5"),
        ("a", "x", 7, ""),
    ]


@pytest.mark.parametrize("share", [0.001, 0.05, 0.2, 0.9])
def test_a_threshold_from_a_sample_lets_the_largest_level_pass(share: float) -> None:
    rng = np.random.default_rng(3)
    everybody = rng.normal(size=200_000)
    threshold = safe_threshold(everybody[:5_000], share, len(everybody))
    passing = int((everybody >= threshold).sum())
    assert passing >= share * len(everybody)
    assert passing <= (share + 0.06) * len(everybody)


def test_everybody_passes_where_everybody_is_asked_for() -> None:
    assert safe_threshold(np.arange(100.0), 1.0, 100) == -np.inf
