"""What every stage gets: the session, the configuration, the tables and the run log."""

from __future__ import annotations

import dataclasses
import datetime as dt

from pyspark.sql import SparkSession

from kinsight.config import KinsightConfig, Settings
from kinsight.dates import AsOf
from kinsight.progress import Progress
from kinsight.runs import RunLog, StageRun
from kinsight.tables import FrozenTables, Tables


@dataclasses.dataclass(frozen=True)
class Workspace:
    """A session over one shop's tables.

    Attributes:
        spark: The session.
        config: The whole configuration.
        tables: The table catalogue.
        log: The run log.
        progress: Where steps are shown.
    """

    spark: SparkSession
    config: KinsightConfig
    tables: Tables
    log: RunLog
    progress: Progress

    @classmethod
    def open(
        cls, spark: SparkSession, config: KinsightConfig, progress: Progress | None = None
    ) -> Workspace:
        """Open the tables of a configuration in a session."""
        tables = Tables(spark, config.tables)
        return cls(spark, config, tables, RunLog(tables), progress or Progress())

    @classmethod
    def look(
        cls, spark: SparkSession, config: KinsightConfig, progress: Progress | None = None
    ) -> Workspace:
        """Open the tables for looking only: nothing is created, changed or written."""
        tables = FrozenTables(spark, config.tables)
        return cls(spark, config, tables, RunLog(tables), progress or Progress())

    def as_of(self, date: dt.date | str) -> AsOf:
        """An as-of date in the shop's time zone."""
        return AsOf.of(date, self.config.shop_timezone)

    def run(
        self, stage: str, as_of: AsOf | None, settings: Settings, latest_input: bool = False
    ) -> StageRun:
        """Begin a run of a stage; use the result as a context manager.

        Raises:
            RefusedError: If the date has not begun: what it published would lack its last events.
        """
        if as_of is not None:
            as_of.refuse_unbegun()
        return StageRun(
            self.log,
            self.progress,
            stage,
            as_of,
            self.config.shop_timezone,
            settings,
            latest_input,
            self.config.spark.wait_for_executors_minutes,
        )
