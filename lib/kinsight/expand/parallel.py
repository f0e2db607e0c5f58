"""Fits of scorers side by side, in processes of the driver. No Spark."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from kinsight.errors import EnvironmentProblem

LEAST_SECONDS = 5.0
"""Less work is not worth processes of its own: to start them takes some seconds."""
MOST_PROCESSES = 8
"""Unless a number is asked for: each copies the part of a sample that it learns from."""

T = TypeVar("T")


class SideBySide:
    """Does independent pieces of work at once; what comes out does not hang on how many.

    The processes share large arrays as files, in shared memory where there is room.

    Args:
        processes: Processes at most; 1 works in this one.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._is_started = False

    def __call__(self, pieces: Sequence[Callable[[], T]], seconds: Sequence[float]) -> list[T]:
        """What the pieces return, in their order.

        Args:
            pieces: Functions without arguments that can be pickled.
            seconds: Estimate of how long each takes.

        Raises:
            EnvironmentProblem: If a process died.
        """
        processes = min(self.processes, len(pieces))
        if processes < 2 or sum(seconds) < LEAST_SECONDS:
            return [piece() for piece in pieces]
        self._is_started = True
        # The dearest first, so that the last to run are short.
        order = sorted(range(len(pieces)), key=lambda place: -seconds[place])
        try:
            with warnings.catch_warnings():
                # A process whose memory grew is replaced by a new one; nothing is lost by it.
                warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
                found = Parallel(n_jobs=processes)(delayed(pieces[place])() for place in order)
        except TerminatedWorkerError:
            raise EnvironmentProblem(
                "A process that fits scorers died.",
                expected=f"{processes} processes until the fits are done",
                found="one that was killed, mostly for want of memory",
                to_do="give the driver more memory, or set expand.processes to 1 or "
                "expand.background_users to fewer users",
            ) from None
        by_place = dict(zip(order, found, strict=True))
        return [by_place[place] for place in range(len(pieces))]

    def stop(self) -> None:
        """End the processes, if any were started."""
        if self._is_started:
            get_reusable_executor().shutdown(wait=True)


HERE = SideBySide()
"""One piece after another, in this process."""


@contextlib.contextmanager
def side_by_side(processes: int | None) -> Iterator[SideBySide]:
    """Processes until the block ends.

    Args:
        processes: How many at most; None: as many as there are cores for this process, and not
            more than MOST_PROCESSES.
    """
    work = SideBySide(processes or min(cpu_count(), MOST_PROCESSES))
    try:
        yield work
    finally:
        work.stop()
