"""Readers see whole, succeeded runs only, at the versions that those runs recorded."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

import pytest

from kinsight.config import Settings
from kinsight.errors import RefusedError
from kinsight.lookup import published
from kinsight.progress import Progress
from kinsight.runs import RunLog, StageRun
from kinsight.tables import Tables
from kinsight.workspace import Workspace
from tests.planted_sequences import plant_sequences
from tests.planting import publish


def vectors(*users: str) -> list[dict[str, object]]:
    return [
        {
            "user_id": user,
            "model_version": "m",
            "interest": 0,
            "weight": 1.0,
            "events_used": 3,
            "norm": 1.0,
            "vector": [1.0],
        }
        for user in users
    ]


KEY = {"model_version": ["m"]}


def test_a_reader_gets_the_version_of_the_newest_succeeded_run(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace()
    publish(shop, "embed", {"embeddings": vectors("a")}, as_of="2024-01-01", producer=KEY)
    first = shop.log.newest("embeddings", producer={"model_version": "m"})
    publish(shop, "embed", {"embeddings": vectors("a", "b")}, as_of="2024-01-01", producer=KEY)
    second = shop.log.newest("embeddings", producer={"model_version": "m"})
    assert first is not None
    assert second is not None
    assert shop.tables.read("embeddings", first.version).count() == 1
    assert shop.tables.read("embeddings", second.version).count() == 2


def test_a_run_that_dies_publishes_nothing(workspace: Callable[..., Workspace]) -> None:
    shop = workspace()
    publish(shop, "embed", {"embeddings": vectors("a")}, as_of="2024-01-01", producer=KEY)
    before = shop.log.newest("embeddings")
    nothing = shop.tables.read("embeddings").limit(0)
    run = shop.run("embed", shop.as_of("2024-01-01"), Settings())

    def die_after_a_write() -> None:
        with run:
            run.write("embeddings", nothing, {"as_of": shop.as_of("2024-01-01").date})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        die_after_a_write()
    after = shop.log.newest("embeddings")
    assert before is not None
    assert after == before
    assert shop.tables.read("embeddings", after.version).count() == 1
    assert shop.log.records()[-1].status == "failed"


def test_files_of_many_runs_are_compacted(
    workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night appends seven rows, each a file."""
    monkeypatch.setattr("kinsight.runs.stage_run.COMPACTED_EVERY", 4)
    shop = workspace()
    for day in range(1, 6):
        with shop.run("embed", shop.as_of(f"2024-01-0{day}"), Settings()):
            pass
    table = shop.tables.identifier("runs")
    assert shop.spark.sql(f"DESCRIBE DETAIL {table}").collect()[0]["numFiles"] < 4
    assert [str(record.as_of) for record in shop.log.records()] == [
        f"2024-01-0{day}" for day in range(1, 6)
    ]


def test_a_run_succeeds_whose_log_cannot_be_compacted(
    workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinsight.runs.stage_run.COMPACTED_EVERY", 1)
    monkeypatch.setattr(Tables, "compact", lambda *_: 1 / 0)
    shop = workspace()
    with shop.run("embed", shop.as_of("2024-01-01"), Settings()):
        pass
    assert [record.status for record in shop.log.records()] == ["succeeded"]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_log_knows_its_own_rows_and_those_of_others(
    workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        shop = workspace()
        other = RunLog(Tables(shop.spark, shop.tables.config))
        for log in (shop.log, other, shop.log, shop.log, other):
            stage = StageRun(log, Progress(quiet=True), "embed", None, "UTC", Settings())
            with stage:
                pass
            found = log.records()
            assert found == RunLog(shop.tables).records()
            assert found[-1].run_id == stage.run_id
            assert abs(found[-1].started_at - stage.started_at) < dt.timedelta(seconds=1)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_dates_and_producers_select_a_publication(workspace: Callable[..., Workspace]) -> None:
    shop = workspace()
    for date in ("2024-01-01", "2024-03-01"):
        publish(shop, "embed", {"embeddings": vectors("a")}, as_of=date, producer=KEY)
    february = shop.as_of("2024-02-01").date
    march = shop.as_of("2024-03-01").date
    found = shop.log.newest("embeddings", not_after=february)
    assert found is not None
    assert str(found.record.as_of) == "2024-01-01"
    earlier = shop.log.newest("embeddings", before=march)
    assert earlier == found
    assert shop.log.newest("embeddings", as_of=february) is None
    assert shop.log.newest("embeddings", producer={"model_version": "other"}) is None


def test_a_vocabulary_is_found_on_later_dates_that_use_it(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace()
    for version, items in (("v0", 3), ("v1", 4)):
        plant_sequences(
            shop, "2024-03-01", users=1, vocabulary=version, items=items, only=["vocabularies"]
        )
    with shop.run("sequence", shop.as_of("2024-03-02"), Settings()) as run:
        run.publish_unchanged(["vocabularies"])
        run.producer = {"vocabulary_version": ["v1"]}
    for date in (None, "2024-03-02"):
        found = published(shop, "vocabularies", date)
        assert found.where("field = 'item'").count() == 4
        assert {row[0] for row in found.select("vocabulary_version").collect()} == {"v1"}


def test_a_missing_input_names_the_stage_to_run(workspace: Callable[..., Workspace]) -> None:
    shop = workspace()
    with (
        pytest.raises(RefusedError, match="run `kinsight embed` first"),
        shop.run("segment", shop.as_of("2024-01-01"), Settings()) as run,
    ):
        run.require("embeddings", as_of=shop.as_of("2024-01-01").date, made_by="embed")


def test_no_stage_runs_a_date_that_has_not_begun(workspace: Callable[..., Workspace]) -> None:
    shop = workspace()
    later = dt.datetime.now(dt.timezone.utc).date() + dt.timedelta(days=2)
    with pytest.raises(RefusedError, match=f"The date {later} has not begun"):
        shop.run("segment", shop.as_of(later), Settings())


def test_a_rerun_of_a_date_reads_what_its_run_read(workspace: Callable[..., Workspace]) -> None:
    shop = workspace()
    publish(shop, "embed", {"embeddings": vectors("a")}, as_of="2024-01-01", producer=KEY)
    source = shop.log.newest("embeddings")
    assert source is not None
    date = shop.as_of("2024-01-01")
    with shop.run("segment", date, Settings()) as run:
        run.read(source)
    publish(shop, "embed", {"embeddings": vectors("b")}, as_of="2024-01-01", producer=KEY)
    with shop.run("segment", date, Settings()) as again:
        assert again.earlier_version("embeddings") == source.version
    with shop.run("segment", date, Settings(), latest_input=True) as latest:
        assert latest.earlier_version("embeddings") is None
