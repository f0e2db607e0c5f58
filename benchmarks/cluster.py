"""One night on a standalone cluster of one and of two one-core workers, each pinned to its core.

    python -m benchmarks.cluster --users 100000

The driver may take no result above 64 MiB. It shares the two cores with the workers here, so what
tells whether a second worker is worth its money is the run time of all tasks: were it the same with
two workers as with one, a second machine would halve it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from tests.end_to_end.cluster import running_cluster

from benchmarks.nightly import AS_OF, STAGES, configure, kinsight, run_night
from benchmarks.results import circumstances, save, table
from benchmarks.runner import Goal, goal_table, said

CONF = {
    # The checkout's own environment: every process sees it here.
    "spark.archives": "",
    "spark.pyspark.python": sys.executable,
    "spark.executor.cores": "1",
    "spark.executor.memory": "1500m",
    "spark.driver.memory": "2g",
    "spark.driver.maxResultSize": "64m",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.enabled": "false",
}


def one_night(users: int, workers: int, scratch: Path) -> dict[str, Any]:
    """Make a shop and run a night on so many workers."""
    folder = scratch / f"shop-{users}-{workers}"
    kinsight("synth", str(folder), "--users", str(users), "--quiet")
    with running_cluster(scratch / f"nodes-{users}-{workers}") as cluster:
        for core, worker in enumerate(cluster.workers):
            psutil.Process(worker.pid).cpu_affinity([core])
        for worker in range(workers, len(cluster.workers)):
            cluster.lose(worker)
        conf = CONF | {"spark.cores.max": str(workers)}
        # A floor of quality that costs nothing: training runs in the driver on any cluster.
        train = {"encoder": {"name": "random"}}
        config = configure(folder, train, conf, master=cluster.master)
        result = run_night(config, AS_OF)
    shutil.rmtree(folder)
    return result


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=100_000)
    o = parser.parse_args()
    facts = circumstances("pyspark", "torch")
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as name:
        scratch = Path(name)
        one, two = (one_night(o.users, workers, scratch) for workers in (1, 2))
        fewer = one_night(o.users // 4, 2, scratch)
    heaps = [
        max(of_stage.get("driver_heap", 0) for of_stage in night["tasks"].values()) / 2**20
        for night in (fewer, two)
    ]
    rows = []
    for stage in STAGES:
        tasks = [night["tasks"].get(stage, {}) for night in (one, two)]
        cores = [of_stage.get("core_seconds", 0.0) for of_stage in tasks]
        seconds = [night["stages"].get(stage, 0.0) for night in (one, two)]
        efficiency = f"{cores[0] / cores[1]:.2f}" if cores[1] else ""
        rows.append([stage, *(f"{s:.1f}" for s in (*seconds, *cores)), efficiency])
    whole = [
        sum(t.get("core_seconds", 0.0) for t in night["tasks"].values()) for night in (one, two)
    ]
    walls = [night["wall"] for night in (one, two)]
    efficiency = whole[0] / whole[1]
    rows.append(["whole", *(f"{s:.1f}" for s in (*walls, *whole)), f"{efficiency:.2f}"])
    columns = ["", "one worker s", "two workers s", "core s of one", "core s of two", "efficiency"]
    about = (
        f"{o.users:,} users, first night with encoder `random`; a standalone cluster of one-core "
        "workers pinned to the two cores of this machine, which master and driver share with "
        "them; `spark.driver.maxResultSize` is 64 MiB. Core seconds are the run time of all tasks; "
        "efficiency is those of one worker over those of two. The driver's heap held at most "
        f"{heaps[1]:,.0f} MiB, and {heaps[0]:,.0f} MiB with a quarter of the users."
    )
    goals = [Goal("parallel efficiency of two workers", efficiency, 0.8, at_most=False)]
    result = {
        "circumstances": facts,
        "about": about,
        "users": o.users,
        "one": one,
        "two": two,
        "quarter": fewer,
        "goals": [goal.as_json() for goal in goals],
    }
    text = "\n\n".join([about, table(columns, rows), goal_table(goals), said(facts)])
    save("cluster", result, "One worker and two on a standalone cluster", text)
    print(text)


if __name__ == "__main__":
    main()
