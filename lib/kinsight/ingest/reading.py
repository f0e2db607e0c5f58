"""Raw rows: one struct of source columns a row, whatever the format, with the file it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from kinsight.errors import ConfigError, RefusedError
from kinsight.ingest.delta import read_entries
from kinsight.ingest.files import JAVA_ERRORS, SourceFile, UnreadableFileError
from kinsight.ingest.layouts import Layout, csv_options

ROW, LINE, FILE_ID = "row", "line", "source_file_id"
SPOILT_LINE = {
    "csv": "the line has a wrong number of columns",
    "json": "the line is no JSON object of the mapped form",
}
LINE_REASON = "line_reason"

# Hadoop would read these characters of a file name as a glob.
_GLOB_CHARACTERS = re.compile(r"([\[\]{}*?\\])")
_MALFORMED = "_malformed_line"
_NANOSECONDS = re.compile(r"int64 (\S+) \(TIMESTAMP\(NANOS,(true|false)\)\)")


def read_rows(spark: SparkSession, layout: Layout) -> DataFrame:
    """The rows of the files of a layout, nothing cast yet.

    Returns:
        ``row``: struct of the source's columns under their own names; ``line``: the whole line of
        a spoilt CSV or JSON row, else null; ``line_reason``: why it is spoilt, else null;
        ``source_file_id``: null if the file changed since it was listed.
    """
    readers = {
        "csv": _read_csv,
        "delta": _read_delta,
        "json": _read_json,
        "parquet": _read_parquet,
    }
    rows = readers[layout.format](spark, layout)
    spoilt = F.lit(SPOILT_LINE.get(layout.format))
    return (
        rows.select(
            ROW,
            LINE,
            F.col("_metadata.file_path").alias("uri"),
            F.col("_metadata.file_size").alias("size"),
            F.unix_millis("_metadata.file_modification_time").alias("modified"),
        )
        .join(F.broadcast(_file_ids(spark, layout.files)), ["uri", "size", "modified"], "left")
        .select(ROW, LINE, F.when(F.col(LINE).isNotNull(), spoilt).alias(LINE_REASON), FILE_ID)
    )


def row_type(rows: DataFrame) -> StructType:
    """The source columns of raw rows and their types."""
    kind = rows.schema[ROW].dataType
    assert isinstance(kind, StructType)
    return kind


def _read_csv(spark: SparkSession, layout: Layout) -> DataFrame:
    names = layout.signature
    _check_names(layout, names)
    fields = [f"`c{number}` STRING" for number in range(len(names))]
    reader = spark.read.schema(", ".join([*fields, f"`{_MALFORMED}` STRING"]))
    for key, value in csv_options(layout.source, layout.files[0].path).items():
        reader = reader.option(key, value)
    reader = reader.option("mode", "PERMISSIVE").option("columnNameOfCorruptRecord", _MALFORMED)
    rows = reader.csv([_escaped(file) for file in layout.files])
    columns = [F.col(f"c{number}").alias(name) for number, name in enumerate(names)]
    return rows.select(F.struct(*columns).alias(ROW), F.col(_MALFORMED).alias(LINE), "_metadata")


def _read_json(spark: SparkSession, layout: Layout) -> DataFrame:
    """One object a line; values are text whatever their type, so that no night infers another."""
    fields: dict[str, Any] = {}
    for path in layout.signature:
        *parents, leaf = path.split(".")
        level = fields
        for parent in parents:
            level = level.setdefault(parent, {})
            if not isinstance(level, dict):
                raise _both_value_and_object(layout, path)
        if level.setdefault(leaf, None) is not None:
            raise _both_value_and_object(layout, path)
    schema = _text_fields(fields).add(_MALFORMED, StringType())
    encoding = {key.lower(): value for key, value in layout.source.options.items()}
    reader = spark.read.option("encoding", encoding.get("encoding", "UTF-8"))
    lines = reader.text([_escaped(file) for file in layout.files])
    lines = lines.where(F.trim("value") != "").select(
        F.from_json("value", schema, {"columnNameOfCorruptRecord": _MALFORMED}).alias("parsed"),
        "_metadata",
    )
    parsed = F.col("parsed")
    return lines.select(
        parsed.dropFields(_MALFORMED).alias(ROW), parsed[_MALFORMED].alias(LINE), "_metadata"
    )


def _text_fields(fields: Mapping[str, Any]) -> StructType:
    return StructType(
        [
            StructField(name, StringType() if inner is None else _text_fields(inner))
            for name, inner in fields.items()
        ]
    )


def _both_value_and_object(layout: Layout, path: str) -> ConfigError:
    return ConfigError(
        f"Source {layout.source.name} maps a value and something inside it.",
        expected="paths of which none goes through another",
        found=path,
        to_do="map one of the two",
    )


def _read_parquet(spark: SparkSession, layout: Layout) -> DataFrame:
    try:
        rows = spark.read.parquet(*(_escaped(file) for file in layout.files))
    except JAVA_ERRORS as error:
        raise RefusedError(
            f"Files of source {layout.source.name} have columns that Spark cannot read.",
            expected="Parquet types that Spark knows",
            found=f"{str(error).splitlines()[0]} in {layout.files[0].path}",
            to_do="write the files with other types, or without these columns",
        ) from None
    _check_names(layout, rows.columns)
    nanoseconds = dict(_NANOSECONDS.findall(layout.signature[0]))
    columns = []
    for name in rows.columns:
        column = F.col("`" + name.replace("`", "``") + "`")
        if name in nanoseconds:
            # build_session lets Spark read these as numbers; it has no such type of its own.
            instant = F.timestamp_micros(F.floor(column / 1000))
            is_instant = nanoseconds[name] == "true"
            column = instant if is_instant else instant.cast("timestamp_ntz")
        columns.append(column.alias(name))
    no_line = F.lit(None).cast("string").alias(LINE)
    return rows.select(F.struct(*columns).alias(ROW), no_line, "_metadata")


def _read_delta(spark: SparkSession, layout: Layout) -> DataFrame:
    try:
        rows = read_entries(spark, layout.files)
    except UnreadableFileError as error:
        raise RefusedError(
            f"The Delta table of source {layout.source.name} cannot be read.",
            expected="a table whose files are all there",
            found=str(error),
            to_do="read it with Spark, and restore it if that fails too",
        ) from None
    columns = [F.col("`" + name.replace("`", "``") + "`") for name in rows.columns]
    no_line = F.lit(None).cast("string").alias(LINE)
    return rows.select(F.struct(*columns).alias(ROW), no_line, "_metadata")


def _check_names(layout: Layout, names: Sequence[str]) -> None:
    lower = [name.lower() for name in names]
    twice = sorted({name for name in names if lower.count(name.lower()) > 1})
    if twice:
        raise RefusedError(
            f"Column names of source {layout.source.name} repeat.",
            expected="each name once, upper and lower case alike",
            found=f"{', '.join(twice)} in {layout.files[0].path}",
            to_do="rename the columns, or export only one of them",
        )


def _escaped(file: SourceFile) -> str:
    return _GLOB_CHARACTERS.sub(r"\\\1", file.location)


def _file_ids(spark: SparkSession, files: Sequence[SourceFile]) -> DataFrame:
    # Spark writes local paths as file:/x or file:///x, depending on how it came to them.
    rows = [
        (uri, file.size, file.modified_milliseconds, file.id)
        for file in files
        for uri in {file.uri, re.sub("^file:/+", "file:///", file.uri)}
    ]
    return spark.createDataFrame(
        rows, f"uri STRING, size BIGINT, modified BIGINT, {FILE_ID} STRING"
    )
