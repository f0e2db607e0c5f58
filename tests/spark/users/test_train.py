"""Stage `train` on planted sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from kinsight.embed.job import run_embed
from kinsight.encoders.artifact import read_artifact
from kinsight.encoders.batch import Batch
from kinsight.errors import ConfigError, RefusedError
from kinsight.models import model_folder
from kinsight.runs import StageSummary
from kinsight.train.checkpoint import FOLDER
from kinsight.train.job import run_train, usable_model
from kinsight.train.loader import SequenceLoader
from kinsight.workspace import Workspace
from tests.conftest import open_test_workspace
from tests.planted_sequences import ITEMS, plant_sequences
from tests.planting import publish

DATE = "2024-03-01"
TRAIN = {
    "encoder": {"name": "transformer", "width": 16},
    "epochs": 4,
    "batch_tokens": 512,
    "learning_rate": 0.01,
    "minimum_users": 20,
    "threads": 1,
}


@dataclasses.dataclass(frozen=True)
class Trained:
    """A warehouse after one run of the stage, and the row it published."""

    workspace: Workspace
    summary: StageSummary
    row: dict[str, object]


@pytest.fixture(scope="module")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One run over planted sequences, in a folder with a space and a percent sign."""
    root = tmp_path_factory.mktemp("train") / "ware house %41"
    workspace = open_test_workspace(spark, root, train=TRAIN)
    plant_sequences(workspace, DATE)
    # Rows of an earlier snapshot stay as files in the folder; training must not see them.
    plant_sequences(workspace, DATE, only=["sequences"])
    summary = run_train(workspace, workspace.as_of(DATE))
    [row] = workspace.tables.read("models", summary.outputs["models"]).collect()
    return Trained(workspace, summary, row.asDict())


def test_publishes_one_model_with_its_files(trained: Trained) -> None:
    row = trained.row
    [version] = trained.summary.producer["model_version"]
    assert row["model_version"] == version
    assert version.startswith("transformer-2024-03-01-")
    assert row["objective"] == "next_item x 1"
    assert row["vocabulary_version"] == "v1"
    assert row["status"] == "ready"
    artifact = read_artifact(Path(str(row["artifact_path"])))
    assert artifact.sha256 == row["sha256"]
    assert artifact.dimension == row["dimension"] == 16
    # The widest category level has 4 tokens; padding and unknown come on top.
    assert artifact.vocabulary_sizes == {
        "item": 26, "event_type": 3, "category": 6, "brand": 3, "price": 5,
    }  # fmt: skip


def test_counts_every_user_once(trained: Trained) -> None:
    counts = trained.summary.counts
    assert counts["sequences_read"] == 120
    assert counts["users_trained"] + counts["users_held_out"] + counts["users_too_short"] == 120
    assert counts["users_too_short"] >= 1
    assert counts["models_rows"] == 1


def test_learns_what_was_planted(trained: Trained) -> None:
    # Twelve items a taste: whoever knows the taste finds 10 of 12, popularity 10 of 24.
    metrics = trained.summary.metrics
    assert metrics["recall_10"] > metrics["popularity_recall_10"] + 0.15
    # Ranking chose the epoch: the loss need only be below that of a guess.
    assert metrics["held_out_loss"] < np.log(24) - 0.05
    assert trained.row["metrics"].items() <= metrics.items()
    assert {"seconds", "users_per_second"} <= metrics.keys()


def test_a_rerun_gives_the_same_model(trained: Trained) -> None:
    again = run_train(trained.workspace, trained.workspace.as_of(DATE))
    assert again.producer == trained.summary.producer
    [row] = trained.workspace.tables.read("models", again.outputs["models"]).collect()
    for column in set(trained.row) - {"run_id", "created_at"}:
        assert row[column] == trained.row[column], column


def test_a_killed_run_is_taken_up_and_gives_the_same_model(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = trained.workspace
    root = model_folder(workspace.config.tables, FOLDER)
    [version] = trained.summary.producer["model_version"]
    batches = SequenceLoader.batches

    def until(loader: SequenceLoader, epoch: int) -> Iterator[Batch]:
        if epoch == 3:
            raise KeyboardInterrupt
        return batches(loader, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(SequenceLoader, "batches", until)
        with pytest.raises(KeyboardInterrupt):
            run_train(workspace, workspace.as_of(DATE))
    assert len(list(root.glob("*/epoch-0002/state.json"))) == 1
    again = run_train(workspace, workspace.as_of(DATE))
    assert again.producer["model_version"] == [version]
    assert again.metrics["users_per_second"] > 0
    assert not root.exists()


def test_a_model_is_usable_until_it_is_old_or_the_settings_change(trained: Trained) -> None:
    workspace = trained.workspace
    [version] = trained.summary.producer["model_version"]
    found = usable_model(workspace, workspace.as_of("2024-05-29"))
    assert found is not None
    assert found.model_version == version
    assert usable_model(workspace, workspace.as_of("2024-05-30")) is None
    assert usable_model(workspace, workspace.as_of("2024-02-29")) is None
    settings = workspace.config.train.model_copy(update={"seed": 8})
    changed = workspace.config.model_copy(update={"train": settings})
    level = workspace.config.sequence.model_copy(update={"category_level": 1})
    other_level = workspace.config.model_copy(update={"sequence": level})
    for config in (changed, other_level):
        changed_workspace = dataclasses.replace(workspace, config=config)
        assert usable_model(changed_workspace, workspace.as_of(DATE)) is None


def test_a_rerun_reads_the_newest_sequences_of_its_date(trained: Trained) -> None:
    workspace = trained.workspace
    plant_sequences(workspace, DATE, seed=6, only=["sequences"])
    again = run_train(workspace, workspace.as_of(DATE))
    assert again.producer != trained.summary.producer


def test_the_random_encoder_trains_nothing(trained: Trained) -> None:
    workspace = with_train(trained.workspace, encoder={"name": "random", "width": 8})
    summary = run_train(workspace, workspace.as_of(DATE), latest_input=True)
    [version] = summary.producer["model_version"]
    row = workspace.tables.read("models").where(f"model_version = '{version}'").collect()[0]
    assert (row["encoder"], row["objective"], row["dimension"]) == ("random", "none", 8)
    assert row["metrics"] == {"epochs": 0.0}


def test_content_mean_is_fitted_on_its_date_and_embedded_like_any_other(
    trained: Trained,
) -> None:
    workspace = with_train(trained.workspace, encoder={"name": "content_mean", "width": 8})
    summary = run_train(workspace, workspace.as_of(DATE))
    plant_sequences(workspace, "2024-04-01", seed=9, only=["sequences"])
    again = run_train(workspace, workspace.as_of(DATE), latest_input=True)
    assert again.producer == summary.producer
    [version] = summary.producer["model_version"]
    row = workspace.tables.read("models").where(f"model_version = '{version}'").collect()[0]
    assert (row["encoder"], row["objective"], row["dimension"]) == ("content_mean", "none", 8)
    assert row["users_trained"] == summary.counts["users_trained"]
    # Items and the four categories.
    assert row["metrics"]["basis_tokens"] == ITEMS + 4
    run_embed(workspace, workspace.as_of(DATE))
    rows = workspace.tables.read("embeddings").where(f"model_version = '{version}'").collect()
    vectors = {row["user_id"]: np.array(row["vector"]) for row in rows if row["events_used"] > 3}
    users = sorted(vectors)
    unit = np.stack([vectors[u] / np.linalg.norm(vectors[u]) for u in users])
    taste = np.array([int(user[1:]) % 2 for user in users])
    cosines = unit @ unit.T
    # The two tastes share no item.
    alike = taste[:, None] == taste
    assert cosines[alike].mean() > cosines[~alike].mean() + 0.5


def test_a_later_training_begins_with_the_earlier_model_and_tells_how_far_it_moved(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace(train=TRAIN | {"warm_start": True, "epochs": 1})
    plant_sequences(shop, DATE)
    first = run_train(shop, shop.as_of(DATE))
    assert "drift_neighbours_kept" not in first.metrics
    # Two items fewer: the later halves of the tastes bear other indices.
    plant_sequences(shop, "2024-04-01", vocabulary="v2", items=ITEMS - 2, seed=6)
    later = run_train(shop, shop.as_of("2024-04-01"))
    assert later.metrics["held_out_loss"] < first.metrics["held_out_loss"]
    assert later.metrics["drift_neighbours_kept"] > later.metrics["drift_chance"]
    again = run_train(shop, shop.as_of("2024-04-01"))
    assert again.producer == later.producer, "a re-run begins where its first run began"
    earlier = run_train(shop, shop.as_of(DATE))
    assert earlier.producer == first.producer, "no date begins with a model of its future"


def test_too_few_users_are_refused_before_anything_is_written(
    workspace: Callable[..., Workspace], tmp_path: Path
) -> None:
    (tmp_path / "warehouse").mkdir()  # so that it gets no tables
    shop = workspace(train=TRAIN | {"minimum_users": 500})
    plant_sequences(shop, DATE, users=30)
    with pytest.raises(RefusedError) as refused:
        run_train(shop, shop.as_of(DATE))
    assert "at least 500 users" in refused.value.expected
    assert "29" in refused.value.found
    assert not shop.tables.exists("models")
    assert not Path(shop.config.tables.artifact_root).exists()
    assert [r.status for r in shop.log.records() if r.stage == "train"] == ["refused"]


def test_a_date_without_sequences_and_a_catalogue_of_one_item_are_refused(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace(train=TRAIN)
    with pytest.raises(RefusedError, match="nothing published sequences"):
        run_train(shop, shop.as_of(DATE))
    plant_sequences(shop, DATE, users=30, items=2)
    tokens = shop.tables.read("vocabularies").where("NOT (field = 'item' AND index > 2)")
    rows = [row.asDict() for row in tokens.collect()]
    key = {"vocabulary_version": "v1"}
    producer = {"vocabulary_version": ["v1"]}
    publish(shop, "sequence", {"vocabularies": rows}, as_of=DATE, producer=producer, key=key)
    with pytest.raises(RefusedError, match="catalogue is too small"):
        run_train(shop, shop.as_of(DATE))


def test_a_wrong_encoder_or_place_for_models_is_a_configuration_error(
    workspace: Callable[..., Workspace], tmp_path: Path
) -> None:
    shop = workspace(train=TRAIN | {"encoder": {"name": "transfomer"}})
    with pytest.raises(ConfigError, match="did you mean `transformer`"):
        run_train(shop, shop.as_of(DATE))
    tables = {"path": str(tmp_path / "warehouse"), "artifacts": "s3a://bucket/models"}
    shop = workspace(train=TRAIN, tables=tables)
    with pytest.raises(ConfigError, match="local path"):
        run_train(shop, shop.as_of(DATE))


def with_train(workspace: Workspace, **settings: object) -> Workspace:
    """The same tables under other training settings."""
    train = type(workspace.config.train).model_validate(TRAIN | settings)
    return dataclasses.replace(
        workspace, config=workspace.config.model_copy(update={"train": train})
    )
