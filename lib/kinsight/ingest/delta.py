"""Delta tables as sources: the files of one snapshot, and rows read as Delta reads them.

The folder of a Delta table also holds files that were removed, and rows that a deletion vector
takes away, so the log is asked and never the folder. The log is read, and the chosen files are
read, by Delta's own classes in the JVM: there is no public call that reads only the new files of a
snapshot, and a shop's table is too large to read whole every night.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.config import SourceConfig
from kinsight.errors import ConfigError, RefusedError
from kinsight.ingest.files import (
    DeltaEntry,
    Kind,
    SourceFile,
    UnreadableFileError,
    hadoop_conf,
    java_errors,
    list_files,
    plain_uri,
    shown_path,
)
from kinsight.tables import newest_snapshot


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a source.

    Attributes:
        files: In the order of their paths.
        root: Folder of the Delta table; None where the source is files.
        version: Version of the Delta table.
    """

    files: list[SourceFile]
    root: str | None = None
    version: int = 0

    def holds(self, path: str) -> bool:
        """Whether a path lies in the table's folder."""
        return self.root is not None and path.startswith(f"{self.root}/")


def list_source(spark: SparkSession, source: SourceConfig, kind: Kind) -> Listing:
    """The files of a source: those at its path, or those of the newest version of its table.

    Raises:
        RefusedError: If nothing is there, or it may not be read.
        ConfigError: If the path and the format do not fit.
    """
    if source.table is not None:
        return _live_files(spark, source, kind, _location(spark, source.table, source.name))
    assert source.path is not None
    root, is_above = _table_folder(spark, source.path)
    if root is None:
        if source.format == "delta":
            raise _no_table(source.name, f"no _delta_log at {source.path}")
        return Listing(list_files(spark, source, kind))
    if is_above:
        raise ConfigError(
            f"Source {source.name} points into a Delta table.",
            expected="the folder of the table: some of its files hold rows that were removed",
            found=source.path,
            to_do=f"set path: {root}",
        )
    if source.format not in (None, "delta"):
        raise ConfigError(
            f"Source {source.name} is a Delta table.",
            expected="format: delta, or none",
            found=f"format: {source.format}",
            to_do="leave `format` out",
        )
    return _live_files(spark, source, kind, root)


def read_entries(spark: SparkSession, files: Sequence[SourceFile]) -> DataFrame:
    """The rows of files of one snapshot, without deleted ones, with the columns of the table.

    Columns that have another name in the files, and those that only the log knows (partitions),
    are there under the table's names.

    Raises:
        UnreadableFileError: If the log cannot be read.
    """
    jvm: Any = spark.sparkContext._jvm
    entries = [file.delta for file in files if file.delta is not None]
    snapshot = entries[0].snapshot
    with java_errors(files[0].path):
        chosen = snapshot.allFiles()
        if len(entries) < snapshot.numOfFiles():
            chosen = chosen.filter(F.col("path").isin([entry.path for entry in entries])._jc)
        actions = jvm.scala.jdk.javaapi.CollectionConverters.asScala(chosen.collectAsList()).toSeq()
        rows = snapshot.deltaLog().createDataFrame(
            snapshot, actions, False, jvm.scala.Option.empty()
        )
    return DataFrame(rows, spark)


def _live_files(spark: SparkSession, source: SourceConfig, kind: Kind, root: str) -> Listing:
    """The files of the newest version."""
    deleted = F.col("deletionVector")
    vector = F.concat(
        deleted["storageType"],
        deleted["pathOrInlineDv"],
        F.lit("@"),
        F.coalesce(deleted["offset"], F.lit(0)),
    )
    rows = F.get_json_object("stats", "$.numRecords").cast("bigint")
    try:
        with java_errors(root):
            snapshot = newest_snapshot(spark, root)
            table_uri = plain_uri(str(snapshot.deltaLog().dataPath().toUri().toString()))
            version = int(snapshot.version())
            entries = (
                DataFrame(snapshot.allFiles().toDF(), spark)
                .select(
                    "path",
                    "size",
                    "modificationTime",
                    F.coalesce(vector, F.lit("")),
                    rows - F.coalesce(deleted["cardinality"], F.lit(0)),
                )
                .collect()
            )
    except UnreadableFileError as error:
        raise _no_table(source.name, str(error)) from None
    files = []
    for path, size, modified, deletion_vector, live_rows in entries:
        # Paths in the log are encoded URIs, relative to the table unless it is a shallow clone.
        uri = path if urlsplit(path).scheme else f"{table_uri}/{path}"
        location = unquote(plain_uri(uri))
        files.append(
            SourceFile(
                kind=kind,
                source=source.name,
                path=shown_path(location),
                location=location,
                uri=plain_uri(uri),
                size=size,
                modified_milliseconds=modified,
                delta=DeltaEntry(path, deletion_vector, live_rows, snapshot),
            )
        )
    folder = shown_path(unquote(table_uri))
    return Listing(sorted(files, key=lambda file: file.path), folder, version)


def _table_folder(spark: SparkSession, path: str) -> tuple[str | None, bool]:
    """The nearest folder at or above a path that has a log, if any, and whether it is above."""
    jvm: Any = spark.sparkContext._jvm
    try:
        with java_errors(path):
            folder, is_above = jvm.org.apache.hadoop.fs.Path(path), False
            system = folder.getFileSystem(hadoop_conf(spark))
            while folder is not None:
                if system.exists(jvm.org.apache.hadoop.fs.Path(folder, "_delta_log")):
                    return str(folder.toString()), is_above
                folder, is_above = folder.getParent(), True
    except UnreadableFileError:
        pass  # listing the files says what is wrong
    return None, False


def _location(spark: SparkSession, table: str, source: str) -> str:
    """The folder of a Delta table of the catalogue."""
    name = ".".join("`" + part.replace("`", "``") + "`" for part in table.split("."))
    try:
        with java_errors(table):
            (row,) = spark.sql(f"DESCRIBE DETAIL {name}").select("format", "location").collect()
    except UnreadableFileError as error:
        raise _no_table(source, error.why) from None
    if row["format"] != "delta":
        raise _no_table(source, f"{table} is a table of format {row['format']}")
    return str(row["location"])


def _no_table(source: str, found: str) -> RefusedError:
    return RefusedError(
        f"Source {source} is no Delta table that can be read.",
        expected="`path`: the folder that holds its _delta_log, or `table`: its name in the "
        "catalogue of the Spark session",
        found=found,
        to_do=f"correct `path`, `table` or `format` of source {source}",
    )
