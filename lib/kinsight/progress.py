"""What the person at the terminal sees while a stage runs: steps, Spark tasks, warnings."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


class Progress:
    """Shows stages and steps on standard error; plain lines where that is no terminal.

    Args:
        console: Where to write; standard error by default.
        quiet: Show warnings only.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet

    def stage(self, name: str, as_of: dt.date | None) -> None:
        """Announce a stage."""
        if not self.quiet:
            self.console.print(f"[bold]{name}[/bold]{f' as of {as_of}' if as_of else ''}")

    def say(self, message: str) -> None:
        """Show one line."""
        if not self.quiet:
            self.console.print(f"  {message}", markup=False)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.console.print(f"  [yellow]warning:[/yellow] {escape(message)}")

    @contextmanager
    def step(self, description: str, spark: SparkSession | None = None) -> Iterator[None]:
        """Show a step while it runs, with the Spark tasks done, and its seconds at the end."""
        if self.quiet:
            yield
            return
        start = time.monotonic()
        if self.console.is_terminal:
            with self._bar() as bar:
                task = bar.add_task(description, total=None, detail="")
                done = threading.Event()
                watcher = threading.Thread(
                    target=_watch, args=(spark, bar, task, done), daemon=True
                )
                watcher.start()
                try:
                    yield
                finally:
                    done.set()
                    watcher.join()
        else:
            yield
        self.console.print(f"  {description} [dim]{time.monotonic() - start:.1f} s[/dim]")

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar | None]:
        """A bar for work counted in Python, such as training; None where it is not shown."""
        if self.quiet or not self.console.is_terminal:
            yield None
            return
        with self._bar() as bar:
            bar.add_task(description, total=total, detail="")
            yield bar

    def _bar(self) -> Bar:
        return Bar(
            SpinnerColumn(),
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )


def _watch(spark: SparkSession | None, bar: Bar, task: object, done: threading.Event) -> None:
    """Follow the tasks of the running Spark stages twice a second."""
    if spark is None:
        return
    tracker = spark.sparkContext.statusTracker()
    while not done.wait(0.5):
        infos = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        total = sum(info.numTasks for info in infos if info)
        finished = sum(info.numCompletedTasks for info in infos if info)
        if total:
            bar.update(task, total=total, completed=finished, detail=f"{finished}/{total} tasks")  # type: ignore[arg-type]  # TaskID is an int
