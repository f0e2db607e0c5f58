"""The pipeline on a real standalone cluster, from nothing but the archive of `make package`.

Driver and executors get an empty environment and another working directory; what they import comes
from the archive. Then machines are lost while `embed` works.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession

from kinsight.workspace import Workspace
from tests.end_to_end.cluster import (
    SPARK_HOME,
    Cluster,
    bare_environment,
    end,
    running_cluster,
    tasks_by_executor,
    wait_until,
)
from tests.end_to_end.conftest import (
    AS_OF,
    SAME_ANYWHERE,
    Command,
    differences,
    open_shop,
    write_config,
)
from tests.shop import Shop, make_shop

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

ARCHIVE = Path(__file__).parents[2] / "dist" / "kinsight-environment.tar.gz"
USERS = 1_200
"""Enough for a task of `embed` on each of two cores, see kinsight.spread."""
SMALL_CLUSTER = {
    "spark.executor.cores": "1",
    "spark.executor.memory": "1g",
    "spark.cores.max": "2",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    # One executor a machine: the cache would only hold a second copy of the archive.
    "spark.files.useFetchCache": "false",
    # Both cores from the first task on.
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
}
SLOW = {"batch_tokens": 64}
"""A few users a torch batch: `embed` takes long enough to lose a machine meanwhile."""
EARLY = {"spark.sql.execution.arrow.maxRecordsPerBatch": "50"}
"""Vectors leave for the table early: files show that the work has begun."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """The cluster after a run of the pipeline on it.

    Attributes:
        cluster: The cluster.
        environment: The archive, unpacked where the driver was started.
        config: The configuration of the shop that ran.
        events: Spark's event log of that run.
        shop: Its source files.
    """

    cluster: Cluster
    environment: Path
    config: Path
    events: Path
    shop: Shop


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if not ARCHIVE.is_file():
        pytest.skip("the archive of the environment is not built: `make package` makes it")
    tmp_path = tmp_path_factory.mktemp("cluster")
    shop = make_shop(tmp_path / "source", users=USERS)
    config = write_config(tmp_path / "shop", shop)
    # Some 15 GB unpacked: gone at the end, which pytest's own folders are not.
    with tempfile.TemporaryDirectory(dir=tmp_path) as scratch:
        environment = Path(scratch) / "elsewhere" / "environment"
        environment.mkdir(parents=True)
        subprocess.run(["tar", "-xzf", str(ARCHIVE), "-C", str(environment)], check=True)
        with running_cluster(Path(scratch) / "nodes") as cluster:
            events = Path(scratch) / "events"
            events.mkdir()
            done = submit(cluster, environment, config, events)
            assert done.returncode == 0, done.stderr[-3000:]
            yield Scene(cluster, environment, config, events, shop)


def submit(
    cluster: Cluster, environment: Path, config: Path, events: Path
) -> subprocess.CompletedProcess[str]:
    """The cluster's own spark-submit, with the archive and what lies unpacked in this folder."""
    properties = SMALL_CLUSTER | {
        "spark.archives": f"{ARCHIVE}#environment",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": str(events),
        "spark.eventLog.compress": "false",
    }
    command = [
        *(str(SPARK_HOME / "bin" / "spark-submit"), "--master", cluster.master),
        *("--properties-file", "environment/spark-conf/standalone.conf"),
        *(part for pair in properties.items() for part in ("--conf", "=".join(pair))),
        *("environment/jobs/pipeline.py", "--config", str(config), "--as-of", AS_OF),
    ]
    return subprocess.run(
        command,
        cwd=environment.parent,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def start_embed(scene: Scene, config: Path) -> subprocess.Popen[bytes]:
    """`kinsight embed` by the packed command; the YAML names the cluster."""
    command = [scene.environment / "bin" / "kinsight", "embed", "-c", config, "--as-of", AS_OF]
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=scene.environment.parent,
        env=bare_environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def copy_shop(scene: Scene, folder: Path, **sections: Any) -> Path:
    """A shop with all tables of the one that ran on the cluster; returns its configuration."""
    shutil.copytree(scene.config.parent, folder)
    path = folder / "kinsight.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))
    return path


def on_the_cluster(scene: Scene) -> dict[str, Any]:
    """The `spark` section of a shop whose executors see the driver's environment by its path."""
    own = {
        "spark.archives": "",
        "spark.pyspark.python": str(scene.environment / "bin" / "python"),
    }
    return {"master": scene.cluster.master, "conf": SMALL_CLUSTER | EARLY | own}


def vectors(shop: Workspace) -> DataFrame:
    """The vectors that the newest run of embed published."""
    found = shop.log.newest("embeddings")
    assert found is not None
    return shop.tables.read("embeddings", found.version)


def test_embed_and_assignment_run_on_both_executors(scene: Scene) -> None:
    for step in ("embed: encoding", "segment: assigning"):
        tasks = tasks_by_executor(scene.events, step)
        print(f"{step}: tasks by executor {tasks}")  # noqa: T201  # the figures to report
        assert set(tasks) == {"0", "1"}, f"{step}: {tasks}"


def test_tables_up_to_user_features_are_those_of_one_machine(
    kinsight: Command, spark: SparkSession, scene: Scene, tmp_path: Path
) -> None:
    config = write_config(tmp_path, scene.shop)
    for stage in (("ingest",), ("sequence", "--as-of", AS_OF)):
        outcome = kinsight(*stage, "-c", config, "-q")
        assert outcome.code == 0, outcome.screen
    there, here = open_shop(spark, scene.config).tables, open_shop(spark, config).tables
    for name in SAME_ANYWHERE:
        assert here.read(name).count() > 0 or name == "quarantine", name
        assert differences(there.read(name), here.read(name)) == [], name


def test_one_model_gives_the_same_vectors_segments_and_audiences_on_one_machine(
    kinsight: Command, spark: SparkSession, scene: Scene, tmp_path: Path
) -> None:
    config = copy_shop(scene, tmp_path / "shop")
    for stage in ("embed", "segment", "expand"):
        outcome = kinsight(stage, "-c", config, "--as-of", AS_OF, "-q")
        assert outcome.code == 0, outcome.screen
    there, here = open_shop(spark, scene.config), open_shop(spark, config)
    both = _pairs(vectors(there), vectors(here), "vector")
    assert len(both) == vectors(here).count() == vectors(there).count()
    distance = max(float(np.abs(np.subtract(a, b)).max()) for a, b in both)
    members = [shop.tables.read("segment_members") for shop in (there, here)]
    segments = _pairs(*members, "segment_id")
    assert len(segments) == members[0].count() == members[1].count()
    same = sum(a == b for a, b in segments) / len(segments)
    left, right = (_levels(shop) for shop in (there, here))
    overlap = {level: len(left[level] & right[level]) / len(left[level]) for level in left}
    print(f"vectors {distance:.1e} apart at most, {same:.2%} in the same segment, {overlap}")  # noqa: T201  # the figures to report
    assert distance <= 1e-5
    assert same >= 0.999
    assert left.keys() == right.keys()
    assert all(share >= 0.99 for share in overlap.values()), overlap


def _pairs(left: DataFrame, right: DataFrame, column: str) -> list[tuple[Any, Any]]:
    theirs = left.select("user_id", left[column].alias("theirs"))
    ours = right.select("user_id", right[column].alias("ours"))
    return [(row["theirs"], row["ours"]) for row in theirs.join(ours, "user_id").collect()]


def _levels(shop: Workspace) -> dict[str, set[str]]:
    """The users of every level of every audience."""
    users: dict[str, set[str]] = {}
    for row in shop.tables.read("audience_members").collect():
        users.setdefault(f"{row['audience']} {row['level']}", set()).add(row["user_id"])
    return users


def test_a_machine_lost_in_embed_changes_nothing(
    kinsight: Command, spark: SparkSession, scene: Scene, tmp_path: Path
) -> None:
    # Users who share a torch batch decide each other's last bits: the same batches in both runs.
    undisturbed = copy_shop(scene, tmp_path / "undisturbed", embed=SLOW, spark={"conf": EARLY})
    outcome = kinsight("embed", "-c", undisturbed, "--as-of", AS_OF, "-q")
    spark.conf.unset(next(iter(EARLY)))
    assert outcome.code == 0, outcome.screen
    config = copy_shop(scene, tmp_path / "disturbed", embed=SLOW, spark=on_the_cluster(scene))
    process = start_embed(scene, config)
    wait_for_vectors(process, config)
    scene.cluster.lose(1)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    left, right = (vectors(open_shop(spark, shop)) for shop in (undisturbed, config))
    assert differences(left, right) == []


def test_all_machines_lost_in_embed_end_it_with_words_and_nothing_published(
    spark: SparkSession, scene: Scene, tmp_path: Path
) -> None:
    section = on_the_cluster(scene) | {"wait_for_executors_minutes": 0.1}
    section["conf"] |= {"spark.cores.max": "1"}
    config = copy_shop(scene, tmp_path / "shop", embed=SLOW, spark=section)
    before = vectors(open_shop(spark, config)).count()
    process = start_embed(scene, config)
    wait_for_vectors(process, config)
    scene.cluster.lose(0)
    _, errors = process.communicate(timeout=600)
    words = errors.decode()
    assert process.returncode == 1, words
    assert "The cluster gives no executors." in words
    assert "Traceback" not in words
    assert "at org.apache" not in words
    shop = open_shop(spark, config)
    last = shop.log.records()[-1]
    assert (last.stage, last.status) == ("embed", "failed")
    assert "no executors" in str(last.message)
    assert shop.tables.read("embeddings").count() == before


def wait_for_vectors(process: subprocess.Popen[bytes], config: Path) -> None:
    """Wait until the executors have written the first vectors; the run is not over by then."""
    table = config.parent / "warehouse" / "embeddings"
    known = set(table.rglob("*.parquet"))
    try:
        wait_until(lambda: bool(set(table.rglob("*.parquet")) - known), "the first vectors", 300)
    except AssertionError:
        end(process)
        raise
    time.sleep(0.5)
    assert process.poll() is None
