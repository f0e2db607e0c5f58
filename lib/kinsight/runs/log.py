"""Rows of ``runs``: what each run read, wrote and found; and what was published."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from kinsight.config import LEAF
from kinsight.tables import Tables, table_schema


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One row of ``runs``; see schemas/runs.sql for the meaning of each field."""

    run_id: str
    stage: str
    status: str
    as_of: dt.date | None
    producer: dict[str, list[str]]
    inputs: dict[str, int]
    outputs: dict[str, int]
    counts: dict[str, int]
    metrics: dict[str, float]
    warnings: list[str]
    message: str | None
    config_hash: str
    config: str
    code_version: str
    started_at: dt.datetime
    finished_at: dt.datetime

    def covers(self, producer: Mapping[str, str]) -> bool:
        """Whether the run produced what is asked, such as ``{"segmentation": "main"}``."""
        return all(value in self.producer.get(key, []) for key, value in producer.items())


@dataclasses.dataclass(frozen=True)
class Publication:
    """A table at the version that a succeeded run published."""

    table: str
    version: int
    record: RunRecord


def newest_publication(
    records: Iterable[RunRecord],
    table: str,
    *,
    as_of: dt.date | None = None,
    not_after: dt.date | None = None,
    before: dt.date | None = None,
    producer: Mapping[str, str] | None = None,
) -> Publication | None:
    """What :meth:`RunLog.newest` finds, among records that were read already."""
    found = [
        record
        for record in records
        if record.status == "succeeded"
        and table in record.outputs
        and (as_of is None or record.as_of == as_of)
        and (not_after is None or (record.as_of is not None and record.as_of <= not_after))
        and (before is None or (record.as_of is not None and record.as_of < before))
        and record.covers(producer or {})
    ]
    if not found:
        return None
    best = max(found, key=lambda r: (r.as_of or dt.date.min, r.finished_at, r.run_id))
    return Publication(table, best.outputs[table], best)


def category_of(sequences: RunRecord) -> str:
    """The level of the categories in the sequences that a run wrote, or `leaf`."""
    recorded = sequences.producer.get("category_level")
    if recorded:
        return recorded[0]
    # Of before it was recorded: the settings tell it.
    level = json.loads(sequences.config).get("category_level")
    return LEAF if level is None else str(level)


def category_learned(records: Iterable[RunRecord], model_version: str) -> str | None:
    """The level of the categories that a model was trained on; None of before it was recorded."""
    made = newest_publication(records, "models", producer={"model_version": model_version})
    return made.record.producer.get("category_level", [None])[0] if made is not None else None


def producer_names(
    records: Iterable[RunRecord], table: str, key: str, as_of: dt.date | None = None
) -> list[str]:
    """What succeeded runs produced in a table, such as the names of audiences, sorted.

    Args:
        records: Runs.
        table: Table name.
        key: Producer key, such as ``audience``.
        as_of: Exactly this date; any by default.
    """
    return sorted(
        {
            name
            for record in records
            if record.status == "succeeded" and table in record.outputs
            if as_of is None or record.as_of == as_of
            for name in record.producer.get(key, [])
        }
    )


class RunLog:
    """Reads and appends rows of ``runs``.

    What was read is kept as long as only this log's own rows are added.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._read: tuple[int, list[RunRecord]] | None = None

    def records(self) -> list[RunRecord]:
        """All runs, oldest first. One row a job run: small at any size of shop."""
        if not self.tables.exists("runs"):
            return []
        version = self.tables.version("runs")
        if self._read is None or self._read[0] != version:
            rows = self.tables.read("runs", version).collect()
            self._read = version, _in_order(_record(row.asDict()) for row in rows)
        return list(self._read[1])

    def newest(
        self,
        table: str,
        *,
        as_of: dt.date | None = None,
        not_after: dt.date | None = None,
        before: dt.date | None = None,
        producer: Mapping[str, str] | None = None,
    ) -> Publication | None:
        """The newest succeeded publication of a table, or None.

        Args:
            table: Table name.
            as_of: Exactly this date.
            not_after: This date or an earlier one; the latest such date wins.
            before: An earlier date; the latest such date wins.
            producer: What it must have produced, such as ``{"segmentation": "main"}``.
        """
        return newest_publication(
            self.records(),
            table,
            as_of=as_of,
            not_after=not_after,
            before=before,
            producer=producer,
        )

    def append(self, values: Mapping[str, Any]) -> int:
        """Append one row; return the version that holds it."""
        self.tables.ensure("runs")
        schema = table_schema("runs")
        row = tuple(values[name] for name in schema.names)
        rows = self.tables.spark.createDataFrame([row], schema)
        version = self.tables.append("runs", rows, str(values["run_id"])).version
        if self._read is not None and self._read[0] == version - 1:
            self._read = version, _in_order([*self._read[1], _record(values)])
        return version


def _in_order(records: Iterable[RunRecord]) -> list[RunRecord]:
    return sorted(records, key=lambda record: (record.finished_at, record.run_id))


def _record(row: Mapping[str, Any]) -> RunRecord:
    """A row of ``runs``, read or about to be written; Spark gives times as local ones."""
    return RunRecord(
        run_id=row["run_id"],
        stage=row["stage"],
        status=row["status"],
        as_of=row["as_of"],
        producer={key: list(names) for key, names in row["producer"].items()},
        inputs=dict(row["inputs"]),
        outputs=dict(row["outputs"]),
        counts=dict(row["counts"]),
        metrics=dict(row["metrics"]),
        warnings=list(row["warnings"]),
        message=row["message"],
        config_hash=row["config_hash"],
        config=row["config"],
        code_version=row["code_version"],
        started_at=row["started_at"].astimezone(dt.timezone.utc),
        finished_at=row["finished_at"].astimezone(dt.timezone.utc),
    )
