"""Plants the published output of a stage, so that the next stage can be tested alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql.types import StructType

from kinsight.config import Settings
from kinsight.tables import KeyValue, table_schema
from kinsight.workspace import Workspace


def publish(
    workspace: Workspace,
    stage: str,
    tables: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    as_of: str | None = None,
    producer: Mapping[str, list[str]] | None = None,
    key: Mapping[str, KeyValue] | None = None,
    counts: Mapping[str, int] | None = None,
) -> str:
    """Write rows to real tables as a succeeded run of a stage.

    Args:
        workspace: Where to write.
        stage: Stage name of the run.
        tables: Table to rows as dictionaries; `run_id` and `as_of` are filled in.
        as_of: Date of the run.
        producer: Producer of the run's row.
        key: What the rows replace; `as_of` by default.
        counts: Counts of the run's row.

    Returns:
        The run id.
    """
    date = workspace.as_of(as_of) if as_of else None
    with workspace.run(stage, date, Settings()) as run:
        run.producer = dict(producer or {})
        run.counts |= dict(counts or {})
        for name, rows in tables.items():
            schema = table_schema(name)
            fixed: dict[str, Any] = {"run_id": run.run_id}
            if date is not None:
                fixed["as_of"] = date.date
            values = [tuple(({**fixed, **row})[field.name] for field in schema) for row in rows]
            frame = workspace.spark.createDataFrame(
                values, StructType([*schema.fields]), verifySchema=True
            )
            where: Mapping[str, KeyValue] = key or ({"as_of": date.date} if date else {})
            if where:
                run.write(name, frame, where)
            else:
                written = workspace.tables.append(name, frame, run.run_id)
                run.outputs[name] = written.version
        return run.run_id


def day(text: str, hour: int = 12) -> dt.datetime:
    """An aware UTC instant on a day."""
    return dt.datetime.fromisoformat(text).replace(hour=hour, tzinfo=dt.timezone.utc)
