"""Stage `embed` on planted sequences and a model trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.config import EmbedConfig
from kinsight.embed.job import run_embed
from kinsight.embed.udf import check_vocabulary, embed_udf
from kinsight.encoders.artifact import WEIGHTS_FILE, Artifact, read_artifact
from kinsight.encoders.registry import build_encoder, encoder_options
from kinsight.errors import IntegrityError, RefusedError
from kinsight.models import model_folder
from kinsight.runs import StageSummary
from kinsight.workspace import Workspace
from tests.conftest import open_test_workspace
from tests.planted_sequences import plant_sequences
from tests.planting import publish

DATE = "2024-03-01"
SIZES = {"item": 26, "event_type": 3, "category": 6, "brand": 3, "price": 5}
OPTIONS = {"width": 16, "fields": ["item", "category", "gap"]}


def plant_model(
    workspace: Workspace,
    version: str = "m1",
    as_of: str = DATE,
    vocabulary: str = "v1",
    status: str = "ready",
    seed: int = 1,
    name: str = "transformer",
) -> Artifact:
    """Publish an encoder as stage `train` would."""
    encoder = build_encoder(name, OPTIONS, SIZES, seed)
    options = encoder_options(name, OPTIONS).model_dump(mode="json")
    artifact = Artifact.of(encoder, name, options, vocabulary, SIZES)
    folder = model_folder(workspace.config.tables, version)
    artifact.write(folder)
    row = {
        "model_version": version,
        "encoder": name,
        "objective": "next_item x 1",
        "config": "{}",
        "config_hash": "0",
        "vocabulary_version": vocabulary,
        "dimension": 16,
        "parameters": 1,
        "users_trained": 1,
        "users_held_out": 1,
        "training_table_version": 0,
        "metrics": {},
        "artifact_path": str(folder),
        "sha256": artifact.sha256,
        "status": status,
        "created_at": workspace.as_of(as_of).instant,
    }
    key = {"model_version": version}
    publish(
        workspace,
        "train",
        {"models": [row]},
        as_of=as_of,
        producer={"model_version": [version], "category_level": ["leaf"]},
        key=key,
    )
    return artifact


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A warehouse after one run of the stage."""

    workspace: Workspace
    summary: StageSummary
    users: list[str]

    def vectors(self, summary: StageSummary | None = None) -> DataFrame:
        version = (summary or self.summary).outputs["embeddings"]
        return self.workspace.tables.read("embeddings", version).orderBy("user_id")


@pytest.fixture(scope="module")
def embedded(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    workspace = open_test_workspace(spark, tmp_path_factory.mktemp("embed") / "warehouse")
    users = plant_sequences(workspace, DATE)
    plant_model(workspace)
    return Embedded(workspace, run_embed(workspace, workspace.as_of(DATE)), users)


def test_half_width_is_what_the_configuration_asks_for(
    spark: SparkSession, embedded: Embedded
) -> None:
    config = embedded.workspace.config
    half = config.model_copy(update={"embed": EmbedConfig(precision="bfloat16")})
    workspace = Workspace.open(spark, half, embedded.workspace.progress)
    rows = embedded.vectors(run_embed(workspace, workspace.as_of(DATE))).collect()
    exact, found = (
        np.array([r["vector"] for r in of]) for of in (embedded.vectors().collect(), rows)
    )
    assert not np.array_equal(exact, found)
    cosine = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.999


def test_every_user_has_one_vector_of_the_model(embedded: Embedded) -> None:
    rows = embedded.vectors().collect()
    assert [row["user_id"] for row in rows] == embedded.users
    assert {row["model_version"] for row in rows} == {"m1"}
    assert {row["interest"] for row in rows} == {0}
    assert {len(row["vector"]) for row in rows} == {16}
    assert rows[-1]["events_used"] == 1
    for row in rows:
        assert row["norm"] == pytest.approx(np.linalg.norm(row["vector"]), rel=1e-5)
    assert embedded.summary.producer == {"model_version": ["m1"]}
    assert embedded.summary.counts == {"sequences_read": 120, "embeddings_rows": 120}


def test_the_udf_gives_the_vectors_of_the_stage_in_data_frames_and_in_sql(
    embedded: Embedded, spark: SparkSession
) -> None:
    tables = embedded.workspace.tables
    model = read_artifact(model_folder(tables.config, "m1"))
    sequences = tables.read("sequences").where(f"as_of = '{DATE}' AND vocabulary_version = 'v1'")
    expected = [(row["user_id"], row["vector"]) for row in embedded.vectors().collect()]
    udf = embed_udf(model)
    check_vocabulary(sequences, model)
    rows = sequences.withColumn("vector", udf(F.struct("*"))).select("user_id", "vector")
    assert rows.dtypes == [("user_id", "string"), ("vector", "array<float>")]
    assert [tuple(row) for row in rows.orderBy("user_id").collect()] == expected
    spark.udf.register("embed", udf)
    nobody = spark.createDataFrame([("u9999",)], "user_id string")
    sequences.join(nobody, "user_id", "full").createOrReplaceTempView("histories")
    rows = spark.sql("SELECT user_id, embed(struct(*)) FROM histories ORDER BY user_id").collect()
    assert tuple(rows.pop()) == ("u9999", None)
    # The join put the users into other batches, which the last bits of their vectors hang on.
    assert [row[0] for row in rows] == [user for user, _ in expected]
    assert np.allclose([row[1] for row in rows], [vector for _, vector in expected], atol=1e-6)


def test_the_udf_refuses_sequences_in_another_vocabulary(embedded: Embedded) -> None:
    tables = embedded.workspace.tables
    model = read_artifact(model_folder(tables.config, "m1"))
    foreign = tables.read("sequences").limit(3).withColumn("vocabulary_version", F.lit("v0"))
    with pytest.raises(RefusedError, match="vocabulary v0"):
        check_vocabulary(foreign, model)
    with pytest.raises(PythonException, match=r"found: vocabulary v0\n  to do: train a model"):
        foreign.select(embed_udf(model)(F.struct("*"))).collect()


def test_an_encoder_of_several_interests_gives_several_rows_a_user(
    spark: SparkSession, tmp_path: Path
) -> None:
    workspace = open_test_workspace(spark, tmp_path / "warehouse")
    users = plant_sequences(workspace, DATE)
    plant_model(workspace, name="multi_interest")
    summary = run_embed(workspace, workspace.as_of(DATE))
    rows = workspace.tables.read("embeddings").orderBy("user_id", "interest").collect()
    assert [(r["user_id"], r["interest"]) for r in rows] == [
        (u, k) for u in users for k in range(4)
    ]
    weights = np.array([row["weight"] for row in rows]).reshape(-1, 4)
    assert np.allclose(weights.sum(1), 1.0, atol=1e-6)
    assert (np.diff(weights, axis=1) <= 0).all()
    counts = {"sequences_read": 120, "embeddings_rows": 480, "interests": 4}
    assert summary.counts == counts


def test_planted_tastes_point_apart(embedded: Embedded) -> None:
    matrix = np.array([row["vector"] for row in embedded.vectors().collect()[:-1]])
    matrix -= matrix.mean(0)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    likeness = matrix @ matrix.T
    same = (np.arange(len(matrix))[:, None] + np.arange(len(matrix))) % 2 == 0
    np.fill_diagonal(likeness, np.nan)
    assert np.nanmean(likeness[same]) > np.nanmean(likeness[~same]) + 0.3


def test_a_rerun_gives_the_same_bits_and_leaves_other_models_alone(embedded: Embedded) -> None:
    workspace = embedded.workspace
    plant_model(workspace, "m0", as_of="2024-02-01", seed=2)
    other = run_embed(with_model(workspace, "m0"), workspace.as_of(DATE))
    assert other.producer == {"model_version": ["m0"]}
    again = run_embed(workspace, workspace.as_of(DATE))
    assert again.producer == {"model_version": ["m1"]}
    both = embedded.vectors(again).drop("run_id")
    assert both.where("model_version = 'm0'").count() == 120
    before, after = embedded.vectors().drop("run_id"), both.where("model_version = 'm1'")
    assert before.exceptAll(after).count() == 0
    assert after.count() == 120


def test_a_rerun_reads_the_newest_sequences_of_its_date(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace()
    plant_model(shop)
    for users in (10, 20):
        plant_sequences(shop, DATE, users=users)
        assert run_embed(shop, shop.as_of(DATE)).counts["sequences_read"] == users


def test_a_model_that_knows_the_future_is_refused(embedded: Embedded) -> None:
    workspace = embedded.workspace
    plant_model(workspace, "m9", as_of="2024-04-01")
    with pytest.raises(RefusedError, match="has seen events after 2024-03-01"):
        run_embed(with_model(workspace, "m9"), workspace.as_of(DATE))
    with pytest.raises(RefusedError, match="nothing published models up to 2023-01-01"):
        run_embed(workspace, workspace.as_of("2023-01-01"))


def test_another_vocabulary_is_refused_with_the_way_to_do_it_right(embedded: Embedded) -> None:
    workspace = embedded.workspace
    plant_sequences(workspace, "2024-03-08", vocabulary="v2", users=10)
    with pytest.raises(RefusedError) as refused:
        run_embed(workspace, workspace.as_of("2024-03-08"))
    assert "vocabulary v1" in refused.value.expected
    assert refused.value.found == "vocabulary v2 (category: leaf)"
    assert "kinsight train --as-of 2024-03-08" in refused.value.to_do


def test_categories_of_another_level_are_refused_though_their_vocabulary_is_the_models(
    embedded: Embedded,
) -> None:
    workspace = embedded.workspace
    plant_sequences(workspace, "2024-03-09", category="1", users=10)
    with pytest.raises(RefusedError) as refused:
        run_embed(workspace, workspace.as_of("2024-03-09"))
    assert refused.value.expected == "sequences in the model's vocabulary v1 (category: leaf)"
    assert refused.value.found == "vocabulary v1 (category: 1)"


@pytest.fixture
def spoilt(embedded: Embedded) -> Iterator[Path]:
    """The weights of m1, put back after the test."""
    file = model_folder(embedded.workspace.config.tables, "m1") / WEIGHTS_FILE
    weights = file.read_bytes()
    yield file
    file.write_bytes(weights)


def test_damaged_foreign_and_missing_weights_are_refused(embedded: Embedded, spoilt: Path) -> None:
    workspace = embedded.workspace
    spoilt.write_bytes(spoilt.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(IntegrityError, match="not the file that was trained"):
        run_embed(workspace, workspace.as_of(DATE))
    spoilt.unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        run_embed(workspace, workspace.as_of(DATE))
    before = embedded.vectors()
    assert before.count() == 120


def test_a_whole_model_of_another_name_is_refused(embedded: Embedded) -> None:
    workspace = embedded.workspace
    plant_model(workspace, "m2", as_of="2024-02-01", seed=3)
    folder = model_folder(workspace.config.tables, "m2")
    encoder = build_encoder("transformer", OPTIONS, SIZES, seed=4)
    options = encoder_options("transformer", OPTIONS).model_dump(mode="json")
    Artifact.of(encoder, "transformer", options, "v1", SIZES).write(folder)
    with pytest.raises(IntegrityError, match="holds another model"):
        run_embed(with_model(workspace, "m2"), workspace.as_of(DATE))


def with_model(workspace: Workspace, version: str) -> Workspace:
    """The same tables with `embed.model_version` set."""
    config = workspace.config.model_copy(update={"embed": EmbedConfig(model_version=version)})
    return dataclasses.replace(workspace, config=config)
