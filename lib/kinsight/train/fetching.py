"""The files of a snapshot within reach of petastorm, wherever the tables are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]  # py4j has no hints
from pyspark.sql import SparkSession

from kinsight.errors import EnvironmentProblem


@contextmanager
def local_files(spark: SparkSession, files: Sequence[str]) -> Iterator[list[str]]:
    """The files as they are where they lie on a mounted disk; else copies, removed at the end.

    petastorm reads object stores and HDFS through Python packages and credentials of their own.
    Spark reaches them already, so Hadoop's file systems fetch the sequences of the one date that
    is trained on to the driver's scratch space.

    Args:
        spark: The session.
        files: URLs as ``inputFiles`` of a Delta table names them.

    Raises:
        EnvironmentProblem: If a file cannot be fetched.
    """
    if all(file.startswith(("file:", "/")) for file in files):
        yield list(files)
        return
    jvm: Any = spark.sparkContext._jvm
    jsc: Any = spark.sparkContext._jsc
    with tempfile.TemporaryDirectory(prefix="kinsight-sequences-") as folder:
        copies = []
        for number, file in enumerate(files):
            # A file's name tells its place in the order; the number keeps equal names apart.
            name = f"{file.rpartition('/')[2].removesuffix('.parquet')}-{number}.parquet"
            target = Path(folder) / name
            source = jvm.org.apache.hadoop.fs.Path(file)
            try:
                system = source.getFileSystem(jsc.hadoopConfiguration())
                here, conf = jvm.java.io.File(str(target)), jsc.hadoopConfiguration()
                jvm.org.apache.hadoop.fs.FileUtil.copy(system, source, here, False, conf)
            except Py4JJavaError as error:
                raise EnvironmentProblem(
                    "The sequences cannot be fetched for training.",
                    expected=f"the files of table sequences, and room for them in {folder}",
                    found=f"{file}: {error.java_exception.toString()}",
                    to_do="check the driver's access to the table and its scratch space (TMPDIR)",
                ) from None
            copies.append(f"file://{target}")
        yield copies
