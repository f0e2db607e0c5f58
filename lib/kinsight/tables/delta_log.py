"""Delta's log, asked in the JVM: it answers in some 20 ms, where SQL starts Spark jobs.

There is no public call for it. The classes are those of open-source Delta.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pyspark.sql import SparkSession

Commit = tuple[int, str | None, Mapping[str, str] | None]
"""Version, user metadata and metrics of a commit."""


def newest_snapshot(spark: SparkSession, folder: str) -> Any:
    """The newest snapshot of a table, an object of the JVM; of version -1 where there is no log.

    Args:
        spark: Session.
        folder: Of the table: a path or URI.
    """
    jvm: Any = spark.sparkContext._jvm
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, folder)
    none = jvm.scala.Option.empty()
    return log.update(False, none, none)


def commits_since(spark: SparkSession, folder: str, version: int) -> Iterator[Commit]:
    """The commits after a version, newest first: what Delta noted in the first line of each file.

    Args:
        spark: Session.
        folder: Of the table: a path or URI.
        version: A version of the table.
    """
    jvm: Any = spark.sparkContext._jvm
    snapshot = newest_snapshot(spark, folder)
    log = snapshot.deltaLog()
    files = jvm.org.apache.spark.sql.delta.util.DeltaCommitFileProvider.apply(snapshot)
    for number in range(int(snapshot.version()), version, -1):
        lines = log.store().readAsIterator(files.deltaFile(number), log.newDeltaHadoopConf())
        try:
            # Of other writers there may be another line first, of which nothing is asked.
            noted = json.loads(lines.next()).get("commitInfo", {})
        finally:
            lines.close()
        yield number, noted.get("userMetadata"), noted.get("operationMetrics")
