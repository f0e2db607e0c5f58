"""What the tables are: ``schemas/*.sql``, one file a table, and nothing else."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from kinsight.errors import IntegrityError
from kinsight.resources import resource

KeyValue = str | dt.date | Sequence[str]


@functools.cache
def table_names() -> tuple[str, ...]:
    """Names of all tables, one ``schemas/NAME.sql`` each, sorted."""
    return tuple(sorted(path.stem for path in resource("schemas").glob("*.sql")))


@functools.cache
def table_ddl(name: str) -> str:
    """The CREATE TABLE statement of a table, with ``{table}`` for its identifier."""
    if name not in table_names():
        raise KeyError(f"no table {name}; known: {', '.join(table_names())}")
    return resource("schemas", f"{name}.sql").read_text(encoding="utf-8")


@functools.cache
def table_schema(name: str) -> StructType:
    """Columns, types, nullability and comments of a table, as its DDL defines them.

    Needs an active Spark session, whose parser reads the DDL.
    """
    columns = re.search(r"\(\n(.*?)\n\)\nUSING delta", table_ddl(name), re.DOTALL)
    if columns is None:
        raise ValueError(f"schemas/{name}.sql does not follow the form of the others")
    schema = StructType.fromDDL(columns.group(1))
    assert isinstance(schema, StructType)
    return schema


def numeric_columns(name: str) -> tuple[str, ...]:
    """The columns of a table that are plain numbers."""
    fields = table_schema(name).fields
    return tuple(f.name for f in fields if f.dataType.simpleString() in ("double", "bigint"))


def quote(value: str | dt.date) -> str:
    """A SQL string literal; dates as DATE literals."""
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def key_predicate(key: Mapping[str, KeyValue]) -> str:
    """The SQL predicate that selects exactly the rows of a producer key."""
    terms = []
    for column, value in key.items():
        if isinstance(value, (str, dt.date)):
            terms.append(f"`{column}` = {quote(value)}")
        elif value:
            terms.append(f"`{column}` IN ({', '.join(quote(v) for v in value)})")
        else:
            terms.append("false")
    return " AND ".join(terms)


def missing_columns(name: str, found: StructType) -> list[StructField]:
    """What a table of an older Kinsight lacks of its definition.

    Raises:
        IntegrityError: If it has columns that the definition does not know or has of another
            type, or lacks one that needs a value in every row.
    """
    expected = table_schema(name)
    types = {field.name: field.dataType for field in found}
    wrong = [f.name for f in expected if types.get(f.name, f.dataType) != f.dataType]
    wrong += sorted(set(types) - set(expected.names))
    missing = [field for field in expected if field.name not in types]
    wrong += [f.name for f in missing if not f.nullable and not _must_be_there(f)]
    if wrong:
        raise IntegrityError(
            f"Table {name} was made by another version of Kinsight.",
            expected=f"the columns of schemas/{name}.sql",
            found=f"other, unknown or missing: {', '.join(wrong)}",
            to_do="use the version that made it, or move the folder of the table away and run the "
            "dates again",
        )
    return missing


def as_defined(name: str, rows: DataFrame) -> DataFrame:
    """Rows with all columns of a table's definition, those that an older version lacked empty.

    A list or map that must be there is an empty one, and null where the definition allows null.
    """
    found = rows.schema
    missing_columns(name, found)
    columns: list[Column] = []
    changed = rows.columns != table_schema(name).names
    for field in table_schema(name):
        known = field.name in found.names
        column = F.col(field.name) if known else F.lit(None).cast(field.dataType)
        if _must_be_there(field) and (not known or found[field.name].nullable):
            changed = True
            column = F.coalesce(column, _nothing_of(field.dataType))
        columns.append(column.alias(field.name))
    return rows.select(columns) if changed else rows


def _must_be_there(field: StructField) -> bool:
    """Whether a column is a list or map that is never null."""
    return not field.nullable and isinstance(field.dataType, (ArrayType, MapType))


def _nothing_of(kind: DataType) -> Column:
    """An empty list or map."""
    return (F.array() if isinstance(kind, ArrayType) else F.create_map()).cast(kind)
