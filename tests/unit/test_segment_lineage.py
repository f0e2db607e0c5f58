"""Matching today's clusters to the segments of the previous date; stable ids."""

from __future__ import annotations

import datetime as dt

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinsight.segment.algorithms.matching import Overlaps, match
from kinsight.segment.lineage import Ids, movement, stable_ids

# A crowded machine is slow; that is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DATE = dt.date(2024, 1, 1)


def ids_of(counts: list[tuple[int | None, str | None, int]], clusters: int, **known: object) -> Ids:
    """Ids of clusters from counts of users by (cluster, previous id)."""
    taken = known.get("taken", ())
    assert isinstance(taken, tuple)
    return stable_ids(movement(counts, clusters), taken, DATE, threshold=0.3)


def kinds(ids: Ids) -> set[tuple[object, object, object]]:
    """The kind, previous id and id of each row of the lineage."""
    return {(row["kind"], row["previous_id"], row["segment_id"]) for row in ids.lineage}


def only_common(common: list[list[int]]) -> Overlaps:
    """Overlaps of two dates that know the same users."""
    counts = np.array(common)
    now, before = counts.sum(axis=1), counts.sum(axis=0)
    return Overlaps(counts, now, before, now, before)


def test_on_the_first_date_all_are_born_with_ids_by_size() -> None:
    ids = stable_ids(movement([(0, None, 5), (1, None, 9), (2, None, 7)], 3), (), None, 0.3)
    assert ids.of_cluster == ("s03", "s01", "s02")
    assert kinds(ids) == {("born", None, i) for i in ("s01", "s02", "s03")}
    assert {row["previous_as_of"] for row in ids.lineage} == {None}


def test_a_cluster_that_holds_the_members_keeps_the_id_whatever_its_number() -> None:
    ids = ids_of([(0, "s02", 90), (0, "s01", 5), (1, "s01", 80), (1, None, 300)], 2)
    assert ids.of_cluster == ("s02", "s01")
    assert {row["kind"] for row in ids.lineage} == {"continued"}
    row = ids.lineage[0]
    assert (row["users_common"], row["overlap"]) == (90, 90 / 95)


def test_new_users_do_not_weaken_the_overlap_but_known_cold_ones_do() -> None:
    ids = ids_of([(0, "s01", 50), (0, None, 1_000), (0, "cold", 50), (1, "s02", 10)], 2)
    row = next(row for row in ids.lineage if row["segment_id"] == "s01")
    assert row["overlap"] == 0.5
    assert "cold" not in {row["previous_id"] for row in ids.lineage}


def test_a_segment_in_two_continues_in_one_and_the_other_is_a_split() -> None:
    ids = ids_of([(0, "s01", 60), (1, "s01", 40), (2, "s02", 50)], 3)
    assert kinds(ids) == {
        ("continued", "s01", "s01"),
        ("split", "s01", "s03"),
        ("continued", "s02", "s02"),
    }


def test_two_segments_in_one_continue_as_the_larger_and_the_other_merged() -> None:
    ids = ids_of([(0, "s01", 60), (0, "s02", 40), (1, "s03", 50)], 2)
    assert kinds(ids) == {
        ("continued", "s01", "s01"),
        ("merged", "s02", "s01"),
        ("continued", "s03", "s03"),
    }


def test_a_segment_whose_members_scatter_or_leave_is_retired() -> None:
    counts = [(0, "s01", 90), (1, "s02", 90), (2, "s03", 90)]
    scattered = [(i, "s04", 5) for i in range(3)]
    ids = ids_of([*counts, *scattered, (None, "s05", 30)], 3)
    assert ("retired", "s04", None) in kinds(ids)
    assert ("retired", "s05", None) in kinds(ids)


def test_new_users_make_a_born_segment_with_a_number_never_given_before() -> None:
    counts = [(0, "s02", 90), (1, None, 40), (1, "s02", 3)]
    assert kinds(ids_of(counts, 2, taken=("s01", "s02", "s07", "cold"))) == {
        ("continued", "s02", "s02"),
        ("born", None, "s08"),
    }


def test_the_best_sum_of_overlaps_wins_over_the_first_best_pair() -> None:
    links = match(only_common([[60, 45], [50, 0]]), threshold=0.3)
    pairs = {(link.cluster, link.previous) for link in links if link.kind == "continued"}
    assert pairs == {(0, 1), (1, 0)}


def test_pairs_under_the_threshold_do_not_push_out_those_above() -> None:
    # 0.33 + 0.33 is more than 0.44 + 0.17, but does not count.
    found = only_common([[40, 25], [25, 10]])
    assert np.round(found.jaccard(), 2).tolist() == [[0.44, 0.33], [0.33, 0.17]]
    links = match(found, 0.4)
    assert next((x.kind, x.previous) for x in links if x.cluster == 0) == ("continued", 0)


@PATIENT
@given(
    common=st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=6),
    threshold=st.floats(0.05, 1),
)
def test_every_cluster_and_every_previous_segment_is_told_once(
    common: list[list[int]], threshold: float
) -> None:
    counts = [
        (i, f"s{j + 1:02d}", users)
        for i, row in enumerate(common)
        for j, users in enumerate(row)
        if users
    ]
    found = movement(counts, len(common))
    ids = stable_ids(found, found.previous_ids, DATE, threshold)
    assert len(set(ids.of_cluster)) == len(common)
    now = [r["segment_id"] for r in ids.lineage if r["kind"] in ("continued", "split", "born")]
    assert sorted(map(str, now)) == sorted(ids.of_cluster)
    before = [
        r["previous_id"] for r in ids.lineage if r["kind"] in ("continued", "merged", "retired")
    ]
    assert sorted(map(str, before)) == list(found.previous_ids)
    for row in ids.lineage:
        if row["kind"] == "continued":
            assert row["previous_id"] == row["segment_id"]
            assert row["overlap"] >= threshold
        elif row["kind"] in ("born", "split"):
            assert row["segment_id"] not in found.previous_ids
