"""What a second worker is worth: stages of one night on one and on two one-core workers.

    python -m benchmarks.workers --users 100000

A real standalone cluster on this machine, each worker with its executor and Python on a core of its
own; the driver shares the cores and gets `spark.driver.maxResultSize` of 64 MB. A shop is made and
goes through all stages on this machine first; then the same date is done again on the clusters,
which finds its model and does not train.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.end_to_end.cluster import running_cluster

from benchmarks.nightly import AS_OF, EVERY_NIGHT, configure, kinsight, run_night
from benchmarks.results import circumstances, save, table
from benchmarks.runner import Goal, goal_table, reference_work, said

PARALLEL = ("sequence", "embed", "segment", "expand")
"""Stages whose work grows with users; the others' tasks are a few seconds."""
EXECUTOR = {
    "spark.executor.cores": "1",
    "spark.executor.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.maxResultSize": "64m",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    # Executors find what the driver finds: no archive to unpack.
    "spark.archives": "",
    "spark.pyspark.python": sys.executable,
    # What else spark-conf/standalone.conf has for dozens of cores.
    "spark.sql.shuffle.partitions": "8",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
}
LEAST_EFFICIENCY = 0.8


def on_workers(folder: Path, number: int, memory: str, scratch: Path) -> dict[str, Any]:
    """The night on a cluster of so many workers; see :func:`benchmarks.nightly.run_night`."""
    with running_cluster(scratch / f"nodes-{number}", number, "3g", pinned=True) as cluster:
        conf = EXECUTOR | {"spark.cores.max": str(number), "spark.driver.memory": memory}
        config = configure(folder, {"epochs": 1}, conf, master=cluster.master)
        return run_night(config, AS_OF)


def core_seconds(night: dict[str, Any], stage: str) -> float:
    """Of all tasks of a stage."""
    return float(night["tasks"].get(stage, {}).get("core_seconds", 0.0))


def shown(one: dict[str, Any], two: dict[str, Any]) -> str:
    """Each stage: core seconds of its tasks, efficiency, seconds, share of time cores are busy."""
    rows = []
    for stage in EVERY_NIGHT:
        tasks = [core_seconds(night, stage) for night in (one, two)]
        walls = [night["stages"][stage] for night in (one, two)]
        rows.append(
            [
                stage,
                *(f"{seconds:.1f}" for seconds in tasks),
                f"{tasks[0] / tasks[1]:.2f}" if stage in PARALLEL else "",
                *(f"{seconds:.1f}" for seconds in walls),
                f"{walls[0] / walls[1]:.2f}",
                f"{tasks[1] / walls[1] / 2:.0%}",
            ]
        )
    heaps = [
        max(tasks.get("driver_heap", 0) for tasks in night["tasks"].values()) / 2**20
        for night in (one, two)
    ]
    rows.append(["driver's heap at most, MiB", *(f"{heap:,.0f}" for heap in heaps), *[""] * 5])
    columns = [
        *("", "core s, one", "core s, two", "efficiency"),
        *("s, one", "s, two", "speed-up", "two cores busy"),
    ]
    return table(columns, rows)


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--driver-memory", default="2g")
    o = parser.parse_args()
    facts = circumstances("pyspark", "torch", "faiss-cpu")
    reference = reference_work()
    scratch = Path(tempfile.mkdtemp(prefix="kinsight-bench-"))
    try:
        folder = scratch / "shop"
        kinsight("synth", str(folder), "--users", str(o.users), "--quiet")
        run_night(configure(folder, {"epochs": 1}, {"spark.driver.memory": o.driver_memory}), AS_OF)
        # Two first: what the machine caches by then helps the one, and makes two look no better.
        two = on_workers(folder, 2, o.driver_memory, scratch)
        one = on_workers(folder, 1, o.driver_memory, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    publish(o.users, o.driver_memory, reference, facts, one, two)


def publish(
    users: int,
    memory: str,
    reference: float,
    facts: dict[str, Any],
    one: dict[str, Any],
    two: dict[str, Any],
) -> None:
    """Save the result and its section."""
    idle = core_seconds(two, "ingest") - core_seconds(one, "ingest")
    why = (
        "run time is time on the clock. One worker leaves the driver a core; two leave it none, "
        "and tasks wait while it plans. And each executor is a cold JVM: ingest, which finds "
        f"nothing new here, takes {idle:.0f} core seconds more on two."
    )
    goals = [
        Goal(
            f"{stage}: core seconds on one worker over two",
            core_seconds(one, stage) / core_seconds(two, stage),
            LEAST_EFFICIENCY,
            at_most=False,
            why=why,
        )
        for stage in PARALLEL
    ]
    about = (
        f"{users:,} users; the same date again on a standalone cluster of one and of two "
        "one-core workers, pinned to cores that they share with the driver, of "
        f"{memory} and spark.driver.maxResultSize=64m. Efficiency is the run time of all "
        "tasks on one worker over that on two: 1 where a second costs nothing. The speed-up of a "
        "stage is less where the driver plans, commits and fits while executors wait. A fixed "
        f"piece of numpy work took {reference:.2f} s before."
    )
    result = {
        "circumstances": facts,
        "about": about,
        "users": users,
        "driver_memory": memory,
        "reference_seconds": reference,
        "one": one,
        "two": two,
        "goals": [goal.as_json() for goal in goals],
    }
    text = "\n\n".join([about, shown(one, two), goal_table(goals), said(facts)])
    save(f"workers_{users}", result, f"A second worker, {users:,} users", text)
    print(text)


if __name__ == "__main__":
    main()
