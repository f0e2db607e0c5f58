"""One run of one stage: reads pinned inputs, writes outputs, publishes at the end."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from pyspark.sql import DataFrame
from typing_extensions import Self

import kinsight
from kinsight.config import Settings
from kinsight.dates import AsOf
from kinsight.errors import KinsightError, RefusedError
from kinsight.progress import Progress
from kinsight.runs.log import Publication, RunLog, RunRecord, newest_publication
from kinsight.spark import is_running, on_the_driver_alone
from kinsight.tables import KeyValue, Tables, Written
from kinsight.trouble import explain, no_executors
from kinsight.watching import ExecutorWatch

COMPACTED_EVERY = 50
"""Versions of ``runs`` after which its files, one a run, become one."""


@dataclasses.dataclass(frozen=True)
class StageSummary:
    """What a stage did, for the summary table and for tests."""

    stage: str
    as_of: dt.date | None
    run_id: str
    seconds: float
    counts: dict[str, int]
    metrics: dict[str, float]
    outputs: dict[str, int]
    producer: dict[str, list[str]]
    warnings: list[str]


class StageRun:
    """One run of one stage: reads pinned inputs, writes outputs, publishes at the end.

    Use as a context manager. Leaving it normally appends a succeeded row to ``runs``; leaving it
    with an exception appends a refused or failed one and lets the exception pass.

    Args:
        log: The run log.
        progress: Where steps are shown.
        stage: Stage name.
        as_of: The as-of date; None for ``ingest``.
        timezone: The shop's time zone.
        config: The stage's settings, kept in the row.
        latest_input: Read the newest inputs even if an earlier run of this date pinned others.
        wait_minutes: How long jobs may wait for a cluster that gives no executors.
    """

    def __init__(
        self,
        log: RunLog,
        progress: Progress,
        stage: str,
        as_of: AsOf | None,
        timezone: str,
        config: Settings,
        latest_input: bool = False,
        wait_minutes: float = 30,
    ) -> None:
        self.log = log
        self.tables = log.tables
        self.progress = progress
        self.stage = stage
        self.as_of = as_of
        self.timezone = timezone
        self.config = config
        self.latest_input = latest_input
        self.started_at = dt.datetime.now(dt.timezone.utc)
        stamp = self.started_at.strftime("%Y%m%dT%H%M%S")
        self.run_id = f"{stamp}-{stage}-{secrets.token_hex(3)}"
        self.producer: dict[str, list[str]] = {}
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.metrics: dict[str, float] = {}
        self.warnings: list[str] = []
        self._records: list[RunRecord] | None = None
        self._clock = time.monotonic()
        self._watch = ExecutorWatch(self.tables.spark.sparkContext, wait_minutes)

    def __enter__(self) -> Self:
        self._watch.start()
        self.progress.stage(self.stage, self.as_of.date if self.as_of else None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.stop()
        if error is None:
            self._record("succeeded", None)
        elif isinstance(error, Exception):
            starved = self._watch.gave_up
            known = no_executors(self._watch.minutes) if starved else explain(error)
            self._record_failure(known or error)
            if known is not None:
                raise known from None

    def _record_failure(self, error: Exception) -> None:
        """Append the row of a run that ended with an error, from this machine if need be."""
        status = "refused" if isinstance(error, RefusedError) else "failed"
        message = error.text() if isinstance(error, KinsightError) else repr(error)
        self.outputs = {}
        try:
            if self._watch.gave_up or not is_running(self.tables.spark.sparkContext):
                spark = on_the_driver_alone(self.tables.spark)
                self.log = RunLog(Tables(spark, self.tables.config))
            if self.log.tables.exists("runs"):
                self._record(status, message)
        except Exception as second:
            # The first error is the one to tell.
            self.progress.warn(f"the failed run could not be written to table runs: {second!r}")

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Show a step with a spinner, its tasks and its seconds; Spark's own pages name it."""
        context = self.tables.spark.sparkContext
        context.setJobDescription(f"{self.stage}: {description}")
        try:
            with self.progress.step(description, self.tables.spark):
                yield
        finally:
            if is_running(context):
                context.setJobDescription("")

    def warn(self, message: str) -> None:
        """Keep a warning in the run's row and show it."""
        self.warnings.append(message)
        self.progress.warn(message)

    def records(self) -> list[RunRecord]:
        """All runs as they were when this one first asked: one look at the log."""
        if self._records is None:
            self._records = self.log.records()
        return self._records

    def earlier_version(self, table: str, producer: Mapping[str, str] | None = None) -> int | None:
        """The version of an input that the last succeeded run of this stage and date read.

        A published date never changes because late events came: its re-run reads what its run
        read, unless the latest input is asked for. This is for inputs that do not belong to the
        date. What another stage made for the date is read at its newest publication, or one run
        would mix what it made with other settings.
        """
        if self.latest_input or self.as_of is None:
            return None
        for record in reversed(self.records()):
            if (
                record.stage == self.stage
                and record.status == "succeeded"
                and record.as_of == self.as_of.date
                and record.covers(producer or {})
            ):
                return record.inputs.get(table)
        return None

    def require(
        self,
        table: str,
        *,
        as_of: dt.date | None = None,
        not_after: dt.date | None = None,
        producer: Mapping[str, str] | None = None,
        made_by: str,
    ) -> Publication:
        """The newest publication of a table.

        Args:
            table: Table name.
            as_of: Exactly this date.
            not_after: The latest date up to this one.
            producer: What it must have produced.
            made_by: The stage to name if there is none.

        Raises:
            RefusedError: If no succeeded run published it.
        """
        found = newest_publication(
            self.records(), table, as_of=as_of, not_after=not_after, producer=producer
        )
        if found is None:
            wanted = ", ".join(f"{k} {v}" for k, v in (producer or {}).items())
            date = f" for {as_of}" if as_of else f" up to {not_after}" if not_after else ""
            raise RefusedError(
                f"Stage {self.stage} has no input: nothing published {table}{date}.",
                expected=f"a succeeded run of `{made_by}`{date}{f' ({wanted})' if wanted else ''}",
                found="none in table runs",
                to_do=f"run `kinsight {made_by}` first, or `kinsight run` for all stages",
            )
        return found

    def read(self, source: Publication | str, version: int | None = None) -> DataFrame:
        """Read a publication, or a table at a version, and record it as an input."""
        table = source if isinstance(source, str) else source.table
        if not isinstance(source, str):
            version = source.version
        elif version is None:
            version = self.tables.version(table)
        self.inputs[table] = int(version or 0)
        return self.tables.read(table, version)

    def write(self, table: str, rows: DataFrame, key: Mapping[str, KeyValue]) -> Written:
        """Replace the rows of a producer key and record the table as an output."""
        written = self.tables.replace(table, rows, key, self.run_id)
        self.outputs[table] = written.version
        self.counts[f"{table}_rows"] = written.rows
        return written

    def publish_unchanged(self, tables: Iterable[str]) -> None:
        """Record tables as outputs at their newest version without writing them."""
        for table in tables:
            self.outputs[table] = self.tables.version(table)

    def summary(self) -> StageSummary:
        """What the run did so far."""
        return StageSummary(
            stage=self.stage,
            as_of=self.as_of.date if self.as_of else None,
            run_id=self.run_id,
            seconds=time.monotonic() - self._clock,
            counts=dict(self.counts),
            metrics=dict(self.metrics),
            outputs=dict(self.outputs),
            producer=dict(self.producer),
            warnings=list(self.warnings),
        )

    def _record(self, status: str, message: str | None) -> None:
        version = self.log.append(
            {
                "run_id": self.run_id,
                "stage": self.stage,
                "status": status,
                "as_of": self.as_of.date if self.as_of else None,
                "as_of_instant": self.as_of.instant if self.as_of else None,
                "shop_timezone": self.timezone,
                "producer": self.producer,
                "inputs": _pairs(self.inputs),
                "outputs": _pairs(self.outputs),
                "counts": self.counts,
                "metrics": {k: float(v) for k, v in self.metrics.items()},
                "warnings": self.warnings,
                "message": message,
                "config_hash": self.config.stable_hash(),
                "config": json.dumps(self.config.model_dump(mode="json"), sort_keys=True),
                "code_version": kinsight.__version__,
                "started_at": self.started_at,
                "finished_at": dt.datetime.now(dt.timezone.utc),
            }
        )
        if version % COMPACTED_EVERY == 0:
            try:
                self.log.tables.compact("runs")
            except Exception as error:  # of any kind: the row is written, and the run succeeded
                self.progress.warn(f"the files of table runs were not compacted: {error!r}")


def _pairs(versions: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    return sorted(versions.items())
