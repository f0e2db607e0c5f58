"""Which versions of which tables a report reads: only what succeeded runs recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pandas as pd
from pyspark.sql import DataFrame

from kinsight.config import Settings
from kinsight.dates import AsOf
from kinsight.errors import RefusedError
from kinsight.runs import (
    Publication,
    RunRecord,
    StageRun,
    newest_publication,
    producer_names,
)

S = TypeVar("S", bound=Settings)


class Sources:
    """The publications that a report of a date rests on.

    Args:
        run: The report's run; every read is recorded in it.
        as_of: The date.
        latest_input: Take the newest ingest instead of the one that the date's histories read.

    Raises:
        RefusedError: If no stage has published anything for the date.
    """

    def __init__(self, run: StageRun, as_of: AsOf, latest_input: bool = False) -> None:
        self.run = run
        self.as_of = as_of
        self.records = run.log.records()
        if not self.of_date("succeeded"):
            raise self._nothing()
        self._ingest = self._ingest_record(latest_input)

    def of_date(self, *statuses: str) -> list[RunRecord]:
        """Runs of the stages for the date, oldest first; earlier reports are left out."""
        return [
            record
            for record in self.records
            if record.as_of == self.as_of.date
            and record.status in statuses
            and record.stage != "report"
        ]

    def runs_behind(self) -> list[RunRecord]:
        """The ingest that the date rests on, then all runs of the date, oldest first."""
        ingest = [self._ingest] if self._ingest else []
        return [*ingest, *self.of_date("succeeded", "refused", "failed")]

    def ingested(self, table: str) -> DataFrame | None:
        """A table of the ingest that the date rests on; None where it published none."""
        if self._ingest is None or table not in self._ingest.outputs:
            return None
        return self.run.read(Publication(table, self._ingest.outputs[table], self._ingest))

    def newest(self, table: str, **wanted: Any) -> Publication | None:
        """As ``RunLog.newest``, among the records read once."""
        return newest_publication(self.records, table, **wanted)

    def published(self, table: str) -> DataFrame | None:
        """The date's rows of a table as last published for it, or None."""
        found = self.newest(table, as_of=self.as_of.date)
        return None if found is None else only(self.run.read(found), {"as_of": self.as_of.date})

    def settings(self, table: str, now: S) -> S:
        """The settings that the date's table was made with; those of now where none was made."""
        found = self.newest(table, as_of=self.as_of.date)
        if found is None:
            return now
        made = {
            k: v for k, v in json.loads(found.record.config).items() if k in type(now).model_fields
        }
        return type(now).model_validate(made)

    def names(self, table: str, key: str) -> list[str]:
        """What was produced for the date in a table, sorted.

        Args:
            table: Such as ``audiences``.
            key: Producer key, such as ``audience``.
        """
        return producer_names(self.records, table, key, self.as_of.date)

    def by_publication(self, table: str, key: str) -> list[tuple[Publication, list[str]]]:
        """Each publication that is the newest of at least one name, with those names."""
        found: dict[str, tuple[Publication, list[str]]] = {}
        for name in self.names(table, key):
            newest = self.newest(table, as_of=self.as_of.date, producer={key: name})
            if newest is not None:
                found.setdefault(newest.record.run_id, (newest, []))[1].append(name)
        return list(found.values())

    def vocabulary_of(self, reader: RunRecord) -> str | None:
        """The vocabulary of the bags that a run read; None where it read no published ones."""
        if "user_bags" not in reader.inputs:
            return None
        version = reader.inputs["user_bags"]
        made = [
            record
            for record in self.records
            if record.status == "succeeded" and record.outputs.get("user_bags") == version
        ]
        return made[0].producer["vocabulary_version"][0] if made else None

    def _ingest_record(self, latest_input: bool) -> RunRecord | None:
        """The ingest whose events the date's histories were made from; else the newest."""
        ingests = [
            record
            for record in self.records
            if record.stage == "ingest" and record.status == "succeeded"
        ]
        histories = self.newest("sequences", as_of=self.as_of.date)
        if histories is not None and not latest_input:
            version = histories.record.inputs.get("events")
            read = [record for record in ingests if record.outputs.get("events") == version]
            ingests = read or ingests
        return ingests[-1] if ingests else None

    def _nothing(self) -> RefusedError:
        dates = sorted(
            {
                record.as_of
                for record in self.records
                if record.as_of and record.status == "succeeded" and record.stage != "report"
            }
        )
        known = ", ".join(date.isoformat() for date in dates[-5:])
        return RefusedError(
            f"There is nothing to report on for {self.as_of.date}.",
            expected="a succeeded run of at least one stage for this date",
            found=f"runs for {known}" if known else "no succeeded run for any date",
            to_do=f"run `kinsight run --as-of {self.as_of.date}` first, or name a date with runs",
        )


def only(rows: DataFrame, keys: Mapping[str, Any]) -> DataFrame:
    """Rows whose columns have the given values; a list of values means any of them."""
    for column, value in keys.items():
        many = isinstance(value, Iterable) and not isinstance(value, str)
        rows = rows.where(rows[column].isin(list(value)) if many else rows[column] == value)
    return rows


def small(rows: DataFrame) -> pd.DataFrame:
    """Collect rows whose number is bounded by the query, as every caller states."""
    frame: pd.DataFrame = rows.toPandas()
    return frame


def empty(*columns: str) -> pd.DataFrame:
    """A frame without rows, for what a stage has not published."""
    frame: pd.DataFrame = pd.DataFrame(columns=list(columns))
    return frame
