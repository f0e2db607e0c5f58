"""A shop that went through the whole pipeline by the command line, and the means to ask it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.cli import main
from kinsight.config import load_config
from kinsight.progress import Progress
from kinsight.workspace import Workspace
from tests.comparison import differences_of
from tests.shop import Shop, make_shop

AS_OF, NEXT = "2024-03-01", "2024-03-15"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command left on the screen and its exit code."""

    code: int
    screen: str


Command = Callable[..., Outcome]


@pytest.fixture
def kinsight(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, on the tests' Spark session."""

    def run(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(int(caught.value.code or 0), out + err)

    return run


def write_config(folder: Path, shop: Shop, **sections: Any) -> Path:
    """A configuration for a small shop: small model, four segments, one audience."""
    audiences = folder / "audiences"
    audiences.mkdir(parents=True, exist_ok=True)
    seeds = sorted(user for user, taste in shop.taste.items() if taste == "baby")[:30]
    pd.DataFrame({"user_id": seeds}).to_csv(audiences / "baby.csv", index=False)
    (audiences / "baby.yaml").write_text("seeds: {file: baby.csv}\nminimum_seeds: 25\n")
    data: dict[str, Any] = {
        "shop": "small",
        "shop_timezone": "Europe/Berlin",
        "tables": {"path": "./warehouse"},
        "ingest": shop.ingest(),
        "train": {
            "epochs": 4,
            "minimum_users": 50,
            "encoder": {"name": "transformer", "width": 16, "layers": 1},
        },
        "segment": {"segments": 4, "minimum_share": 0.05, "maximum_share": 0.5},
        "expand": {"folder": "./audiences"},
    } | sections
    path = folder / "kinsight.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path has a space."""
    return tmp_path_factory.mktemp("a shop")


@pytest.fixture(scope="session")
def healthy(spark: SparkSession, shop_folder: Path) -> Path:
    """The configuration of a shop after a full run of the first date."""
    shop = make_shop(shop_folder / "source files")
    config = write_config(shop_folder, shop)
    with pytest.raises(SystemExit) as caught:
        main(["run", "--config", str(config), "--as-of", AS_OF, "--quiet"])
    assert caught.value.code == 0
    return config


def variant(healthy: Path, name: str, **sections: object) -> Path:
    """The healthy shop's configuration with some sections replaced."""
    path = healthy.parent / name
    path.write_text(yaml.safe_dump(yaml.safe_load(healthy.read_text()) | sections))
    return path


INGESTED = ("ingested_files", "events", "items", "users", "quarantine")
SAME_ANYWHERE = (*INGESTED, "vocabularies", "sequences", "user_features", "user_bags")
"""Tables that do not depend on how Spark splits the work; training sees users in file order."""

RUN_TIMES = {
    *("run_id", "ingested_at", "quarantined_at", "created_at"),
    *("artifact_path", "training_table_version"),
}
"""Columns that tell when and where a run was, not what it found."""


def differences(left: DataFrame, right: DataFrame) -> list[str]:
    """Rows of one table that only one of two states holds, run ids and times aside."""
    return differences_of(_without_times(left), _without_times(right), RUN_TIMES)


def _without_times(rows: DataFrame) -> DataFrame:
    if "scorers" not in rows.columns:
        return rows
    return rows.withColumn("scorers", F.transform("scorers", lambda s: s.dropFields("seconds")))


def open_shop(spark: SparkSession, config: Path) -> Workspace:
    """The workspace behind a configuration."""
    return Workspace.open(spark, load_config(config), Progress(quiet=True))
