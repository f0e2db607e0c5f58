"""Source files through Hadoop's file systems: local disks, HDFS and object stores alike."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]  # py4j has no hints
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from kinsight.config import SourceConfig
from kinsight.errors import ConfigError, RefusedError

Kind = Literal["events", "items", "users", "identities"]
Format = Literal["csv", "delta", "json", "parquet"]

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

JAVA_ERRORS = (Py4JJavaError, PySparkException)

_COMPRESSION = re.compile(r"\.(gz|bz2|zst|zstd|snappy|lz4|deflate)$")
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class UnreadableFileError(Exception):
    """A file that exists but cannot be read; the job decides whether that ends the run."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path}: {why}")


@dataclasses.dataclass(frozen=True)
class DeltaEntry:
    """How the log of a Delta table speaks of one of its files.

    Attributes:
        path: The path in the log, by which the file is found there again.
        deletion_vector: Name of the list of its deleted rows; empty where it has none.
        rows: Rows that are not deleted; None where the log does not tell.
        snapshot: Delta's own object of the version that was listed.
    """

    path: str
    deletion_vector: str
    rows: int | None
    snapshot: Any = dataclasses.field(compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of one source, as it was when it was listed.

    Attributes:
        kind: What its rows become.
        source: Name of the source in the configuration.
        path: What a person reads and what is stored.
        location: What Hadoop opens.
        uri: The location, percent-encoded, as Spark tells it beside each row.
        size: Bytes.
        modified_milliseconds: Modification time since 1970-01-01 UTC.
        delta: What the log says of it, where it belongs to a Delta table.
    """

    kind: Kind
    source: str
    path: str
    location: str
    uri: str
    size: int
    modified_milliseconds: int
    delta: DeltaEntry | None = None

    @property
    def modified(self) -> dt.datetime:
        """Modification time as an aware UTC datetime."""
        return EPOCH + dt.timedelta(milliseconds=self.modified_milliseconds)

    @property
    def id(self) -> str:
        """Modification time, then a hash of source, path, size, modification time, deleted rows.

        The time comes first so that the ids of one night lie close together: Delta's minimum and
        maximum a data file then tell which files a replacement cannot touch.
        """
        content = [self.source, self.path, self.size, self.modified_milliseconds]
        if self.delta is not None and self.delta.deletion_vector:
            content.append(self.delta.deletion_vector)
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return f"{self.modified:%Y%m%dT%H%M%S}-{digest[:16]}"


def file_format(path: str) -> Format | None:
    """The format that a file's ending tells, compression aside; None if it tells nothing."""
    name = _COMPRESSION.sub("", path.lower())
    return next((fmt for ending, fmt in _FORMATS.items() if name.endswith(ending)), None)


def common_format(source: SourceConfig, files: list[SourceFile]) -> Format:
    """The configured format of a source, or the one that all its file endings tell.

    Raises:
        ConfigError: If endings differ or tell nothing and no format is configured.
    """
    if any(file.delta is not None for file in files):
        return "delta"
    if source.format is not None:
        return source.format
    by_format: dict[Format | None, str] = {}
    for file in files:
        by_format.setdefault(file_format(file.path), file.path)
    formats = [fmt for fmt in by_format if fmt is not None]
    if len(by_format) > 1 or not formats:
        raise ConfigError(
            f"Source {source.name} holds files whose format is not clear.",
            expected=f"file endings of one format: {', '.join(_FORMATS)}",
            found=", ".join(by_format.values()),
            to_do="set `format` of the source, or choose files by a glob such as folder/*.csv",
        )
    return formats[0]


def list_files(spark: SparkSession, source: SourceConfig, kind: Kind) -> list[SourceFile]:
    """All files that a source's path names, folders included with their sub-folders.

    Names that begin with ``_`` or ``.`` are left out, as Spark does.

    Returns:
        Files in the order of their paths.

    Raises:
        RefusedError: If nothing is there, or the path may not be read.
        ConfigError: If a Delta table lies among the files.
    """
    assert source.path is not None, "tables of the catalogue are listed by kinsight.ingest.delta"
    jvm: Any = spark.sparkContext._jvm
    try:
        with java_errors(source.path):
            root = jvm.org.apache.hadoop.fs.Path(source.path)
            system = root.getFileSystem(hadoop_conf(spark))
            starts = (
                [system.getFileStatus(root)] if system.exists(root) else system.globStatus(root)
            )
            found = [
                _source_file(status, source, kind)
                for start in starts or []
                for status in _walk(system, start)
            ]
            near = _nearest_names(system, root) if not found else []
    except UnreadableFileError as error:
        raise RefusedError(
            f"Source {source.name} cannot be listed.",
            expected="a file, folder or glob that may be read",
            found=str(error),
            to_do="check the path, its permissions and the connection to its file system",
        ) from None
    if not found:
        raise RefusedError(
            f"Source {source.name} has no files: nothing matches its path.",
            expected=f"at least one file at {source.path}",
            found="none" + (f"; near by: {', '.join(near)}" if near else ""),
            to_do=f"correct `path` of source {source.name}",
        )
    return sorted(found, key=lambda file: file.path)


def first_line(spark: SparkSession, file: SourceFile, encoding: str, comment: str) -> str | None:
    """The first line of a text file that is neither blank nor a comment; None if there is none.

    Args:
        spark: The session.
        file: The file; compression is told by its ending.
        encoding: Java's name of the character set.
        comment: Character that begins a comment; empty for none.

    Raises:
        UnreadableFileError: If it cannot be opened or decompressed.
    """
    jvm: Any = spark.sparkContext._jvm
    with java_errors(file.path):
        path = jvm.org.apache.hadoop.fs.Path(file.location)
        conf = hadoop_conf(spark)
        codec = jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
        stream = path.getFileSystem(conf).open(path)
        try:
            plain = stream if codec is None else codec.createInputStream(stream)
            reader = jvm.java.io.BufferedReader(jvm.java.io.InputStreamReader(plain, encoding))
            line: str | None = reader.readLine()
            while line is not None and (not line.strip() or (comment and line.startswith(comment))):
                line = reader.readLine()
        finally:
            stream.close()
    return None if line is None else line.removeprefix("\ufeff")


def parquet_footer(spark: SparkSession, file: SourceFile) -> tuple[str, int]:
    """The schema, as Parquet prints it, and the number of rows that a file's footer tells.

    Raises:
        UnreadableFileError: If the file is not Parquet, is cut off, or cannot be opened.
    """
    jvm: Any = spark.sparkContext._jvm
    with java_errors(file.path):
        path = jvm.org.apache.hadoop.fs.Path(file.location)
        input_file = jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(
            path, hadoop_conf(spark)
        )
        reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(input_file)
        try:
            metadata = reader.getFooter().getFileMetaData()
            return str(metadata.getSchema().toString()), int(reader.getRecordCount())
        finally:
            reader.close()


@contextmanager
def java_errors(path: str) -> Iterator[None]:
    """Turn exceptions of the JVM into UnreadableFileError, with the innermost reason."""
    try:
        yield
    except Py4JJavaError as error:
        cause = error.java_exception
        while cause.getCause() is not None:
            cause = cause.getCause()
        name = cause.getClass().getSimpleName()
        message = str(cause.getMessage() or "").splitlines()
        raise UnreadableFileError(path, f"{message[0] if message else ''} ({name})") from None
    except PySparkException as error:
        raise UnreadableFileError(path, str(error).splitlines()[0]) from None


def hadoop_conf(spark: SparkSession) -> Any:
    """The JVM's settings of file systems."""
    jsc: Any = spark.sparkContext._jsc
    return jsc.hadoopConfiguration()


def _walk(system: Any, status: Any) -> Iterator[Any]:
    """The files at and under a status, hidden ones left out."""
    if not status.isDirectory():
        yield status
        return
    for child in system.listStatus(status.getPath()):
        name = child.getPath().getName()
        if name == "_delta_log":
            raise ConfigError(
                "A source holds a Delta table among its files.",
                expected="files, or one Delta table: its folder also holds rows that were removed",
                found=f"{_shown(status.getPath())}/_delta_log",
                to_do="make the table a source of its own",
            )
        if not name.startswith(("_", ".")):
            yield from _walk(system, child)


def _source_file(status: Any, source: SourceConfig, kind: Kind) -> SourceFile:
    return SourceFile(
        kind=kind,
        source=source.name,
        path=_shown(status.getPath()),
        location=str(status.getPath().toString()),
        uri=plain_uri(str(status.getPath().toUri().toString())),
        size=int(status.getLen()),
        modified_milliseconds=int(status.getModificationTime()),
    )


def plain_uri(uri: str) -> str:
    """A URI as it is compared: Spark writes local ones as file:/x or file:///x."""
    return re.sub("^file:/+", "file:/", uri)


def shown_path(path: str) -> str:
    """A path as a person writes it: local ones without their scheme."""
    return re.sub("^file:/+", "/", path)


def _shown(path: Any) -> str:
    return shown_path(str(path.toString()))


def _nearest_names(system: Any, path: Any) -> list[str]:
    """Names beside a path that does not exist which look like it."""
    folder = path.getParent()
    if folder is None or not system.exists(folder):
        return []
    names = [str(status.getPath().getName()) for status in system.listStatus(folder)]
    return difflib.get_close_matches(str(path.getName()), names, 3, cutoff=0.5)
