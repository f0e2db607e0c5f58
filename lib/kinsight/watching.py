"""Watching that a cluster has executors: Spark itself waits for them without an end."""

from __future__ import annotations

import threading
import time

from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # py4j has no hints
from pyspark import SparkContext

from kinsight.spark import is_running

LOOK_SECONDS = 2.0


class ExecutorWatch:
    """Cancels the jobs of a session that has work and no executor for too long.

    Args:
        context: The session's context. In local mode the driver works itself: nothing is watched.
        minutes: How long to wait.
    """

    def __init__(self, context: SparkContext, minutes: float) -> None:
        self.context = context
        self.minutes = minutes
        self.gave_up = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        if not str(self.context.master).startswith("local"):
            self._thread.start()

    def stop(self) -> None:
        """End watching; wait for the last look."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        since: float | None = None
        while not self._done.wait(LOOK_SECONDS):
            if not is_running(self.context):
                return
            if not self._starved():
                since = None
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > 60 * self.minutes:
                self.gave_up = True
                self.context.cancelAllJobs()
                return

    def _starved(self) -> bool:
        """Whether jobs wait and the driver is alone."""
        try:
            # The status holds the driver too.
            alone = self.context._jsc.sc().getExecutorMemoryStatus().size() <= 1
            return alone and bool(self.context.statusTracker().getActiveJobsIds())
        except (Py4JError, AttributeError):  # stopped meanwhile: the next look ends the watch
            return False
