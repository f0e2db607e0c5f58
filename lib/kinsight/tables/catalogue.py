"""The table catalogue: creates, writes and reads the Delta tables of one shop.

Nothing else knows whether tables live under a folder or in a catalogue schema.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping

from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F

from kinsight.config import TablesConfig
from kinsight.errors import IntegrityError
from kinsight.tables.definitions import (
    KeyValue,
    as_defined,
    key_predicate,
    missing_columns,
    quote,
    table_ddl,
    table_schema,
)
from kinsight.tables.delta_log import Commit, commits_since, newest_snapshot

COMMITS_SEARCHED = 50
"""How far back a run looks for its own commit to a table of a catalogue, made a moment ago."""


@dataclasses.dataclass(frozen=True)
class Written:
    """One commit: the Delta version it made and the rows it added."""

    table: str
    version: int
    rows: int


class Tables:
    """All tables under one root.

    Args:
        spark: The session.
        config: The root: a folder or a catalogue schema.
    """

    def __init__(self, spark: SparkSession, config: TablesConfig) -> None:
        self.spark = spark
        self.config = config
        self._ensured: set[str] = set()

    def identifier(self, name: str) -> str:
        """The quoted SQL identifier of a table."""
        if self.config.path is not None:
            return "delta.`{}`".format(self._folder(name).replace("`", "``"))
        parts = [*str(self.config.catalogue_schema).split("."), name]
        return ".".join("`" + part.replace("`", "``") + "`" for part in parts)

    def ensure(self, *names: str) -> None:
        """Create tables that do not exist; give older ones the columns that they lack.

        Raises:
            IntegrityError: If an existing table has columns that its definition does not know or
                has of another type, or lacks one that cannot be empty.
        """
        for name in names:
            if name in self._ensured:
                continue
            if self.config.catalogue_schema is not None:
                schema = self.identifier(name).rpartition(".")[0]
                self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            self.spark.sql(table_ddl(name).replace("{table}", self.identifier(name), 1))
            self._evolve(name)
            self._ensured.add(name)

    def exists(self, name: str) -> bool:
        """Whether the table was created."""
        if name in self._ensured:
            return True
        if self.config.path is None:
            return self.spark.catalog.tableExists(self.identifier(name))
        # The import needs a running JVM gateway; at module level it would build one.
        from delta.tables import DeltaTable

        return DeltaTable.isDeltaTable(self.spark, self._folder(name))

    def read(self, name: str, version: int | None = None) -> DataFrame:
        """A table as it is, or as a Delta version had it.

        Columns that a version of an older Kinsight lacks are there, without values.
        """
        self.ensure(name)
        at = "" if version is None else f" VERSION AS OF {int(version)}"
        return as_defined(name, self.spark.sql(f"SELECT * FROM {self.identifier(name)}{at}"))

    def version(self, name: str) -> int:
        """The newest Delta version."""
        self.ensure(name)
        return self._newest(name)

    def replace(
        self, name: str, rows: DataFrame, key: Mapping[str, KeyValue], run_id: str
    ) -> Written:
        """Replace exactly the rows of a producer key, in one commit.

        Args:
            name: Table.
            rows: Has the table's columns in any order; ``run_id`` and the single-valued columns
                of ``key`` are added where missing.
            key: Column to value, or to values for IN; rows outside it are an error of Delta.
            run_id: Written to the column of that name and to the commit.
        """
        self.ensure(name)
        writer = self._conform(name, rows, key, run_id).write.format("delta").mode("overwrite")
        writer = writer.option("replaceWhere", key_predicate(key)).option("userMetadata", run_id)
        return self._write(writer, name, run_id)

    def append(self, name: str, rows: DataFrame, run_id: str) -> Written:
        """Append rows in one commit."""
        self.ensure(name)
        writer = self._conform(name, rows, {}, run_id).write.format("delta").mode("append")
        return self._write(writer.option("userMetadata", run_id), name, run_id)

    def compact(self, name: str) -> None:
        """Write the rows of many small files into few; no row changes."""
        self.spark.sql(f"OPTIMIZE {self.identifier(name)}")

    def _write(self, writer: DataFrameWriter, name: str, run_id: str) -> Written:
        before = self._newest(name)
        if self.config.path is not None:
            writer.save(self._folder(name))
        else:
            writer.saveAsTable(self.identifier(name))
        version, added = self._commit_of(name, run_id, before)
        return Written(name, version, added)

    def _conform(
        self, name: str, rows: DataFrame, key: Mapping[str, KeyValue], run_id: str
    ) -> DataFrame:
        """Put the columns in the table's order and types; refuse missing and surplus ones."""
        schema = table_schema(name)
        fill = {c: v for c, v in key.items() if isinstance(v, (str, dt.date))}
        fill["run_id"] = run_id
        for column, value in fill.items():
            if column in schema.names and column not in rows.columns:
                rows = rows.withColumn(column, F.lit(value))
        missing = sorted(set(schema.names) - set(rows.columns))
        surplus = sorted(set(rows.columns) - set(schema.names))
        if missing or surplus:
            raise IntegrityError(
                f"Rows for {name} do not fit schemas/{name}.sql.",
                expected=", ".join(schema.names),
                found=f"missing: {missing}; not in the table: {surplus}",
                to_do="this is a mistake in Kinsight; please report it",
            )
        return rows.select(*(F.col(f.name).cast(f.dataType).alias(f.name) for f in schema))

    def _evolve(self, name: str) -> None:
        """Add the columns that a table of an older Kinsight lacks; refuse other differences."""
        missing = missing_columns(name, self.spark.table(self.identifier(name)).schema)
        if missing:
            added = ", ".join(
                f"`{field.name}` {field.dataType.simpleString()} "
                f"COMMENT {quote(field.metadata.get('comment', ''))}"
                for field in missing
            )
            self.spark.sql(f"ALTER TABLE {self.identifier(name)} ADD COLUMNS ({added})")

    def _newest(self, name: str) -> int:
        """The newest version there is now, whoever wrote it."""
        if self.config.path is not None:
            found = int(newest_snapshot(self.spark, self._folder(name)).version())
        else:
            found = next((version for version, _, _ in self._history(name, 1)), -1)
        if found < 0:
            raise IntegrityError(
                f"Table {name} has no history.",
                expected="a Delta log",
                found="none",
                to_do="move the folder away and run again",
            )
        return found

    def _commit_of(self, name: str, run_id: str, before: int) -> tuple[int, int]:
        """Version and added rows of the commit that a run made after a version.

        Others may have committed since: they leave a run's own rows alone, but their version and
        counts are not its own. Delta makes no commit where no row comes or goes; then the newest
        version holds what the run wrote, which is nothing.
        """
        for version, made_by, metrics in self._commits_since(name, before):
            if made_by == run_id:
                return version, int((metrics or {}).get("numOutputRows", 0))
        return self._newest(name), 0

    def _commits_since(self, name: str, version: int) -> Iterable[Commit]:
        """The commits after a version, newest first."""
        if self.config.path is not None:
            return commits_since(self.spark, self._folder(name), version)
        return [c for c in self._history(name, COMMITS_SEARCHED) if c[0] > version]

    def _history(self, name: str, most: int) -> list[Commit]:
        """Version, user metadata and metrics of the newest commits, by Spark jobs.

        A catalogue may lie elsewhere than in this JVM's session and ask for rights of its own, so
        its tables are asked for in SQL alone.
        """
        history = self.spark.sql(f"DESCRIBE HISTORY {self.identifier(name)} LIMIT {most}")
        rows = history.select("version", "userMetadata", "operationMetrics").collect()
        return [(row["version"], row["userMetadata"], row["operationMetrics"]) for row in rows]

    def _folder(self, name: str) -> str:
        return f"{str(self.config.path).rstrip('/')}/{name}"


class FrozenTables(Tables):
    """Tables for those who only look: nothing is created or changed.

    A table that does not exist is empty, at version 0.
    """

    def ensure(self, *names: str) -> None:
        """Does nothing: what is missing stays missing."""

    def read(self, name: str, version: int | None = None) -> DataFrame:
        """A table as it is or was; no rows where it does not exist."""
        if not self.exists(name):
            return self.spark.createDataFrame([], table_schema(name))
        return super().read(name, version)

    def version(self, name: str) -> int:
        """The newest Delta version; 0 where the table does not exist."""
        return super().version(name) if self.exists(name) else 0

    def compact(self, name: str) -> None:
        """Refused."""
        raise _looked_at(name)

    def _write(self, writer: DataFrameWriter, name: str, run_id: str) -> Written:  # noqa: ARG002  # the signature of what it replaces
        raise _looked_at(name)


def _looked_at(name: str) -> IntegrityError:
    return IntegrityError(
        f"Table {name} was opened for looking only, and something wants to write to it.",
        expected="no writing",
        found="a write",
        to_do="this is a mistake in Kinsight; please report it",
    )
