"""What Spark reports when a machine fails it becomes a message for people, in `runs` too."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from kinsight.config import Settings
from kinsight.errors import EnvironmentProblem
from kinsight.trouble import explain
from kinsight.workspace import Workspace


def killed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What the kernel does to a worker when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield from batches


def test_a_python_worker_killed_by_the_kernel_is_told_in_words(
    spark: SparkSession, workspace: Callable[..., Workspace]
) -> None:
    shop = workspace()
    shop.tables.ensure("runs")
    with pytest.raises(EnvironmentProblem) as caught, shop.run("embed", None, Settings()):
        spark.range(1).mapInArrow(killed, "id LONG").collect()
    words = caught.value.text()
    for word in ("A Python worker died", "expected:", "found:", "memoryOverhead", "local[1]"):
        assert word in words
    assert "at org.apache" not in words
    last = shop.log.records()[-1]
    assert (last.status, last.message, last.outputs) == ("failed", words, {})


def test_executors_without_our_packages_are_told_in_words(spark: SparkSession) -> None:
    def imports(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise ModuleNotFoundError("No module named 'kinsight'")
        yield from batches

    with pytest.raises(Exception, match="No module named") as caught:
        spark.range(1).mapInArrow(imports, "id LONG").collect()
    known = explain(caught.value)
    assert known is not None
    assert "spark.archives" in known.text()


def test_a_mistake_of_ours_stays_what_it_is() -> None:
    assert explain(ZeroDivisionError("division by zero")) is None
