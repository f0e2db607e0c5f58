"""Reads Spark's event log: what the stages of Kinsight started, and what it took."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

STAGES = ("ingest", "sequence", "train", "embed", "segment", "expand", "report")
STEPS_SHOWN = 10


def logged_to(folder: Path) -> dict[str, str]:
    """Spark's properties that make it write its event log to a folder."""
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.logStageExecutorMetrics": "true",
        "spark.eventLog.dir": folder.as_uri(),
    }


def events_of(log: Path) -> Iterator[dict[str, Any]]:
    """The events in the files of Spark's event log."""
    for file in sorted(log.rglob("events_*")):
        if file.is_file():
            yield from map(json.loads, file.open())


def step_of(job: Mapping[str, Any]) -> str:
    """The stage and step that a job was started for, as ``stage: step``; empty if for none."""
    about = (job.get("Properties") or {}).get("spark.job.description") or ""
    # Delta puts words of its own before and behind ours.
    found = re.search(rf"\b(?:{'|'.join(STAGES)}): [^:]+", about)
    return found.group() if found else ""


def steps_of(log: Path) -> dict[str, float]:
    """Seconds from a job of each step until the next one of another: jobs and driver together."""
    jobs = sorted(
        (event["Submission Time"], step_of(event))
        for event in events_of(log)
        if event["Event"] == "SparkListenerJobStart"
    )
    seconds: Counter[str] = Counter()
    for (begin, step), (end, _) in itertools.pairwise(jobs):
        seconds[step] += (end - begin) / 1000
    return {step: took for step, took in seconds.most_common() if step}


def longest(steps: dict[str, float]) -> str:
    """The longest of some steps, in words; they come in the order of :func:`steps_of`."""
    return "; ".join(f"{step} {took:.0f} s" for step, took in [*steps.items()][:STEPS_SHOWN])


def tasks_of(log: Path) -> dict[str, dict[str, float]]:
    """What the Spark tasks of each stage took, from Spark's event log.

    Returns:
        By stage: ``core_seconds`` (run time of all tasks, their Python included), ``shuffle`` and
        ``spilled`` (bytes written), ``jobs``, and ``driver_heap`` (bytes at most while it ran).
    """
    owner: dict[int, str] = {}
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events_of(log):
        if event["Event"] == "SparkListenerJobStart":
            stage = step_of(event).partition(":")[0]
            found[stage]["jobs"] += 1
            owner |= dict.fromkeys(event["Stage IDs"], stage)
        elif event["Event"] == "SparkListenerTaskEnd" and event.get("Task Metrics"):
            metrics = event["Task Metrics"]
            of_stage = found[owner.get(event["Stage ID"], "")]
            of_stage["core_seconds"] += metrics["Executor Run Time"] / 1000
            of_stage["shuffle"] += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
            of_stage["spilled"] += metrics["Disk Bytes Spilled"]
        elif event.get("Executor ID") == "driver" and "Executor Metrics" in event:
            heap = event["Executor Metrics"]["JVMHeapMemory"]
            of_stage = found[owner.get(event["Stage ID"], "")]
            of_stage["driver_heap"] = max(of_stage["driver_heap"], heap)
    return {stage: dict(counts) for stage, counts in found.items() if stage}
