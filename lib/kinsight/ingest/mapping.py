"""Source columns to Kinsight's: which one feeds which, and pure functions that read the values.

The session's time zone is UTC (see kinsight.spark), so a naive time read as a timestamp is the
wall clock as if in UTC, and ``to_utc_timestamp`` moves it to where it belongs.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    FractionalType,
    IntegralType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from kinsight.config import SourceConfig
from kinsight.errors import ConfigError, RefusedError
from kinsight.ingest.files import JAVA_ERRORS
from kinsight.ingest.reading import ROW

EPOCH_UNITS = {"epoch_seconds": 1e6, "epoch_milliseconds": 1e3}  # microseconds a unit

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# A bare cast also takes "2024" and, as a time of today, "12:30".
_DATE_FIRST = r"^\d{4}-\d{1,2}-\d{1,2}"
_ZONE_LAST = r":\d{2}(\.\d+)?\s*(Z|[+-]\d{1,2}(:?\d{2})?|[A-Za-z][A-Za-z_/+-]+\d*)$"
_ZONE_LETTERS = frozenset("VzOXxZ")
_LATEST_MICROSECONDS = 253_402_300_800_000_000  # year 10000


@dataclasses.dataclass(frozen=True)
class Field:
    """A source column, or a constant, that feeds one column of Kinsight.

    Attributes:
        name: Kinsight's column.
        label: How messages call it, with the source column.
        value: The raw value.
        type: Its type.
    """

    name: str
    label: str
    value: Column
    type: DataType


def bind(
    source: SourceConfig, columns: StructType, required: Sequence[str], path: str
) -> dict[str, Field]:
    """Find the source column or constant behind each column of Kinsight.

    Args:
        source: The mapping. Columns of equal name need no entry.
        columns: The source columns of raw rows.
        required: Columns of Kinsight that must have one.
        path: A file with these columns, for the message.

    Returns:
        Fields by Kinsight's column; those that the source does not have are absent.

    Raises:
        RefusedError: If a mapped or required column is not in the source.
    """
    fields = {
        name: Field(name, f"{name} (constant)", F.lit(value), StringType())
        for name, value in source.constants.items()
    }
    for name in source.known_columns:
        if name in fields:
            continue
        if name in source.columns or name in columns.names:
            fields[name] = source_field(source, columns, source.columns.get(name, name), path, name)
        elif name in required:
            raise _missing(source, columns, name, path, name)
    return fields


def source_field(
    source: SourceConfig, columns: StructType, column: str, path: str, name: str
) -> Field:
    """One source column by its name, or by a path such as ``user.id`` into nested ones.

    Raises:
        RefusedError: If the source does not have it, naming the closest one.
    """
    parts = [column] if column in columns.names else column.split(".")
    value: Column = F.col(ROW)
    kind: DataType = columns
    for part in parts:
        if not isinstance(kind, StructType) or part not in kind.names:
            raise _missing(source, columns, column, path, name)
        value, kind = value.getField(part), kind[part].dataType
    label = name if column == name else f"{name} (column {column})"
    return Field(name, label, value, kind)


def text(field: Field) -> Column:
    """Trimmed text; null where nothing is left. Whole numbers have no decimals."""
    value = field.value
    if isinstance(field.type, FractionalType):
        # Ids that a data frame with gaps turned into floats: 17850.0 is customer 17850.
        whole = value.try_cast(DecimalType(38, 0))
        value = F.when(value == whole, whole.cast("string")).otherwise(value.cast("string"))
        value = F.nullif(value, F.lit("NaN"))
    elif not isinstance(
        field.type,
        (StringType, IntegralType, BooleanType, DateType, TimestampType, TimestampNTZType),
    ):
        raise _wrong_type(field, "text, a number or a date")
    return F.nullif(F.trim(value.cast("string")), F.lit(""))


def number(field: Field) -> Column:
    """A double; null where it is missing or no finite number."""
    if isinstance(field.type, StringType):
        trimmed = F.trim(field.value)
        value = F.when(trimmed.rlike(_NUMBER), trimmed.try_cast("double"))
    elif isinstance(field.type, NumericType):
        value = field.value.cast("double")
    else:
        raise _wrong_type(field, "a number")
    return F.when(F.abs(value) < float("inf"), value)


def instant(field: Field, time_format: str | None, timezone: str | None) -> Column:
    """A timestamp; null where it is missing or cannot be read.

    Args:
        field: The raw time.
        time_format: Spark's datetime pattern, ``epoch_seconds``, ``epoch_milliseconds``, or None
            for ISO 8601 text and for columns that are times already.
        timezone: Where naive times were measured; None for UTC.
    """
    if time_format in EPOCH_UNITS:
        microseconds = number(field) * EPOCH_UNITS[time_format]
        in_range = F.abs(microseconds) < _LATEST_MICROSECONDS
        return F.timestamp_micros(F.when(in_range, microseconds.try_cast("bigint")))
    if isinstance(field.type, TimestampType):
        return field.value
    if isinstance(field.type, (TimestampNTZType, DateType)):
        return _to_utc(field.value.cast("timestamp"), timezone)
    if not isinstance(field.type, StringType):
        raise _wrong_type(
            field, "a time or text; for numbers set `time_format` to epoch_seconds or the like"
        )
    trimmed = F.trim(field.value)
    if time_format is not None:
        moment = F.try_to_timestamp(trimmed, F.lit(time_format))
        return moment if _carries_zone(time_format) else _to_utc(moment, timezone)
    moment = F.when(trimmed.rlike(_DATE_FIRST), trimmed.try_cast("timestamp"))
    if timezone is None:
        return moment
    return F.when(trimmed.rlike(_ZONE_LAST), moment).otherwise(_to_utc(moment, timezone))


def flag(field: Field) -> Column:
    """A boolean from yes, true, y, t, 1 and their opposites; null where it is none of them."""
    if isinstance(field.type, BooleanType):
        return field.value
    return F.lower(text(field)).try_cast("boolean")


def event_type(name: Column, event_types: Mapping[str, str], keep_unlisted: bool) -> Column:
    """Kinsight's event type of a source's event name; null for an unlisted one not kept."""
    lower = F.lower(name)
    listed = [
        F.when(lower == source.strip().lower(), F.lit(kinsight))
        for source, kinsight in event_types.items()
    ]
    return F.coalesce(*listed, lower if keep_unlisted else F.lit(None).cast("string"))


def path_of(parts: Sequence[Column]) -> Column:
    """Category levels, root first, up to the first missing one; null where the root is missing."""
    if not parts:
        return F.lit(None).cast("array<string>")
    present = [
        F.when(reduce(Column.__and__, (p.isNotNull() for p in parts[: n + 1])), part)
        for n, part in enumerate(parts)
    ]
    path = F.array_compact(F.array(*present))
    return F.when(F.size(path) > 0, path)


def map_of(values: Mapping[str, Column], value_type: str) -> Column:
    """A map of names to values without the missing ones; null where none is configured."""
    kind = f"map<string,{value_type}>"
    if not values:
        return F.lit(None).cast(kind)
    entries = [part for name, value in values.items() for part in (F.lit(name), value)]
    return F.map_filter(F.create_map(*entries), lambda _, value: value.isNotNull()).cast(kind)


def check_time_format(spark: SparkSession, source: SourceConfig) -> None:
    """Try the datetime pattern of a source.

    Raises:
        ConfigError: If Spark does not know it.
    """
    if source.time_format is None or source.time_format in EPOCH_UNITS:
        return
    try:
        spark.range(1).select(F.try_to_timestamp(F.lit("x"), F.lit(source.time_format))).collect()
    except JAVA_ERRORS as error:
        raise ConfigError(
            f"`time_format` of source {source.name} is no datetime pattern of Spark.",
            expected=f"such as dd/MM/yyyy HH:mm:ss, or {' or '.join(EPOCH_UNITS)}",
            found=f"{source.time_format}: {str(error).splitlines()[0]}",
            to_do="see https://spark.apache.org/docs/latest/sql-ref-datetime-pattern.html",
        ) from None


def _to_utc(moment: Column, timezone: str | None) -> Column:
    return moment if timezone is None else F.to_utc_timestamp(moment, timezone)


def _carries_zone(pattern: str) -> bool:
    """Whether a datetime pattern reads a zone; quoted text does not count."""
    unquoted = "".join(pattern.split("'")[::2])
    return not _ZONE_LETTERS.isdisjoint(unquoted)


def _missing(
    source: SourceConfig, columns: StructType, column: str, path: str, name: str
) -> RefusedError:
    names = _leaves(columns)
    near = difflib.get_close_matches(column, names, 1, cutoff=0.5)
    there = ", ".join(names)
    alone = len(names) == 1 and any(mark in there for mark in ";|\t")
    return RefusedError(
        f"Source {source.name} has no column `{column}`"
        + (f", which `{name}` is mapped to." if column != name else "."),
        expected=f"column `{column}` in {path}",
        found=there + (f"; closest: {near[0]}" if near else ""),
        to_do="set the separator: `options: {sep: ';'}` or the like"
        if alone
        else f"correct the mapping of source {source.name}, or give a constant for {name}",
    )


def _leaves(columns: StructType, prefix: str = "") -> list[str]:
    """All columns, nested ones by their paths."""
    names: list[str] = []
    for field in columns:
        if isinstance(field.dataType, StructType):
            names += _leaves(field.dataType, f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names


def _wrong_type(field: Field, expected: str) -> ConfigError:
    return ConfigError(
        f"{field.label} has a type that cannot be read.",
        expected=expected,
        found=field.type.simpleString(),
        to_do="map another column, or write the files with another type",
    )
