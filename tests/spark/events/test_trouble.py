"""What Spark reports when a machine fails it becomes a message for people, in `runs` too."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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


def test_a_version_that_vacuum_removed_is_told_in_words(
    spark: SparkSession, workspace: Callable[..., Workspace], tmp_path: Path
) -> None:
    table, check = tmp_path / "table", "spark.databricks.delta.retentionDurationCheck.enabled"
    for _ in range(2):
        spark.range(5).write.format("delta").mode("overwrite").save(str(table))
    spark.conf.set(check, "false")
    try:
        spark.sql(f"VACUUM delta.`{table}` RETAIN 0 HOURS")
    finally:
        spark.conf.unset(check)
    shop = workspace()
    for version, found in ((0, "part-.* does not exist"), (99, "Available versions")):
        rows = spark.read.format("delta").option("versionAsOf", version)
        with (
            pytest.raises(EnvironmentProblem, match=found) as caught,
            shop.run("sequence", None, Settings()),
        ):
            rows.load(str(table)).collect()
        assert "run the date again with --latest-input" in caught.value.to_do


def test_a_mistake_of_ours_stays_what_it_is() -> None:
    assert explain(ZeroDivisionError("division by zero")) is None
