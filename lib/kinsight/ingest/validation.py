"""Checks of single rows: each takes columns and returns a reason to refuse the row, or null."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

from kinsight.ingest.mapping import Field
from kinsight.ingest.reading import LINE, LINE_REASON, ROW


def refuse_when(condition: Column, reason: str) -> Column:
    """The reason where the condition holds, else null."""
    return F.when(condition, F.lit(reason))


def fits_its_format() -> Column:
    """Refuses a CSV line of another number of columns, and a JSON line that is no object."""
    return F.col(LINE_REASON)


def is_present(value: Column, field: Field) -> Column:
    """Refuses a row that lacks a value it needs."""
    return refuse_when(value.isNull(), f"{field.label} is missing")


def is_readable(value: Column, field: Field, expected: str) -> Column:
    """Refuses a row whose raw value is there but could not be read."""
    raw = field.value.cast("string")
    given = raw.isNotNull() & (F.trim(raw) != "")
    return refuse_when(given & value.isNull(), f"{field.label} is not {expected}")


def is_not_negative(value: Column, label: str) -> Column:
    """Refuses a number below zero."""
    return refuse_when(value < 0, f"{label} is negative")


def is_within(
    time: Column, field: Field, earliest: dt.date, latest: dt.date
) -> tuple[Column, Column]:
    """Refuse a time before a date or on or after another, both at midnight UTC."""
    return (
        refuse_when(
            time < F.lit(earliest).cast("timestamp"), f"{field.label} is before {earliest}"
        ),
        refuse_when(
            time >= F.lit(latest).cast("timestamp"), f"{field.label} is on or after {latest}"
        ),
    )


def first_reason(checks: Sequence[Column]) -> Column:
    """The first reason to refuse a row; null for a good one."""
    return F.coalesce(*checks)


def raw_json(reason: Column) -> Column:
    """The row as it was read, as JSON, for refused rows; null for good ones.

    A spoilt line is kept whole, under the key ``line``.
    """
    whole_line = F.to_json(F.struct(LINE))
    row = F.to_json(ROW, {"ignoreNullFields": "false"})
    return F.when(reason.isNotNull(), F.when(F.col(LINE).isNotNull(), whole_line).otherwise(row))
