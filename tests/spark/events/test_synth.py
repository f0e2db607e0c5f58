"""A synthetic shop is written by Spark, and the stages find in it what was planted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kinsight.config import load_config
from kinsight.errors import ConfigError
from kinsight.ingest.job import run_ingest
from kinsight.progress import Progress
from kinsight.synth.delivery import FAULTS
from kinsight.synth.job import write_shop
from kinsight.synth.options import SynthOptions
from kinsight.workspace import Workspace

QUIET = Progress(quiet=True)
OPTIONS = SynthOptions(
    users=2_500, items=1_000, days=30, bots=1, nights=2, late=0.1, duplicates=0.02, malformed=0.02
)


@pytest.fixture(scope="module")
def config(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "shop"
    return write_shop(spark, folder, OPTIONS, QUIET).config


def test_ingest_takes_every_event_once_and_refuses_every_fault(
    spark: SparkSession, config: Path
) -> None:
    workspace = Workspace.open(spark, load_config(config), QUIET)
    counts = run_ingest(workspace).counts
    truth = spark.read.format("delta").load(str(config.parent / "truth")).toPandas()
    events = workspace.tables.read("events").toPandas()
    assert len(events) == truth["events"].sum() == counts["events_accepted"]
    assert events["event_id"].is_unique
    of_user = events.groupby("user_id").size()
    planted = truth.set_index("user_id")["events"]
    pd.testing.assert_series_equal(of_user, planted.sort_index(), check_names=False)
    reasons = workspace.tables.read("quarantine").groupBy("reason").count().toPandas()
    assert len(reasons) == len(FAULTS), reasons
    assert counts["rows_deduplicated"] > 0


def test_bots_and_their_share_are_as_asked(spark: SparkSession, config: Path) -> None:
    truth = spark.read.format("delta").load(str(config.parent / "truth")).toPandas()
    assert truth["is_bot"].sum() == 1
    share = truth.loc[truth["is_bot"], "events"].sum() / truth["events"].sum()
    assert abs(share - OPTIONS.bot_share) < 0.02


def test_the_same_rows_come_from_any_split(
    spark: SparkSession, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinsight.synth.job.LEAST_USERS_A_TASK", 700)
    again = write_shop(spark, tmp_path / "again", OPTIONS, QUIET).config
    first, second = (
        spark.read.parquet(str(path.parent / "source" / "events")) for path in (config, again)
    )
    assert first.exceptAll(second).count() == second.exceptAll(first).count() == 0


def test_a_folder_that_is_not_empty_is_refused(spark: SparkSession, config: Path) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        write_shop(spark, config.parent, OPTIONS, QUIET)
