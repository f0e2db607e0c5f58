"""The first look at files: which columns each has, and how Spark reads those that share them."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import SparkSession

from kinsight.config import SourceConfig
from kinsight.ingest.files import (
    Format,
    SourceFile,
    UnreadableFileError,
    common_format,
    first_line,
    parquet_footer,
)

_PROBES_AT_ONCE = 8  # a probe waits for the file system, not for a core


@dataclasses.dataclass(frozen=True)
class Layout:
    """Files of one source that have the same columns in the same order.

    Attributes:
        source: The source.
        format: How they are read.
        signature: Column names of CSV files; the schema text of Parquet files; the paths of the
            values that the source reads from JSON lines, and the name of the source for a Delta
            table, the same for all its files.
        files: The files, by path.
    """

    source: SourceConfig
    format: Format
    signature: tuple[str, ...]
    files: tuple[SourceFile, ...]

    def without(self, file: SourceFile) -> Layout:
        """The same layout without one of its files."""
        return dataclasses.replace(self, files=tuple(f for f in self.files if f != file))


@dataclasses.dataclass(frozen=True)
class Probe:
    """What the first look at one file found: its columns, or why it cannot be read."""

    file: SourceFile
    signature: tuple[str, ...] = ()
    rows: int | None = None
    unreadable: UnreadableFileError | None = None


def probe_files(
    spark: SparkSession, source: SourceConfig, files: Sequence[SourceFile]
) -> list[Probe]:
    """Look at the header or footer of each file, several at once; Delta's log has told."""
    fmt = common_format(source, list(files))

    def probe(file: SourceFile) -> Probe:
        if file.delta is not None:
            return Probe(file, (source.name,), file.delta.rows)
        try:
            if fmt == "parquet":
                schema, rows = parquet_footer(spark, file)
                return Probe(file, (schema,), rows)
            options = csv_options(source, file.path)
            line = first_line(spark, file, options["encoding"], options.get("comment", ""))
            if line is None:
                return Probe(file, (), 0)
            if fmt == "json":
                _check_json(file, line)
                return Probe(file, value_paths(source))
            return Probe(file, header_names(line, options))
        except UnreadableFileError as error:
            return Probe(file, unreadable=error)
        except csv.Error as error:
            return Probe(file, unreadable=UnreadableFileError(file.path, f"no CSV: {error}"))

    with ThreadPoolExecutor(_PROBES_AT_ONCE) as pool:
        return list(pool.map(probe, files))


def group_layouts(source: SourceConfig, probes: Sequence[Probe]) -> list[Layout]:
    """One layout for each distinct set of columns; empty and unreadable files are in none."""
    fmt = common_format(source, [probe.file for probe in probes])
    groups: dict[tuple[str, ...], list[Probe]] = {}
    for probe in probes:
        if probe.signature:
            groups.setdefault(probe.signature, []).append(probe)
    return [
        Layout(source, fmt, signature, tuple(probe.file for probe in group))
        for signature, group in groups.items()
    ]


def value_paths(source: SourceConfig) -> tuple[str, ...]:
    """What a source reads of a JSON object: paths of values, parts divided by dots.

    A value of Kinsight's own name is read too, unless a mapped path goes through or into it.
    """
    configured = [*source.columns.values()]
    for setting in ("category_path", "attributes", "consent"):
        configured += getattr(source, setting, [])
    paths = list(dict.fromkeys(configured))
    for name in source.known_columns:
        if name not in source.columns and not any(_meet(name, path) for path in paths):
            paths.append(name)
    return tuple(paths)


def _meet(one: str, other: str) -> bool:
    """Whether two paths are equal or one goes through the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _check_json(file: SourceFile, line: str) -> None:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        # The first row may be spoilt as any other; a document over many lines shows in it.
        if line.strip() in ("{", "["):
            why = "one JSON document over many lines; expected one object a line"
            raise UnreadableFileError(file.path, why) from error
        return
    if not isinstance(found, dict):
        why = f"its first line is a JSON {type(found).__name__}; expected one object a line"
        raise UnreadableFileError(file.path, why)


def csv_options(source: SourceConfig, path: str) -> dict[str, str]:
    """Spark's CSV options of a source: what most exports need, then what is configured.

    Quotes inside quoted fields are doubled (RFC 4180), not escaped by a backslash as in Spark's
    own default: that is what spreadsheets, databases and pandas write.
    """
    tabs = ".tsv" in path.lower().rpartition("/")[2]
    given = {key.lower(): value for key, value in source.options.items()}
    given.setdefault("sep", given.pop("delimiter", "\t" if tabs else ","))
    given.setdefault("encoding", given.pop("charset", "UTF-8"))
    return {"header": "true", "quote": '"', "escape": '"'} | given


def header_names(line: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The column names of a CSV file from its first line.

    Nameless columns get Spark's names ``_c0``, ``_c1`` …, all of them where there is no header.
    """
    separator, quote = options["sep"].replace("\\t", "\t"), options["quote"]
    if len(separator) == 1 and quote:
        fields = next(csv.reader([line], delimiter=separator, quotechar=quote))
    else:
        fields = line.split(separator)
    has_header = options["header"].lower() == "true"
    return tuple(
        (name.strip() if has_header else "") or f"_c{number}" for number, name in enumerate(fields)
    )
