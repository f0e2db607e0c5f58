"""The demo: seconds from the command to the report, and what Spark does meanwhile.

    python -m benchmarks.demo

`kinsight demo` runs as `make demo` runs it, into a new folder. Small data: most of the time goes to
starting, planning and committing, so jobs, scans and commits are counted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.event_log import (
    STAGES,
    events_of,
    logged_to,
    longest,
    step_of,
    steps_of,
    tasks_of,
)
from benchmarks.nightly import kinsight, stage_seconds
from benchmarks.results import circumstances, save, table
from benchmarks.runner import Goal, goal_table, reference_work, said
from kinsight.demo import DATES

MOST_SECONDS = 300


def counted(log: Path) -> dict[str, Counter[str]]:
    """By stage: ``own`` jobs, jobs that are ``delta``'s, and ``scans`` of files for our own.

    Delta's jobs read its log: what a table consists of, and which files a query needs.
    """
    found: dict[str, Counter[str]] = {stage: Counter() for stage in (*STAGES, "")}
    seen: set[int] = set()  # rows that are kept are scanned once, whoever asks for them again
    for event in events_of(log):
        about = (event.get("Properties") or {}).get("spark.job.description") or ""
        stage = step_of(event).partition(":")[0]
        if event["Event"] == "SparkListenerJobStart":
            found[stage]["delta" if "Delta:" in about else "own"] += 1
        elif event["Event"] == "SparkListenerStageSubmitted" and "Delta:" not in about:
            rdds = event["Stage Info"]["RDD Info"]
            scans = {rdd["RDD ID"] for rdd in rdds if rdd["Name"] == "FileScanRDD"} - seen
            found[stage]["scans"] += len(scans)
            seen |= scans
    return found


def run(folder: Path) -> dict[str, Any]:
    """The demo in a folder: ``wall`` seconds, ``peak_mib``, and what it consisted of."""
    log, defaults = folder / "log", folder / "defaults"
    log.mkdir()
    defaults.mkdir()
    lines = [f"{name} {value}" for name, value in logged_to(log).items()]
    (defaults / "spark-defaults.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ("demo", "--folder", str(folder / "demo"), "--quiet")
    wall, peak = kinsight(*command, SPARK_CONF_DIR=str(defaults))
    warehouse = folder / "demo" / "warehouse"
    return {
        "wall": wall,
        "peak_mib": peak,
        "seconds": stage_seconds(warehouse),
        "counts": counted(log),
        "tasks": tasks_of(log),
        "steps": steps_of(log),
        "commits": len(list(warehouse.glob("*/_delta_log/*.json"))),
    }


def shown(result: dict[str, Any]) -> str:
    """Each stage: seconds on both dates, jobs and scans of both."""
    rows = []
    for stage in STAGES:
        counts = result["counts"][stage]
        seconds = [*(f"{took:.1f}" for took in result["seconds"][stage]), ""][:2]
        rows.append([stage, *seconds, *(counts[k] for k in ("own", "delta", "scans"))])
    between = result["counts"][""]
    rows.append(["between steps", "", "", *(between[k] for k in ("own", "delta", "scans"))])
    inside = sum(sum(seconds) for seconds in result["seconds"].values())
    rows.append(["starting and ending", f"{result['wall'] - inside:.1f}", *[""] * 4])
    columns = ["", *(f"s, {date}" for date in DATES), "jobs", "Delta's own jobs", "scans of files"]
    return f"{table(columns, rows)}\n\nLongest steps, both dates: {longest(result['steps'])}."


def main() -> None:
    """Parse arguments, measure, save."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.demo", description=(__doc__ or "").splitlines()[0]
    ).parse_args()
    facts = circumstances("pyspark", "delta-spark", "torch")
    reference = reference_work()
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        result = run(Path(folder))
    jobs = sum(counts["own"] + counts["delta"] for counts in result["counts"].values())
    delta = sum(counts["delta"] for counts in result["counts"].values())
    cores = os.cpu_count() or 1
    busy = sum(tasks["core_seconds"] for tasks in result["tasks"].values())
    why = (
        f"the tasks of {jobs} Spark jobs ({delta} of them Delta's own, which read its log) took "
        f"{busy:.0f} core seconds, {busy / result['wall'] / cores:.0%} of the time of {cores} "
        "cores. The rest is starting, planning and committing one after another, and the fits of "
        "audiences."
    )
    goals = [Goal("seconds of the demo, both dates", result["wall"], MOST_SECONDS, why=why)]
    about = (
        "2,469 households, some 1.2 million events, two dates; all packages are there. "
        f"{result['wall']:.0f} s from the command to its end, {jobs} Spark jobs, "
        f"{result['commits']} commits to Delta tables, {result['peak_mib']:,.0f} MiB (PSS) at "
        f"most. A fixed piece of numpy work took {reference:.2f} s before."
    )
    result |= {
        "circumstances": facts,
        "about": about,
        "goals": [goal.as_json() for goal in goals],
    }
    text = "\n\n".join([about, shown(result), goal_table(goals), said(facts)])
    save("demo", result, "The demo", text)
    print(text)


if __name__ == "__main__":
    main()
