"""A real standalone cluster on this machine: one master, workers of one core, nothing shared.

The cluster's own Spark is the one that the tests run on; every process gets an empty environment,
so that neither the checkout nor its packages are within reach of driver and executors.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pyspark
from benchmarks.event_log import events_of

SPARK_HOME = Path(pyspark.__file__).parent
DEADLINE = 600


def bare_environment() -> dict[str, str]:
    """Java and the system's own tools: no Python of ours, no PYTHONPATH, no virtual environment."""
    java = os.environ.get("JAVA_HOME") or str(
        Path(shutil.which("java") or "java").resolve().parents[1]
    )
    return {"JAVA_HOME": java, "PATH": "/usr/bin:/bin"}


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Wait for a condition, looking often."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all its children: Python daemons have process groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid)
        for member in [*family.children(recursive=True), family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


@dataclasses.dataclass
class Cluster:
    """A running cluster.

    Attributes:
        master: Its URL.
        workers: Its workers' processes, each with its executors below it.
        folder: Where logs and the executors' folders are.
    """

    master: str
    workers: list[subprocess.Popen[bytes]]
    folder: Path

    def executors(self, worker: int) -> list[psutil.Process]:
        """The executors of a worker."""
        return [
            child
            for child in psutil.Process(self.workers[worker].pid).children(recursive=True)
            if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline())
        ]

    def lose(self, worker: int) -> None:
        """Lose a machine: the worker, its executors and their Python, at once."""
        end(self.workers[worker])


@contextlib.contextmanager
def running_cluster(
    folder: Path, workers: int = 2, memory: str = "2g", pinned: bool = False
) -> Iterator[Cluster]:
    """Start a master and workers of one core; end them, whatever happens.

    Args:
        folder: An empty one, for logs and the workers' files.
        workers: How many.
        memory: That each may give to executors.
        pinned: Bind each worker, its executors and their Python to a core of its own (Linux).
    """
    port, started = free_port(), []

    def launch(
        name: str, role: str, *arguments: str, core: int | None = None
    ) -> subprocess.Popen[bytes]:
        place = folder / name
        place.mkdir(parents=True)
        entry = f"org.apache.spark.deploy.{role}"
        ports = ("--host", "127.0.0.1", "--webui-port", str(free_port()))
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(SPARK_HOME / "bin" / "spark-class"), entry, *ports, *arguments],
                env=bare_environment() | {"SPARK_LOCAL_DIRS": str(place / "scratch")},
                cwd=place,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if core is None else partial(os.sched_setaffinity, 0, {core}),
            )
        started.append(process)
        return process

    def logged(name: str, words: str) -> Callable[[], bool]:
        return lambda: words in (folder / name / "log").read_text(errors="replace")

    try:
        launch("master", "master.Master", "--port", str(port))
        wait_until(logged("master", "I have been elected leader"), "the master", 60)
        url = f"spark://127.0.0.1:{port}"
        processes = [
            launch(
                f"worker-{number}",
                "worker.Worker",
                *("--cores", "1", "--memory", memory),
                *("--work-dir", str(folder / f"worker-{number}" / "work"), url),
                core=number if pinned else None,
            )
            for number in range(workers)
        ]
        for number in range(workers):
            name = f"worker-{number}"
            wait_until(logged(name, "Successfully registered with master"), name, 60)
        yield Cluster(url, processes, folder)
    finally:
        for process in reversed(started):
            end(process)


def tasks_by_executor(events: Path, words: str) -> dict[str, int]:
    """Tasks that ran Python over Arrow batches, by executor, from Spark's event log.

    Args:
        events: Folder of the event log.
        words: What the description of their job holds, such as ``embed: encoding``.
    """
    stages: set[int] = set()
    tasks: collections.Counter[str] = collections.Counter()
    for event in events_of(events):
        if event["Event"] == "SparkListenerStageSubmitted":
            described = str(event.get("Properties", {}).get("spark.job.description", ""))
            info = event["Stage Info"]
            if words in described and "MapInArrow" in json.dumps(info["RDD Info"]):
                stages.add(info["Stage ID"])
        elif event["Event"] == "SparkListenerTaskEnd" and event["Stage ID"] in stages:
            done = event["Task End Reason"]["Reason"] == "Success"
            tasks[event["Task Info"]["Executor ID"]] += int(done)
    return dict(tasks)
