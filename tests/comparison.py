"""Compares the tables of two warehouses row by row, whatever their order."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pyspark.sql import DataFrame, Row

from kinsight.workspace import Workspace

RUN_COLUMNS = frozenset({"run_id"})
VERSION_COLUMNS = frozenset({"vocabulary_version", "model_version", "training_table_version"})


def assert_same_tables(
    left: Workspace,
    right: Workspace,
    tables: Iterable[str],
    *,
    where: str = "true",
    ignore: Collection[str] = RUN_COLUMNS,
) -> None:
    """Fail unless each table holds the same rows in both warehouses, to the last bit.

    Args:
        left: One warehouse.
        right: The other.
        tables: Names of the tables.
        where: SQL predicate of the rows to compare, such as ``as_of = DATE '2024-03-01'``.
        ignore: Columns left out: run ids, and versions (``VERSION_COLUMNS``) where they differ.
    """
    differences = [
        f"{table}: {difference}"
        for table in tables
        for difference in differences_of(
            left.tables.read(table).where(where), right.tables.read(table).where(where), ignore
        )
    ]
    assert not differences, "\n".join(differences)


def differences_of(
    left: DataFrame, right: DataFrame, ignore: Collection[str] = RUN_COLUMNS
) -> list[str]:
    """Up to five rows that only one of two small frames holds, as readable lines."""
    one, other = rows_of(left, ignore), rows_of(right, ignore)
    lines = [f"{len(one)} rows against {len(other)}"] if len(one) != len(other) else []
    lines += [f"only on the left: {row}" for row in sorted(set(one) - set(other))[:5]]
    lines += [f"only on the right: {row}" for row in sorted(set(other) - set(one))[:5]]
    if not lines and one != other:
        lines.append("the same rows, but not equally often")
    return lines


def rows_of(frame: DataFrame, ignore: Collection[str] = RUN_COLUMNS) -> list[str]:
    """The rows as sorted text: maps by key, floating point numbers with all their digits."""
    columns = [c for c in frame.columns if c not in ignore]
    return sorted(repr(_canonical(row)) for row in frame.select(*columns).collect())


def _canonical(value: Any) -> Any:
    if isinstance(value, Row):
        return {name: _canonical(value[name]) for name in value.__fields__}
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    return value
