"""Python workers on one machine: what a worker has loaded is out of the collector's sight."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import SparkSession


def frozen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for _ in batches:
        pass
    yield pa.RecordBatch.from_pydict({"objects": [gc.get_freeze_count()]})


def test_a_worker_that_did_a_task_keeps_what_it_loaded(spark: SparkSession) -> None:
    assert spark.conf.get("spark.python.daemon.module") == "kinsight.workers"
    counts = []
    for _ in range(3):
        rows = spark.range(0, 2, 1, 2).mapInArrow(frozen, "objects BIGINT").collect()
        counts.append(min(row["objects"] for row in rows))
    assert counts[-1] > 1_000
