"""The settings that a session starts from fit its master."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinsight.resources import resource
from kinsight.spark import delta_jars, properties_file, read_properties

FILES = ("local.conf", "standalone.conf", "yarn.conf", "kubernetes.conf")


@pytest.mark.parametrize(
    ("master", "name"),
    [
        ("local", "local.conf"),
        ("local[4]", "local.conf"),
        ("local-cluster[2,1,1024]", "local.conf"),
        ("spark://one:7077,two:7077", "standalone.conf"),
        ("yarn", "yarn.conf"),
        ("k8s://https://host:6443", "kubernetes.conf"),
    ],
)
def test_the_master_chooses_the_file(master: str, name: str) -> None:
    assert properties_file(master) == resource("spark-conf", name)


def test_only_a_session_of_delta_alone_starts_without_ivy(tmp_path: Path) -> None:
    """Of another package, the cache holds files that only Ivy can tell, such as an SDK."""
    names = ("io.delta_delta-spark_2.13-4.0.1", "io.delta_delta-storage-4.0.1")
    names += ("org.antlr_antlr4-runtime-4.13.1", "org.apache.hadoop_hadoop-aws-3.4.1")
    (tmp_path / "jars").mkdir()
    for name in names:
        (tmp_path / "jars" / f"{name}.jar").touch()
    delta = "io.delta:delta-spark_2.13:4.0.1"
    properties = {"spark.jars.ivy": str(tmp_path), "spark.jars.packages": delta}
    assert len(delta_jars(properties)) == 3
    both = f"{delta},org.apache.hadoop:hadoop-aws:3.4.1"
    assert delta_jars(properties | {"spark.jars.packages": both}) == []


@pytest.mark.parametrize("name", FILES)
def test_what_results_hang_on_is_the_same_in_every_file(name: str) -> None:
    local = read_properties(resource("spark-conf", "local.conf"))
    here = read_properties(resource("spark-conf", name))
    for key in (
        "spark.jars.packages",
        "spark.sql.extensions",
        "spark.sql.catalog.spark_catalog",
        "spark.sql.session.timeZone",
        "spark.hadoop.parquet.block.size",
        "spark.sql.execution.arrow.maxRecordsPerBatch",
        "spark.sql.optimizer.windowGroupLimitThreshold",
    ):
        assert here[key] == local[key], key


@pytest.mark.parametrize("name", FILES)
def test_every_setting_has_its_reason_above_it(name: str) -> None:
    lines = resource("spark-conf", name).read_text(encoding="utf-8").splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("spark.") and "app.name" not in line and "spark.master" not in line:
            assert before.startswith(("#", "spark.")), line
