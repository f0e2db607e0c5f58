"""What Spark says when machines, memory or settings fail it, in words for those who run Kinsight.

Spark wraps the cause in its own stack traces: the text of the error is all that reaches the driver,
and its phrases are the same in local mode and on every cluster manager.
"""

from __future__ import annotations

import dataclasses
import re

from kinsight.errors import EnvironmentProblem, KinsightError

MORE_MEMORY = (
    "give Python more room beside the JVM (spark.executor.memoryOverhead on YARN and Kubernetes, a "
    "smaller SPARK_WORKER_MEMORY on standalone; about 700 MB a core), run fewer tasks at once "
    "(spark.executor.cores, or spark.master: local[1]), lower "
    "spark.sql.execution.arrow.maxRecordsPerBatch, or, where audiences are fitted, set "
    "expand.fit_in: driver; docs/deployment.md sizes them"
)


@dataclasses.dataclass(frozen=True)
class _Trouble:
    """A phrase of Spark's and the parts of the message that stands for it."""

    phrase: re.Pattern[str]
    problem: str
    expected: str
    to_do: str


def _trouble(phrase: str, problem: str, *, expected: str, to_do: str) -> _Trouble:
    return _Trouble(re.compile(phrase), problem, expected, to_do)


# The first that fits is told: the narrower ones stand first.
_TROUBLES = (
    _trouble(
        r"Cannot run program \"[^\"]*python[^\"]*\"[^\n]*",
        "Executors have no Python to run.",
        expected="the packed environment in the executor's folder",
        to_do="name the archive of `make package` in spark.archives, with #environment behind it, "
        "and its interpreter in spark.pyspark.python",
    ),
    _trouble(
        r"\[PYTHON_VERSION_MISMATCH\][^\n]*|No module named '(kinsight|torch|faiss|pyarrow)[^\n]*",
        "Executors run another Python than the driver.",
        expected="the same packed environment in all of them",
        to_do="name the archive of `make package` in spark.archives, and ./environment/bin/python "
        "in spark.pyspark.python",
    ),
    _trouble(
        r"\[FAILED_READ_FILE\.FILE_NOT_EXIST\].*?does not exist"
        r"|Cannot time travel Delta table to version[^\n]*",
        "What was to be read is gone.",
        expected="the versions that this date's last run read; VACUUM keeps them for 30 days",
        to_do="run the date again with --latest-input, which reads the newest versions. Where the "
        "file is one of a source, it vanished while it was read: run again",
    ),
    _trouble(
        r"No space left on device",
        "A disk is full.",
        expected="room for shuffles, scratch files and the unpacked environment",
        to_do="free it, or point spark.local.dir (SPARK_LOCAL_DIRS, YARN's local dirs) elsewhere",
    ),
    _trouble(
        r"java\.lang\.OutOfMemoryError[^\n]*",
        "A JVM ran out of memory.",
        expected="a heap that holds the shuffles of its tasks",
        to_do="raise spark.executor.memory, or spark.driver.memory where the driver is named; more "
        "spark.sql.shuffle.partitions make each task smaller",
    ),
    _trouble(
        r"Answer from Java side is empty|trying to connect to the Java server[^\n]*",
        "The JVM of the driver ended.",
        expected="a driver that lives until the last stage",
        to_do="most often the system killed it for memory: lower spark.driver.memory, which is its "
        "heap, or run the driver on a larger machine",
    ),
    _trouble(
        r"Python worker exited unexpectedly[^\n]*|Python worker failed to connect back[^\n]*",
        "A Python worker died while it worked.",
        expected="a worker that lives as long as its tasks",
        to_do="most often the system killed it for memory: " + MORE_MEMORY,
    ),
    _trouble(
        r"ExecutorLostFailure[^\n]*|exceeding (physical |virtual )?memory limits[^\n]*|OOMKilled",
        "An executor was lost again and again.",
        expected="a task that ends within spark.task.maxFailures tries",
        to_do="the log of the lost executor says why. If it was killed (exit code 137) it had too "
        "little memory: " + MORE_MEMORY,
    ),
    _trouble(
        r"Master removed our application[^\n]*|All masters are unresponsive[^\n]*"
        r"|SparkContext was shut down[^\n]*|(stopped|shutdown) SparkContext[^\n]*",
        "The cluster ended the application.",
        expected="a Spark application that lives until the last stage",
        to_do="see the logs of the cluster manager for who ended it and why, then run again: what "
        "was published stays, and a re-run changes nothing of it",
    ),
)


def explain(error: BaseException) -> KinsightError | None:
    """The error in words, where it is one that Spark's phrases tell apart; else None."""
    if isinstance(error, (KinsightError, ImportError)):
        return None  # what fails to load here is no matter of the executors
    text = str(error)
    for trouble in _TROUBLES:
        found = trouble.phrase.search(text)
        if found is not None:
            return EnvironmentProblem(
                trouble.problem,
                expected=trouble.expected,
                found=found.group(0).strip()[:300],
                to_do=trouble.to_do,
            )
    return None


def no_executors(minutes: float) -> KinsightError:
    """The error of a stage that waited for executors in vain."""
    return EnvironmentProblem(
        "The cluster gives no executors.",
        expected=f"one within {minutes:g} minutes (spark.wait_for_executors_minutes)",
        found="none, while work waits: all were lost, or what they ask for is not to be had",
        to_do="see the cluster's page for its workers, free cores and memory beside "
        "spark.executor.cores and spark.executor.memory, then run again",
    )
