"""Fixtures of all tests: one Spark session a process, fresh workspaces, a small planted shop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before anything loads an OpenMP runtime: on a shared machine, threads that wait by spinning make
# small fits tens of times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from kinsight.config import KinsightConfig, SparkConfig, TablesConfig, parse_settings
from kinsight.progress import Progress
from kinsight.tables import Tables, table_names
from kinsight.workspace import Workspace

# The same examples on every run, and no verdict on the speed of a shared machine.
settings.register_profile("kinsight", deadline=None, derandomize=True)
settings.load_profile("kinsight")

TEST_PROPERTIES = {
    "spark.master": "local[2]",
    "spark.driver.memory": "2g",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.databricks.delta.snapshotPartitions": "1",
    # Hundreds of small queries: making code for each, planning anew at every shuffle, parallel
    # collectors and checksum files (a process each for its rights) cost more than they give: 26 s
    # become 8 s for a run of `sequence`. The pipeline that tests/end_to_end sends through
    # spark-submit runs with all of them.
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:ReservedCodeCacheSize=512m",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


class BySession(LoadScopeScheduling):
    """Deals tests to processes: file by file, but those that need Spark folder by folder.

    So one session serves each folder of tests/spark, and one all of tests/end_to_end. One for all
    of tests/spark saves warming up, but leaves the other processes idle at the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith("tests/unit/") else file.rpartition("/")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> BySession:
    """What `pytest -n` deals tests out with."""
    return BySession(config, log)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session of a process's tests, with a catalogue warehouse of its own."""
    from kinsight.spark import build_session

    warehouse = tmp_path_factory.mktemp("catalogue")
    session = build_session(
        SparkConfig(), TEST_PROPERTIES | {"spark.sql.warehouse.dir": str(warehouse)}
    )
    yield session
    session.stop()


@pytest.fixture
def workspace(spark: SparkSession, tmp_path: Path) -> Callable[..., Workspace]:
    """Opens a workspace with an empty warehouse; keyword arguments are configuration sections."""

    def open_workspace(root: Path | None = None, **sections: Any) -> Workspace:
        return open_test_workspace(spark, root or tmp_path / "warehouse", **sections)

    return open_workspace


def open_test_workspace(spark: SparkSession, root: Path, **sections: Any) -> Workspace:
    """A workspace over a folder; an `ingest` section that reads nothing unless one is given.

    A new folder gets all tables, without rows: copied, because to create one takes Delta half a
    second.
    """
    data: dict[str, Any] = {
        "shop": "test",
        "tables": {"path": str(root)},
        "ingest": {"events": [{"name": "events", "path": str(root / "no-events.csv")}]},
        "report": {"folder": str(root.parent / "reports")},
    } | sections
    config = parse_settings(KinsightConfig, data, Path("test.yaml"))
    if not root.exists():
        shutil.copytree(empty_tables(spark), root)
    return Workspace.open(spark, config, Progress(quiet=True))


def empty_tables(spark: SparkSession) -> Path:
    """A folder of all tables, without rows; made once a session."""
    warehouse = Path(str(spark.conf.get("spark.sql.warehouse.dir")).removeprefix("file:"))
    folder, unfinished = (warehouse.with_name(name) for name in ("empty tables", "unfinished"))
    if not folder.exists():
        Tables(spark, TablesConfig(path=str(unfinished))).ensure(*table_names())
        unfinished.rename(folder)
    return folder
