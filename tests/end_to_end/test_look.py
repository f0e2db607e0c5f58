"""The commands that look: what they show is what the tables hold."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from kinsight import read
from tests.end_to_end.conftest import AS_OF, Command


def test_a_segment_is_shown_with_its_profile_and_what_it_takes(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    row = read.table(healthy, "segments", AS_OF, spark=spark).where("segment_id = 's01'").first()
    assert row is not None
    outcome = kinsight("show", "segment", "s01", "-c", healthy, "--as-of", AS_OF)
    assert outcome.code == 0, outcome.screen
    for words in (row["name"], f"{row['size']:,}", "recency_days", "More of these categories"):
        assert words in outcome.screen
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
    assert "2024-03" not in outcome.screen.split("latest events")[1], "after the date"
    unknown = kinsight("show", "user", "nobody", "-c", healthy)
    assert unknown.code == 3
    assert "u0000" in unknown.screen


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


def test_a_configuration_is_checked_without_spark(kinsight: Command, healthy: Path) -> None:
    outcome = kinsight("config", "check", "-c", healthy)
    assert outcome.code == 0, outcome.screen
    assert "audiences: baby" in outcome.screen
    assert kinsight("doctor", "-c", healthy).code == 0
