"""The commands that look: what they show is what the tables hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from kinsight import lookup, read
from kinsight.plan import ALL_STAGES
from kinsight.runs import RunLog, RunRecord
from kinsight.tables import table_names
from tests.end_to_end.conftest import AS_OF, Command, open_shop


def test_a_segment_is_shown_with_its_profile_and_what_it_takes(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    row = read.table(healthy, "segments", AS_OF, spark=spark).where("segment_id = 's01'").first()
    assert row is not None
    outcome = kinsight("show", "segment", "s01", "-c", healthy, "--as-of", AS_OF)
    assert outcome.code == 0, outcome.screen
    for words in (row["name"], f"{row['size']:,}", "recency_days", "More of these categories"):
        assert words in outcome.screen
    named = outcome.screen.split("Words of the name")[1].split("More of these")[0]
    assert all(term["label"] in named for term in row["name_terms"])
    wrong = kinsight("show", "segment", "s99", "-c", healthy)
    assert wrong.code == 2
    assert "s01, s02" in wrong.screen


def test_a_user_is_shown_with_segment_audience_and_events_before_the_date(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    members = read.table(healthy, "audience_members", AS_OF, spark=spark, audience="baby")
    user = members.orderBy("rank").first()
    assert user is not None
    outcome = kinsight("show", "user", user["user_id"], "-c", healthy, "--as-of", AS_OF)
    assert outcome.code == 0, outcome.screen
    for words in ("segment members", "main", "baby", "latest events", "2024-02"):
        assert words in outcome.screen
    latest = outcome.screen.split("latest events")[1]
    assert "2024-03" not in latest, "after the date"
    assert " product " in latest, "the titles of the items"
    names = read.table(healthy, "segments", AS_OF, spark=spark).select("name").collect()
    assert any(row["name"] in outcome.screen for row in names)
    unknown = kinsight("show", "user", "nobody", "-c", healthy)
    assert unknown.code == 2
    assert "u0000" in unknown.screen


def test_a_user_in_no_audience_is_told_so(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    users = read.table(healthy, "segment_members", AS_OF, spark=spark).select("user_id")
    members = read.table(healthy, "audience_members", AS_OF, spark=spark).select("user_id")
    user = users.exceptAll(members).first()
    assert user is not None
    outcome = kinsight("show", "user", user["user_id"], "-c", healthy, "--as-of", AS_OF)
    assert "in no audience of this date" in outcome.screen


def test_a_user_is_found_with_few_looks_at_the_runs_however_many_audiences_there_are(
    spark: SparkSession, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, looks = open_shop(spark, healthy), list[int]()
    records = workspace.log.records()

    def counted(log: RunLog) -> list[RunRecord]:
        looks.append(1)
        return records

    monkeypatch.setattr(RunLog, "records", counted)
    user = lookup.find_user(workspace, "u0000", AS_OF)
    assert len(looks) <= 3
    assert [row["segmentation"] for row in user.segments] == ["main"]


def test_audiences_and_runs_are_shown(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    audience = kinsight("show", "audience", "baby", "-c", healthy, "--as-of", AS_OF)
    assert audience.code == 0, audience.screen
    assert "bag_logistic" in audience.screen
    first = read.runs(healthy, spark=spark)[0]
    listed = kinsight("runs", "-c", healthy, "--most", "1000")
    assert listed.code == 0, listed.screen
    assert first.run_id in listed.screen
    shown = kinsight("show", "run", first.run_id, "-c", healthy)
    assert shown.code == 0, shown.screen
    assert "rows read" in shown.screen
    ambiguous = kinsight("show", "run", "2", "-c", healthy)
    assert ambiguous.code == 2
    assert "`kinsight runs` lists them" in ambiguous.screen


def test_notebooks_find_what_the_commands_show(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    segment = read.segment(healthy, "s01", AS_OF, spark=spark)
    assert segment["name"] in kinsight("show", "segment", "s01", "-c", healthy).screen
    user = read.user(healthy, "u0000", AS_OF, spark=spark)
    assert user.features["events"] >= len(user.events) > 0
    assert all(str(event["event_time"]) < AS_OF for event in user.events)
    assert read.audience(healthy, "baby", AS_OF, spark=spark)["status"] == "published"
    first = read.runs(healthy, spark=spark)[0]
    assert read.run(healthy, first.run_id, spark=spark) == first
    assert read.settings(healthy).shop == "small"
    assert {check.name for check in read.machine(healthy)} >= {"Java", "memory", "tables"}


def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    tables = open_shop(spark, healthy).tables
    before = {name: tables.version(name) for name in table_names()}
    outcome = kinsight("run", "-c", healthy, "--as-of", "2024-03-08", "--dry-run")
    assert outcome.code == 0, outcome.screen
    text = " ".join(outcome.screen.split())
    for words in (
        "no file is new or changed",
        "7 days old",
        "ids kept from",
        "nothing was written",
    ):
        assert words in text
    planned = read.dry_run(healthy, "2024-03-08", spark=spark)
    assert [p.stage for p in planned] == list(ALL_STAGES)
    assert {name: tables.version(name) for name in table_names()} == before


def test_a_dry_run_of_a_new_shop_makes_no_tables(
    kinsight: Command, healthy: Path, tmp_path: Path
) -> None:
    data = yaml.safe_load(healthy.read_text()) | {"tables": {"path": str(tmp_path / "new")}}
    data["expand"]["folder"] = str(healthy.parent / "audiences")
    config = tmp_path / "kinsight.yaml"
    config.write_text(yaml.safe_dump(data))
    outcome = kinsight("run", "-c", config, "--as-of", AS_OF, "--dry-run")
    assert outcome.code == 0, outcome.screen
    text = " ".join(outcome.screen.replace("│", " ").split())
    for words in ("1 new of events", "all mapped columns", "a new vocabulary", "there is no model"):
        assert words in text
    refused = kinsight("segment", "-c", config, "--as-of", AS_OF, "--dry-run")
    assert refused.code == 3
    assert "kinsight embed" in refused.screen
    assert not (tmp_path / "new").exists()


def changed_source(healthy: Path, folder: Path, tables: str, **columns: str) -> Path:
    """The configuration of the shop with other columns of its events, and other tables."""
    data = yaml.safe_load(healthy.read_text()) | {"tables": {"path": tables}}
    data["expand"]["folder"] = str(healthy.parent / "audiences")
    data["ingest"]["events"][0]["columns"] |= columns
    config = folder / "changed.yaml"
    config.write_text(yaml.safe_dump(data))
    return config


def test_a_dry_run_warns_of_changed_settings_as_the_run_does(
    kinsight: Command, healthy: Path, tmp_path: Path
) -> None:
    warehouse = str(healthy.parent / "warehouse")
    config = changed_source(healthy, tmp_path, warehouse, user_id="nobody")
    outcome = kinsight("ingest", "-c", config, "--dry-run")
    assert outcome.code == 0, outcome.screen
    text = " ".join(outcome.screen.replace("│", " ").split())
    assert "warning: the settings of source events changed" in text
    assert "warning" not in kinsight("ingest", "-c", healthy, "--dry-run").screen


def test_a_dry_run_names_a_mapped_column_that_a_new_file_lacks(
    kinsight: Command, healthy: Path, tmp_path: Path
) -> None:
    config = changed_source(healthy, tmp_path, str(tmp_path / "new"), user_id="usr")
    outcome = kinsight("ingest", "-c", config, "--dry-run")
    assert outcome.code == 3, outcome.screen
    assert "Source events has no column `usr`" in outcome.screen
    assert "closest: user" in outcome.screen
    assert not (tmp_path / "new").exists()


def test_a_configuration_is_checked_without_spark(kinsight: Command, healthy: Path) -> None:
    outcome = kinsight("config", "check", "-c", healthy)
    assert outcome.code == 0, outcome.screen
    assert "audiences: baby" in outcome.screen
    assert kinsight("doctor", "-c", healthy).code == 0
