"""Runs contenders in turn on one machine and compares them within each round.

Machines are shared and noisy: seconds of one run say little about the next. So all contenders run
in every round, each round begins with another one (A B C, B C A, …), and what is reported is the
median of the ratios within the rounds. Seconds stand beside a fixed piece of work of the same run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import psutil
from pyspark.sql import DataFrame

from benchmarks.results import circumstances, save, table

Role = Literal["ours", "peer", "limit"]
VERDICTS = {
    "reached": "reached",
    "not reached": "**not reached**",
    "open": "open: not in all rounds alike",
}
SAMPLE_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: As the table shows it.
        role: Ours, what a user would take otherwise, or what the machine can do at best.
        run: The work; what it returns goes to ``check``.
        prepare: Done before each run and not timed.
        check: Raises where the result is wrong; returns figures for the JSON file.
    """

    name: str
    role: Role
    run: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    check: Callable[[Any], Mapping[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a benchmark is to reach.

    Attributes:
        words: Said in the table.
        value: What was measured.
        bound: What it is held against.
        at_most: Whether the value must not be larger; else it must not be smaller.
        rounds: The value in each round, where it was measured in several.
        why: What a profile says of it, shown where it is not reached.
    """

    words: str
    value: float
    bound: float
    at_most: bool = True
    rounds: Sequence[float] = ()
    why: str = ""

    @property
    def verdict(self) -> Literal["reached", "not reached", "open"]:
        """Whether the bound was kept; open where some rounds kept it and others did not."""
        kept = {self._keeps(value) for value in (self.value, *self.rounds)}
        if len(kept) == 2:
            return "open"
        return "reached" if True in kept else "not reached"

    def as_json(self) -> dict[str, Any]:
        """For the result file."""
        return dataclasses.asdict(self) | {"verdict": self.verdict}

    def _keeps(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


@dataclasses.dataclass
class Measured:
    """The rounds of one contender.

    Attributes:
        name: Of the contender.
        role: Of the contender.
        seconds: Of each round.
        peak_mib: Most proportional memory (PSS) of the process tree at any time of its runs, MiB.
        added_mib: Most of it beyond what stood there when the run began, MiB.
        figures: What ``check`` returned in the last round.
    """

    name: str
    role: Role
    seconds: list[float] = dataclasses.field(default_factory=list)
    peak_mib: float = 0.0
    added_mib: float = 0.0
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


@dataclasses.dataclass
class Comparison:
    """All contenders of one run.

    Attributes:
        contenders: By name.
        reference_seconds: Seconds of :func:`reference_work` at the start of each round.
    """

    contenders: dict[str, Measured]
    reference_seconds: list[float]

    def ratio(self, name: str, of: str) -> float:
        """Median over the rounds of the seconds of one contender over those of another."""
        return statistics.median(self.ratios(name, of))

    def ratios(self, name: str, of: str) -> list[float]:
        """Seconds of one contender over those of another, in each round."""
        both = zip(self.contenders[name].seconds, self.contenders[of].seconds, strict=True)
        return [a / b for a, b in both]

    def goal(
        self, words: str, name: str, of: str, bound: float, *, at_most: bool = True, why: str = ""
    ) -> Goal:
        """What the ratio of two contenders is to reach.

        Args:
            words: Said in the table.
            name: Contender whose seconds are measured.
            of: Contender whose seconds are 1.
            bound: What the ratio is held against.
            at_most: See :class:`Goal`.
            why: See :class:`Goal`.
        """
        return Goal(words, self.ratio(name, of), bound, at_most, self.ratios(name, of), why)

    def as_json(self) -> dict[str, Any]:
        """For the result file."""
        rows = {n: dataclasses.asdict(m) | {"median": m.median} for n, m in self.contenders.items()}
        return {"reference_seconds": self.reference_seconds, "contenders": rows}

    def as_table(self, base: str, units: tuple[float, str]) -> str:
        """Markdown: seconds, units a second, ratio to a base, memory.

        Args:
            base: Contender whose time is 1.
            units: Units of work in a run, and what they are, such as ``events``.
        """
        number, unit = units
        columns = ["", "who", "median s", f"{unit}/s", f"time, {base} = 1 (range)", "added PSS MiB"]
        rows = []
        for name, m in self.contenders.items():
            ratios = self.ratios(name, base)
            rate = number / m.median
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append(
                [
                    name,
                    m.role,
                    f"{m.median:.2f}",
                    f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}",
                    spread,
                    f"{m.added_mib:,.0f}",
                ]
            )
        reference = statistics.median(self.reference_seconds)
        note = (
            f"{len(self.reference_seconds)} rounds in turn; a fixed piece of numpy work took "
            f"{reference:.2f} s (median) in the same run. Added: most memory of the process tree "
            "during a run beyond what stood there when it began; a warm JVM stands there already."
        )
        return f"{table(columns, rows)}\n\n{note}"


def compare(contenders: Sequence[Contender], repeats: int, warmups: int = 1) -> Comparison:
    """Run contenders in turn.

    Args:
        contenders: Of different names.
        repeats: Rounds that count.
        warmups: Rounds before them: compiled code and file caches are warm for all alike.
    """
    measured = {c.name: Measured(c.name, c.role) for c in contenders}
    reference = []
    for number in range(-warmups, repeats):
        seconds = reference_work()
        turn = number % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            if contender.prepare is not None:
                contender.prepare()
            gc.collect()
            with watched_memory() as memory:
                begin = time.perf_counter()
                result = contender.run()
                took = time.perf_counter() - begin
            figures = dict(contender.check(result)) if contender.check else {}
            del result
            what = f"round {number + 1}" if number >= 0 else "warm-up"
            print(f"  {what}: {contender.name} {took:.2f} s", file=sys.stderr, flush=True)
            if number >= 0:
                m = measured[contender.name]
                m.seconds.append(took)
                m.peak_mib = max(m.peak_mib, memory.peak_mib)
                m.added_mib = max(m.added_mib, memory.peak_mib - memory.start_mib)
                m.figures = figures
        if number >= 0:
            reference.append(seconds)
    return Comparison(measured, reference)


def report(
    name: str,
    title: str,
    about: str,
    comparison: Comparison,
    base: str,
    goals: Sequence[Goal],
    *,
    packages: Sequence[str],
    units: tuple[float, str],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write the JSON file and the section of RESULTS.md.

    Args:
        name: Of the result file.
        title: Of the section.
        about: What was measured on what, a sentence or two.
        comparison: The rounds.
        base: Contender whose time is 1.
        goals: What was to be reached.
        packages: Distributions whose versions matter.
        units: See :meth:`Comparison.as_table`.
        more: Further facts for the result file.
    """
    facts = circumstances(*packages)
    result = {
        "circumstances": facts,
        "about": about,
        **(more or {}),
        **comparison.as_json(),
        "goals": [goal.as_json() for goal in goals],
    }
    text = [about, comparison.as_table(base, units), goal_table(goals), said(facts)]
    save(name, result, title, "\n\n".join(part for part in text if part))
    print("\n\n".join(text))


def goal_table(goals: Sequence[Goal]) -> str:
    """Markdown: what was to be reached and whether it was."""
    if not goals:
        return ""
    rows = [
        [
            goal.words,
            f"{'≤' if goal.at_most else '≥'} {goal.bound:g}",
            f"{goal.value:.3g}",
            VERDICTS[goal.verdict],
        ]
        for goal in goals
    ]
    shown = table(["to reach", "bound", "measured", ""], rows)
    missed = [g for g in goals if g.verdict == "not reached" and g.why]
    return "\n\n".join([shown, *dict.fromkeys(f"Why not: {goal.why}" for goal in missed)])


def said(facts: Mapping[str, Any]) -> str:
    """The circumstances in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['date']}, commit {facts['commit']}, Python {facts['python']}, {versions}, "
        f"{facts['machine']}, load {facts['load_at_start']} at the start."
    )


def to_nowhere(frame: DataFrame) -> None:
    """Compute every row and throw it away."""
    frame.write.format("noop").mode("overwrite").save()


def reference_work() -> float:
    """Seconds of a fixed piece of work on one core: sorting and multiplying in numpy."""
    rng = np.random.default_rng(0)
    values, matrix = rng.random(2_000_000), rng.random((600, 600))
    begin = time.perf_counter()
    np.sort(values)
    for _ in range(3):
        matrix = np.tanh(matrix @ matrix / 600)
    return time.perf_counter() - begin


@dataclasses.dataclass
class Memory:
    """Proportional memory of this process and its children, MiB.

    Attributes:
        start_mib: At the start.
        peak_mib: At most.
    """

    start_mib: float
    peak_mib: float


@contextlib.contextmanager
def watched_memory() -> Iterator[Memory]:
    """Sample the memory of the process tree while the block runs."""
    start = tree_mib()
    memory, over = Memory(start, start), threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            memory.peak_mib = max(memory.peak_mib, tree_mib())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()
        memory.peak_mib = max(memory.peak_mib, tree_mib())


def tree_mib(root: psutil.Process | None = None) -> float:
    """Proportional memory (PSS; elsewhere than on Linux resident memory) of a tree, MiB.

    Args:
        root: The process at its root; this one by default. Of one that has ended: 0.
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        me = root or psutil.Process()
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                full = process.memory_full_info()
                total += getattr(full, "pss", full.rss)
    return total / 2**20
