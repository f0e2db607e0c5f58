"""Ragged histories and padded batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories, cut_by_tokens
from tests.histories import from_items, random_histories

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@settings(deadline=None)  # timing depends on the machine
@given(LENGTHS, st.integers(1, 200))
def test_batches_cover_all_users_once_and_keep_to_the_budget(
    lengths: list[int], tokens: int
) -> None:
    ordered = np.sort(np.array(lengths))
    parts = cut_by_tokens(ordered, tokens)
    assert [i for p in parts for i in range(p.start, p.stop)] == list(range(len(lengths)))
    for part in parts:
        users = part.stop - part.start
        assert users == 1 or users * ordered[part].max() <= tokens


@settings(deadline=None)  # timing depends on the machine
@given(LENGTHS, st.randoms(use_true_random=False))
def test_taking_users_takes_their_events(lengths: list[int], random: object) -> None:
    histories = random_histories(lengths)
    users = np.random.default_rng(len(lengths)).permutation(len(lengths))
    taken = histories.take(users)
    rows, padded = histories.padded("item"), taken.padded("item")
    for place, user in enumerate(users):
        assert padded[place].tolist() == rows[user].tolist()


def test_no_users_are_no_events() -> None:
    nobody = random_histories([3, 4]).take(np.array([], dtype=np.int64))
    assert len(nobody) == 0
    assert nobody.events == 0
    assert Histories.concatenate([nobody, nobody]).events == 0
    assert cut_by_tokens(nobody.length, 100) == []


def test_events_of_one_time_form_a_group() -> None:
    batch = Batch.of(from_items([[(5, 1), (6, 1), (7, 3), (8, 3), (9, 4)], [(5, 2)]]))
    assert batch.group[0].tolist() == [0, 0, 1, 1, 2]
    assert batch.group_start[0].tolist() == [0, 0, 2, 2, 4]
    assert batch.next_group_start[0].tolist() == [2, 2, 4, 4, 5]
    assert batch.next_group_start[1, 0] == 1
