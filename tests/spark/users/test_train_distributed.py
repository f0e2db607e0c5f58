"""Stage `train` in several processes, through Spark's TorchDistributor."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from kinsight.config import TrainConfig
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError, EnvironmentProblem
from kinsight.models import model_folder
from kinsight.objectives.registry import build_objectives
from kinsight.progress import Progress
from kinsight.train.checkpoint import FOLDER, Checkpoints
from kinsight.train.distributed import Distributed
from kinsight.train.job import run_train
from kinsight.workspace import Workspace
from tests.conftest import open_test_workspace
from tests.histories import SIZES, training_set
from tests.planted_sequences import plant_sequences
from tests.spark.users.test_train import DATE, TRAIN

EPOCHS = 12


def config(**more: object) -> TrainConfig:
    return TrainConfig.model_validate(TRAIN | {"processes": 2} | more)


def test_more_processes_than_cores_are_refused(workspace: Callable[..., Workspace]) -> None:
    shop = workspace(train=TRAIN | {"processes": 3})
    plant_sequences(shop, DATE, users=30)
    with pytest.raises(ConfigError, match="more processes") as refused:
        run_train(shop, shop.as_of(DATE))
    assert "at most 2" in refused.value.expected
    assert [r.status for r in shop.log.records() if r.stage == "train"] == ["failed"]


def test_executors_need_files_that_they_can_reach(spark: SparkSession) -> None:
    beside = Distributed.plan(spark, config(threads=None), Progress(quiet=True))
    assert (beside.local, beside.threads) == (True, 1)
    beside.require_shared(["s3a://bucket/part-00000.parquet"])  # copied to the driver's disk
    on_cluster = Distributed(config(), 1, False, Progress(quiet=True))
    on_cluster.require_shared(["file:/shared/part-00000.parquet"])
    with pytest.raises(ConfigError, match="cannot read") as refused:
        on_cluster.require_shared(["file:/shared/a.parquet", "s3a://bucket/part-00000.parquet"])
    assert "s3a://bucket" in refused.value.found


def test_an_encoder_that_is_not_trained_needs_no_processes(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace(train=TRAIN | {"processes": 9, "encoder": {"name": "random", "width": 8}})
    plant_sequences(shop, DATE, users=30)
    assert run_train(shop, shop.as_of(DATE)).counts["models_rows"] == 1


@pytest.mark.heavy
def test_a_training_that_lost_a_process_is_taken_up_and_gives_the_same_model(
    spark: SparkSession, tmp_path: Path
) -> None:
    train = TRAIN | {"processes": 2, "epochs": EPOCHS, "patience": EPOCHS}
    workspace = open_test_workspace(spark, tmp_path / "ware house", train=train)
    console = Console(record=True, width=200)
    workspace.progress.console, workspace.progress.quiet = console, False
    plant_sequences(workspace, DATE)
    undisturbed = run_train(workspace, workspace.as_of(DATE))
    said = console.export_text()
    assert said.count("held-out") == EPOCHS
    assert "torch" not in said
    assert undisturbed.counts["users_too_short"] >= 1

    root = model_folder(workspace.config.tables, FOLDER)
    assert not root.exists()
    killer = threading.Thread(target=kill_the_second, args=(root,))
    killer.start()
    with pytest.raises(EnvironmentProblem, match="ended before the others") as lost:
        run_train(workspace, workspace.as_of(DATE))
    killer.join()
    assert "process 1 of 2 (counted from 0) was killed by signal 9" in lost.value.found
    # Two, where the kill fell between writing one and removing the one before.
    epoch = max(int(folder.name.removeprefix("epoch-")) for folder in root.glob("*/epoch-*"))
    assert 2 <= epoch < EPOCHS
    assert f"run again: it goes on after epoch {epoch}" in lost.value.to_do
    assert [r.status for r in workspace.log.records() if r.stage == "train"][-1] == "failed"

    again = run_train(workspace, workspace.as_of(DATE))
    assert f"resuming after epoch {epoch} of {EPOCHS}" in console.export_text()
    assert again.producer == undisturbed.producer
    measures = set(undisturbed.metrics) - {"seconds", "users_per_second"}
    assert {m: again.metrics[m] for m in measures} == {m: undisturbed.metrics[m] for m in measures}
    assert not root.exists()


def kill_the_second(root: Path) -> None:
    """Kill the process of rank 1 once the second epoch is kept."""
    deadline = time.monotonic() + 300
    while not any(int(p.name[6:]) >= 2 for p in root.glob("*/epoch-*")):
        assert time.monotonic() < deadline, "waited in vain for a checkpoint"
        time.sleep(0.005)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            is_rank = "torch" not in " ".join(process.cmdline()[:-1])
            if is_rank and process.environ().get("RANK") == "1":
                process.kill()
                return
    raise AssertionError("no second process")


@pytest.mark.heavy
def test_what_a_process_refuses_the_driver_tells(spark: SparkSession, tmp_path: Path) -> None:
    settings = config()
    several = Distributed.plan(spark, settings, Progress(quiet=True))
    encoder = build_encoder("transformer", settings.encoder.options, SIZES, settings.seed)
    data = training_set()
    objectives = build_objectives(settings.objective, encoder, data)
    checkpoints = Checkpoints(tmp_path / "models", {"config": "a"}, Progress(quiet=True))
    absent = [f"file:{tmp_path}/part-00000-absent.parquet"]
    with pytest.raises(EnvironmentProblem, match="do not see the files") as refused:
        several.train(encoder, objectives, data, SIZES, 10, absent, checkpoints)
    assert "2 of 2 processes" in refused.value.found
    assert "part-00000-absent" in refused.value.found
    assert not (tmp_path / "models").exists()
