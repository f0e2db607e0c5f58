"""A Delta table as a source: what it holds is what the events are, whatever was done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from kinsight.config import EventSourceConfig
from kinsight.errors import ConfigError, RefusedError
from kinsight.ingest.delta import list_source
from kinsight.ingest.job import run_ingest
from kinsight.workspace import Workspace
from tests.comparison import assert_same_tables, rows_of
from tests.conftest import open_test_workspace
from tests.spark.events.test_ingest import CLICKS, RUN_COLUMNS, TABLES
from tests.spark.events.test_ingest_rows import event_source

COLUMNS = "user STRUCT<id: STRING>, at STRING, event STRING, item STRING, shop STRING"


def rows(spark: SparkSession, days: range, users: int = 6) -> DataFrame:
    """A click a user, day and shop, one of them twice, and one without a user a day."""
    values: list[Any] = [
        ((f"u{u}",), f"{d:02d}.03.2024 {10 + u}:00", "view", f"i{d % 3}", shop)
        for d in days
        for shop in ("Köln, 50 %", "Lyon")
        for u in range(users)
    ]
    values += [values[0]]
    values += [((None,), f"{d:02d}.03.2024 09:00", "view", "i1", "Lyon") for d in days[:1]]
    return spark.createDataFrame(values, COLUMNS)


def section(**place: Any) -> dict[str, Any]:
    columns = CLICKS | {"user_id": "user.id", "country": "shop"}
    source = {"name": "clicks", "columns": columns, "time_format": "dd.MM.yyyy HH:mm"} | place
    return {"events": [source | {"timezone": "Europe/Berlin"}]}


def live(spark: SparkSession, table: str) -> list[str]:
    """What the events of the table are, in the columns that events keep as they were."""
    return rows_of(
        spark.sql(
            f"SELECT user.id, item, shop, hour(to_timestamp(at, 'dd.MM.yyyy HH:mm')) - 1 AS hour "
            f"FROM {table} WHERE user.id IS NOT NULL"
        )
    )


def ingested(workspace: Workspace) -> list[str]:
    events = workspace.tables.read("events")
    return rows_of(
        events.selectExpr(
            "user_id AS id", "item_id AS item", "country AS shop", "hour(event_time) AS hour"
        )
    )


def test_a_delta_table_is_followed_through_appends_deletes_and_optimize(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "a table"
    table = f"delta.`{folder}`"
    writer = rows(spark, range(1, 4)).repartition(2, "at").write.format("delta")
    writer = writer.option("delta.enableDeletionVectors", "true")
    writer.option("delta.columnMapping.mode", "name").partitionBy("shop").save(str(folder))
    workspace = open_test_workspace(spark, tmp_path / "w", ingest=section(path=str(folder)))
    first = run_ingest(workspace)
    assert (first.counts["rows_read"], first.counts["rows_quarantined"]) == (38, 1)
    assert ingested(workspace) == live(spark, table)
    (record,) = workspace.log.records()
    assert record.inputs["source clicks"] == 0
    ids = rows_of(workspace.tables.read("events").select("event_id", "session_id"))

    spark.sql(f"OPTIMIZE {table}")
    compacted = run_ingest(workspace)
    assert compacted.counts["files_removed"] > compacted.counts["files_read"] > 0
    assert compacted.counts["rows_removed"] == compacted.counts["rows_accepted"] > 0
    again = rows_of(workspace.tables.read("events").select("event_id", "session_id"))
    assert again == ids, "neither rows nor ids change"

    rows(spark, range(4, 6)).write.format("delta").mode("append").save(str(folder))
    spark.sql(f"DELETE FROM {table} WHERE user.id = 'u3'")
    spark.sql(f"ALTER TABLE {table} RENAME COLUMN item TO product")
    spark.sql(f"ALTER TABLE {table} RENAME COLUMN product TO item")
    changed = run_ingest(workspace)
    assert changed.counts["rows_quarantined"] == 2, "the changed file's bad row is replaced"
    assert ingested(workspace) == live(spark, table)
    assert not [row for row in ingested(workspace) if "'u3'" in row]

    spark.sql(f"DELETE FROM {table} WHERE shop = 'Lyon'")
    emptied = run_ingest(workspace)
    assert emptied.counts["files_read"] == 0 < emptied.counts["files_removed"]
    (warning,) = emptied.warnings
    assert warning.endswith("rows of source clicks are gone: its Delta table no longer has them")
    assert ingested(workspace) == live(spark, table)
    assert workspace.tables.read("quarantine").count() == 0

    spark.sql(f"CREATE TABLE clicks_of_a_shop USING delta LOCATION '{folder}'")
    at_once = open_test_workspace(
        spark, tmp_path / "w2", ingest=section(table="clicks_of_a_shop", format="delta")
    )
    run_ingest(at_once)
    spark.sql("DROP TABLE clicks_of_a_shop")
    assert_same_tables(at_once, workspace, TABLES, ignore=RUN_COLUMNS)


def test_a_place_that_is_no_whole_delta_table_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "table"
    rows(spark, range(1, 2)).write.format("delta").partitionBy("shop").save(str(folder))
    with pytest.raises(ConfigError, match=rf"points into[\s\S]*path: {folder}"):
        list_source(spark, event_source(folder / "shop=Lyon"), "events")
    with pytest.raises(ConfigError, match="format: parquet"):
        list_source(spark, event_source(folder, format="parquet"), "events")
    with pytest.raises(RefusedError, match="no _delta_log"):
        list_source(spark, event_source(tmp_path, format="delta"), "events")
    nowhere = EventSourceConfig(name="log", table="no.such.table")
    with pytest.raises(RefusedError, match="no Delta table that can be read"):
        list_source(spark, nowhere, "events")
    spark.sql(f"DELETE FROM delta.`{folder}`")
    workspace = open_test_workspace(spark, tmp_path / "w", ingest=section(path=str(folder)))
    with pytest.raises(RefusedError, match="its Delta table is empty"):
        run_ingest(workspace)
