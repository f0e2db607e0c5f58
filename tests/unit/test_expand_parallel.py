"""Fits in several processes: the same results, and words where a process dies."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest

from kinsight.errors import EnvironmentProblem
from kinsight.expand import parallel
from kinsight.expand.evaluation import evaluate
from kinsight.expand.parallel import side_by_side
from kinsight.expand.scorers.registry import SCORERS
from tests.unit.planted_users import masks, planted_readers


def process_id() -> int:
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_small_work_and_one_process_stay_here() -> None:
    pieces = [process_id] * 3
    with side_by_side(2) as at_once:
        assert at_once(pieces, [0.3 * parallel.LEAST_SECONDS] * 3) == [os.getpid()] * 3
    with side_by_side(1) as at_once:
        assert at_once(pieces, [100.0] * 3) == [os.getpid()] * 3


def test_what_pieces_return_comes_in_their_order_whichever_ran_first() -> None:
    with side_by_side(2) as at_once:
        assert at_once([partial(int, n) for n in range(5)], [9.0, 1.0, 5.0, 2.0, 8.0]) == [
            *range(5)
        ]


def test_processes_find_the_same_as_this_one() -> None:
    users, taste = planted_readers(300)
    seeds, background, _ = masks(users, taste)
    scorers = list(SCORERS.values())
    alone, _ = evaluate(scorers, users, seeds, background, 300, 2)
    with side_by_side(2) as at_once, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "LEAST_SECONDS", 0.0)
        assert os.getpid() not in at_once([process_id] * 4, [1.0] * 4)
        together, _ = evaluate(scorers, users, seeds, background, 300, 2, at_once)
    assert together.names == alone.names == tuple(SCORERS)
    for name in SCORERS:
        np.testing.assert_array_equal(together.line(name).of_seeds, alone.line(name).of_seeds)
        assert together.seconds[name] > 0


def test_a_process_that_dies_is_told_of_in_words() -> None:
    with side_by_side(2) as at_once, pytest.raises(EnvironmentProblem, match=r"expand\.processes"):
        at_once([partial(die)] * 2, [100.0] * 2)
