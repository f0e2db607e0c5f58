"""The whole pipeline through the command line, at two dates, read back independently."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import SparkSession

from kinsight import read
from kinsight.errors import ConfigError, RefusedError
from kinsight.tables import table_names, table_schema
from tests.end_to_end.conftest import (
    AS_OF,
    INGESTED,
    NEXT,
    SAME_ANYWHERE,
    Command,
    differences,
    open_shop,
    variant,
)
from tests.shop import TASTES

ROOT = Path(__file__).parents[2]


def test_the_first_date_ends_with_every_table_and_a_report(
    spark: SparkSession, healthy: Path
) -> None:
    shop = open_shop(spark, healthy)
    stages = [r.stage for r in shop.log.records() if r.status == "succeeded"]
    assert stages[:7] == ["ingest", "sequence", "train", "embed", "segment", "expand", "report"]
    report = (healthy.parent / "reports" / f"report-{AS_OF}.html").read_text(encoding="utf-8")
    assert "baby" in report.lower()


def test_segments_follow_the_planted_tastes(spark: SparkSession, healthy: Path) -> None:
    shop = open_shop(spark, healthy)
    taste = {f"u{number:04d}": TASTES[number % 4] for number in range(240)}
    members = collections.defaultdict(collections.Counter)
    for row in shop.tables.read("segment_members").where("segment_id != 'cold'").collect():
        members[row["segment_id"]][taste.get(row["user_id"], "visitor")] += 1
    users = sum(sum(count.values()) for count in members.values())
    pure = sum(count.most_common(1)[0][1] for count in members.values())
    assert pure / users > 0.7, dict(members)


def test_an_independent_reader_agrees_with_spark_on_every_table(
    spark: SparkSession, healthy: Path
) -> None:
    tables = open_shop(spark, healthy).tables
    for name in table_names():
        reader = DeltaTable(f"{tables.config.path}/{name}")
        assert [f.name for f in reader.schema().fields] == table_schema(name).names
        counted = (
            QueryBuilder().register("t", reader).execute("SELECT count(*) AS n FROM t").read_all()
        )
        assert counted["n"][0].as_py() == tables.read(name).count(), name


def test_notebooks_read_what_a_run_published(spark: SparkSession, healthy: Path) -> None:
    members = read.table(healthy, "segment_members", as_of=AS_OF, spark=spark)
    assert {row[0] for row in members.select("segmentation").distinct().collect()} == {"main"}
    audience = read.table(healthy, "audience_members", audience="baby", spark=spark)
    assert {str(row[0]) for row in audience.select("as_of").distinct().collect()} == {AS_OF}
    assert read.table(healthy, "events", spark=spark).count() > 0
    assert read.runs(healthy, spark=spark)[0].stage == "ingest"
    with pytest.raises(RefusedError, match="2020-01-01, audience=none"):
        read.table(healthy, "audience_members", as_of="2020-01-01", audience="none", spark=spark)
    with pytest.raises(ConfigError, match="segment_members"):
        read.table(healthy, "segments_member", spark=spark)


@pytest.mark.parametrize("fit_in", ["driver", pytest.param("executors", marks=pytest.mark.heavy)])
def test_an_encoder_is_fine_tuned_on_the_seeds_of_an_audience(
    kinsight: Command, spark: SparkSession, healthy: Path, tmp_path: Path, fit_in: str
) -> None:
    seeds = healthy.parent / "audiences" / "baby.csv"
    (tmp_path / "tuned.yaml").write_text(
        f"seeds: {{file: '{seeds}'}}\nminimum_seeds: 25\nscorer: finetuned\n"
    )
    (tmp_path / "other.yaml").write_text(
        f"seeds: {{file: '{seeds}'}}\nminimum_seeds: 25\nscorer: bag_logistic\n"
    )
    expand = {"folder": str(tmp_path), "folds": 2, "fit_in": fit_in}
    config = variant(healthy, f"{fit_in}.yaml", expand=expand)
    outcome = kinsight("expand", "-c", config, "--as-of", AS_OF, "-q")
    assert outcome.code == 0, outcome.screen
    row = read.audience(config, "tuned", AS_OF, spark=spark)
    assert row["status"] == "published"
    assert row["scorer_weights"] == {"finetuned": 1.0}
    [tuned] = [line for line in row["scorers"] if line["scorer"] == "finetuned"]
    assert tuned["auc"] > 0.75
    members = read.table(config, "audience_members", audience="tuned", spark=spark)
    best = members.where("rank BETWEEN 1 AND 12").collect()
    likes = {f"u{number:04d}" for number in range(240) if TASTES[number % 4] == "baby"}
    assert len({member["user_id"] for member in best} & likes) >= 6


def test_running_a_date_twice_leaves_the_tables_equal(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    tables = open_shop(spark, healthy).tables
    names = [name for name in table_names() if name != "runs"]
    before = {name: tables.version(name) for name in names}
    outcome = kinsight("run", "-c", healthy, "--as-of", AS_OF, "-q")
    assert outcome.code == 0, outcome.screen
    for name in names:
        assert differences(tables.read(name, before[name]), tables.read(name)) == [], name


def test_a_second_date_keeps_ids_where_members_persist(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    outcome = kinsight("run", "-c", healthy, "--as-of", NEXT, "-q")
    assert outcome.code == 0, outcome.screen
    tables = open_shop(spark, healthy).tables
    lineage = tables.read("segment_lineage").where(f"as_of = '{NEXT}'").collect()
    continued = [r for r in lineage if r["kind"] == "continued"]
    assert len(continued) >= 3
    assert all(r["previous_id"] == r["segment_id"] for r in continued)
    assert open_shop(spark, healthy).log.newest("models").record.as_of.isoformat() == AS_OF  # type: ignore[union-attr]  # published by the first run


@pytest.mark.parametrize("job", ["ingest", pytest.param("pipeline", marks=pytest.mark.heavy)])
def test_spark_submit_makes_the_same_tables(
    spark: SparkSession, healthy: Path, tmp_path: Path, job: str
) -> None:
    """With the settings of local.conf: generated code, adaptive plans, other partitions."""
    data = yaml.safe_load(healthy.read_text())
    data["tables"] = {"path": str(tmp_path / "warehouse")}
    data["expand"]["folder"] = str(healthy.parent / "audiences")
    config = tmp_path / "kinsight.yaml"
    config.write_text(yaml.safe_dump(data))
    done = submit(job, config)
    assert done.returncode == 0, done.stderr[-3000:]
    there, here = open_shop(spark, config).tables, open_shop(spark, healthy).tables
    made = INGESTED
    if job == "pipeline":
        assert "report-" in done.stdout
        made = (*SAME_ANYWHERE, "models", "embeddings", "segment_members")
    for name, theirs, ours in ((n, there.read(n), here.read(n)) for n in made):
        of_date = ours.where(f"as_of = '{AS_OF}'") if "as_of" in ours.columns else ours
        if name in SAME_ANYWHERE:
            assert differences(theirs, of_date) == [], name
        assert theirs.count() == of_date.count(), name


def submit(job: str, config: Path) -> subprocess.CompletedProcess[str]:
    """A file of jobs/ through spark-submit."""
    command = [
        *(str(Path(sys.executable).parent / "spark-submit"), "--master", "local[2]"),
        *("--properties-file", str(ROOT / "spark-conf" / "local.conf")),
        *(str(ROOT / "jobs" / f"{job}.py"), "--config", str(config)),
        *(() if job == "ingest" else ("--as-of", AS_OF)),
    ]
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["run", "--asof", "x"], "--as-of"), (["segmnt"], "segment"), (["run", "-c"], "-c")],
)
def test_a_mistake_on_the_command_line_is_a_usage_error(
    kinsight: Command, arguments: list[str], words: str
) -> None:
    outcome = kinsight(*arguments)
    assert outcome.code == 2
    assert words in outcome.screen
    assert "trace" not in outcome.screen


@pytest.mark.parametrize("command", ["ingest", "sequence", "run", "demo"])
def test_help_has_an_example_and_the_exit_codes(kinsight: Command, command: str) -> None:
    outcome = kinsight(command, "--help")
    assert outcome.code == 0
    assert f"kinsight {command}" in outcome.screen
    assert "Exit codes" in outcome.screen
