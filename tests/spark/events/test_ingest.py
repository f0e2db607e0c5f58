"""Stage `ingest` as a whole: files to published tables, whatever happens in between."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kinsight.errors import RefusedError
from kinsight.ingest.job import run_ingest
from kinsight.plan import plan
from kinsight.runs import StageSummary
from kinsight.workspace import Workspace
from tests.comparison import assert_same_tables
from tests.conftest import open_test_workspace

TABLES = ("events", "items", "users", "identities", "quarantine", "ingested_files")
RUN_COLUMNS = frozenset({"run_id", "ingested_at", "quarantined_at"})
CLICKS = {"user_id": "user", "event_time": "at", "event_type": "event", "item_id": "item"}

Open = Callable[..., Workspace]


@dataclasses.dataclass(frozen=True)
class Shop:
    """A folder of sources that grows and changes, and the workspace that follows it."""

    folder: Path
    workspace: Workspace
    summaries: dict[str, StageSummary]


def ingest_section(folder: Path, **settings: Any) -> dict[str, Any]:
    return {
        "events": [
            {"name": "clicks", "path": str(folder / "click stream"), "columns": CLICKS},
            {
                "name": "orders",
                "path": str(folder / "orders"),
                "columns": CLICKS | {"event_id": "order", "session_id": "order"},
            },
        ],
        "items": [{"name": "items", "path": str(folder / "items.csv"), "category_path": ["shelf"]}],
        "users": [{"name": "users", "path": str(folder / "users.csv"), "attributes": ["country"]}],
        "identities": [
            {
                "name": "logins",
                "path": str(folder / "logins.csv"),
                "columns": {"known_from": "login"},
            }
        ],
    } | settings


def write_clicks(folder: Path, day: str, rows: list[tuple[str, str, str]], bad: int = 0) -> None:
    """Write a day's clicks from (user, time, item), with rows that lack a user."""
    path = folder / "click stream" / f"{day} clicks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{user},{day} {time},view,{item}" for user, time, item in rows]
    lines += [f",{day} 12:00:0{n},view,x" for n in range(bad)]
    path.write_text("\n".join(["user,at,event,item", *lines, ""]))


def write_orders(folder: Path, name: str, rows: list[tuple[str, str, str]]) -> None:
    """Write orders from (order, user, time) with nanoseconds, as pandas does."""
    (folder / "orders").mkdir(exist_ok=True)
    frame = pd.DataFrame(rows, columns=["order", "user", "at"])
    frame = frame.assign(
        at=pd.to_datetime(frame["at"], format="ISO8601"), event="purchase", item="i1"
    )
    frame.to_parquet(folder / "orders" / name)


DAY_1 = [("u1", "09:00:00", "i1"), ("u1", "09:00:00", "i1"), ("u2", "23:30:00", "i1")]
DAY_1 += [("u2", "23:40:00", "i2"), ("u2", "23:50:00", "i2")]
DAY_1 += [(f"v{n}", "10:00:00", "i3") for n in range(55)]
DAY_2 = [("u2", "00:05:00", "i2"), ("u1", "09:00:00", "i1")]


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Five runs: the first files, nothing new, more files, changed files, changed users."""
    folder = tmp_path_factory.mktemp("a shop")
    workspace = open_test_workspace(spark, folder / "warehouse", ingest=ingest_section(folder))
    summaries = {}

    write_clicks(folder, "2024-01-01", DAY_1, bad=3)
    write_orders(
        folder, "1.parquet", [("o1", "u1", "2024-01-01 09:10"), ("o2", "u1", "2024-01-01")]
    )
    (folder / "items.csv").write_text("item_id,brand,shelf\ni1,acme,top\ni2,acme,\n")
    (folder / "users.csv").write_text("user_id,country\nu1,DE\nu2,FR\n")
    (folder / "logins.csv").write_text("anonymous_id,user_id,login\nv1,u1,2024-01-01 10:30\n")
    summaries["first"] = run_ingest(workspace)
    other = ingest_section(folder)
    other["events"][0]["event_types"] = {"view": "click"}
    remapped = open_test_workspace(spark, folder / "warehouse", ingest=other)
    summaries["nothing new"] = run_ingest(remapped)

    write_clicks(folder, "2024-01-02", DAY_2)
    again = [("o2", "u1", "2024-01-01"), ("o3", "u2", "2024-01-02"), ("o3", "u2", "2024-01-02")]
    write_orders(folder, "2.parquet", again)
    (folder / "items.csv").write_text("item_id,brand,shelf\ni1,acme,top\ni2,zenith,low\n")
    summaries["grown"] = run_ingest(workspace)

    write_clicks(folder, "2024-01-01", DAY_1[:-1], bad=1)
    write_orders(folder, "1.parquet", [("o1", "u1", "2024-01-01 09:10")])
    summaries["changed"] = run_ingest(workspace)

    (folder / "users.csv").write_text("user_id,country\nu1,DE\nu2,ES\n")
    summaries["changed users"] = run_ingest(workspace)
    return Shop(folder, workspace, summaries)


def test_the_counts_add_up(shop: Shop) -> None:
    counts = shop.summaries["first"].counts
    assert counts["files_read"] == 5
    assert counts["rows_read"] == 60 + 3 + 2 + 2 + 2 + 1
    assert counts["identities_accepted"] == 1
    assert (counts["rows_quarantined"], counts["rows_deduplicated"]) == (3, 0)
    assert counts["rows_accepted"] == counts["rows_read"] - 3
    assert counts["rows_identical"] == 1
    assert shop.summaries["first"].warnings == [
        "3 of 63 rows of source clicks went to quarantine: 3 x user_id (column user) is missing"
    ]


def test_a_run_without_new_files_publishes_the_tables_as_they_are(shop: Shop) -> None:
    first, again = shop.summaries["first"], shop.summaries["nothing new"]
    assert again.outputs == first.outputs
    assert set(again.outputs) == set(TABLES)
    assert (again.counts["files_read"], again.counts["files_unchanged"]) == (0, 5)


def test_changed_settings_without_new_files_are_warned_about(shop: Shop) -> None:
    (warning,) = shop.summaries["nothing new"].warnings
    assert warning.startswith("the settings of source clicks changed")


def test_only_new_and_changed_files_are_read(shop: Shop) -> None:
    grown = shop.summaries["grown"].counts
    assert (grown["files_read"], grown["files_unchanged"]) == (3, 4)


def test_a_copy_left_out_comes_back_when_a_changed_file_no_longer_holds_the_event(
    shop: Shop,
) -> None:
    changed = shop.summaries["changed"].counts
    assert (changed["files_read"], changed["files_unchanged"]) == (3, 4)
    order = shop.workspace.tables.read("events").where("event_id = 'o2'")
    files = shop.workspace.tables.read("ingested_files")
    (row,) = order.join(files, "source_file_id").select("path").collect()
    assert row["path"].endswith("orders/2.parquet")


def test_changed_users_do_not_have_events_read_again(shop: Shop) -> None:
    assert shop.workspace.tables.read("ingested_files").where("rows_deduplicated > 0").count() == 1
    counts = shop.summaries["changed users"].counts
    assert (counts["files_read"], counts["files_unchanged"]) == (1, 6)


def test_repeated_deliveries_are_left_out_across_files_and_counted(shop: Shop) -> None:
    assert shop.summaries["grown"].counts["rows_deduplicated"] == 2
    orders = shop.workspace.tables.read("events").where("event_type = 'purchase'").collect()
    assert sorted(row["event_id"] for row in orders) == ["o1", "o2", "o3"]
    assert {row["session_id"] for row in orders} == {"o1", "o2", "o3"}


def test_identical_rows_are_all_kept(shop: Shop) -> None:
    twins = shop.workspace.tables.read("events").where(
        "user_id = 'u1' AND event_time = TIMESTAMP '2024-01-01 09:00:00' AND event_type = 'view'"
    )
    first, second = sorted(row["event_id"] for row in twins.collect())
    assert second == f"{first}-2"


def test_a_visit_over_a_file_boundary_is_one_session(shop: Shop) -> None:
    visit = shop.workspace.tables.read("events").where("user_id = 'u2' AND event_type = 'view'")
    assert {row["event_time"].hour for row in visit.collect()} == {23, 0}
    assert visit.select("session_id").distinct().count() == 1


def test_a_grown_and_changed_folder_equals_one_read_at_once(
    shop: Shop, spark: SparkSession, tmp_path: Path
) -> None:
    at_once = open_test_workspace(spark, tmp_path / "w", ingest=ingest_section(shop.folder))
    counts = run_ingest(at_once).counts
    assert (counts["rows_quarantined"], counts["rows_deduplicated"]) == (1, 1)
    assert_same_tables(at_once, shop.workspace, TABLES, ignore=RUN_COLUMNS)


def test_a_run_that_dies_between_commits_is_repeated_whole(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "shop"
    section = ingest_section(folder)
    del section["items"], section["users"], section["identities"], section["events"][1]
    write_clicks(folder, "2024-01-01", DAY_1, bad=3)
    write_clicks(folder, "2024-01-02", DAY_2)
    disturbed = open_test_workspace(spark, tmp_path / "disturbed", ingest=section)
    disturbed.tables.ensure("ingested_files")
    table = disturbed.tables.identifier("ingested_files")
    spark.sql(f"ALTER TABLE {table} ADD CONSTRAINT disk_is_full CHECK (rows_read < 0)")
    with pytest.raises(Exception, match="disk_is_full"):
        run_ingest(disturbed)
    assert disturbed.tables.read("events").count() == len(DAY_1 + DAY_2)
    assert disturbed.log.newest("events") is None
    spark.sql(f"ALTER TABLE {table} DROP CONSTRAINT disk_is_full")

    write_clicks(folder, "2024-01-01", DAY_1[:-1], bad=1)
    run_ingest(disturbed)
    undisturbed = open_test_workspace(spark, tmp_path / "undisturbed", ingest=section)
    run_ingest(undisturbed)
    assert_same_tables(undisturbed, disturbed, TABLES, ignore=RUN_COLUMNS)


def clicks_alone(folder: Path) -> dict[str, Any]:
    return {"events": ingest_section(folder)["events"][:1]}


def test_files_that_moved_count_once(workspace: Open, tmp_path: Path) -> None:
    write_clicks(tmp_path / "home", "2024-01-01", DAY_1, bad=3)
    write_clicks(tmp_path / "home", "2024-01-02", DAY_2)
    run_ingest(workspace(ingest=clicks_alone(tmp_path / "home")))
    files = (tmp_path / "home").rename(tmp_path / "srv") / "click stream"
    (files / "processed").mkdir()
    (files / "2024-01-01 clicks.csv").rename(files / "processed" / "2024-01-01 clicks.csv")
    write_clicks(tmp_path / "srv", "2024-01-03", DAY_2)

    moved = workspace(ingest=clicks_alone(tmp_path / "srv"))
    planned = plan(moved, moved.as_of("2024-01-04"), ["ingest"])[0]
    assert "1 new and 2 moved of clicks" in planned.does
    summary = run_ingest(moved)
    assert [w for w in summary.warnings if "quarantine" not in w] == []
    at_once = workspace(tmp_path / "at once", ingest=clicks_alone(tmp_path / "srv"))
    run_ingest(at_once)
    assert_same_tables(at_once, moved, TABLES, ignore=RUN_COLUMNS)


def test_files_that_may_be_old_ones_under_other_names_are_warned_about(
    workspace: Open, spark: SparkSession, tmp_path: Path
) -> None:
    shop = workspace(ingest=clicks_alone(tmp_path))
    first, second = (tmp_path / "click stream" / f"2024-01-0{n} clicks.csv" for n in (1, 2))
    write_clicks(tmp_path, "2024-01-01", DAY_1)
    run_ingest(shop)
    first.unlink()
    write_clicks(tmp_path, "2024-01-02", DAY_2)
    assert run_ingest(shop).warnings == [], "each night's file takes the place of the last one"

    copy = second.with_name("copy.csv.gz")
    copy.write_bytes(gzip.compress(second.read_bytes()))
    second.unlink()
    (warning,) = run_ingest(shop).warnings
    assert warning.startswith(f"source clicks: 1 new file, such as {copy}, may hold the events")
    assert shop.tables.read("events").count() == len(DAY_1 + DAY_2 + DAY_2)

    events, files = (shop.tables.identifier(name) for name in ("events", "ingested_files"))
    old = f"path = '{second}'"
    spark.sql(
        f"MERGE INTO {events} AS e USING (SELECT source_file_id FROM {files} WHERE {old}) AS f "
        "ON e.source_file_id = f.source_file_id WHEN MATCHED THEN DELETE"
    )
    spark.sql(f"DELETE FROM {files} WHERE {old}")
    assert shop.tables.read("events").count() == len(DAY_1 + DAY_2)
    copy.unlink()
    both = [
        f"{user},{day} {at},view,{item}\n"
        for day, rows in (("2024-01-01", DAY_1), ("2024-01-02", DAY_2))
        for user, at, item in rows
    ]
    copy.with_name("both.csv").write_text("".join(["user,at,event,item\n", *both]))
    (warning,) = run_ingest(shop).warnings
    assert "both.csv" in warning, "nothing is left, and all comes again"


def test_an_unreadable_file_is_refused_or_left_for_the_next_run(
    workspace: Open, tmp_path: Path
) -> None:
    folder = tmp_path / "shop"
    section = ingest_section(folder)
    del section["items"], section["users"], section["identities"], section["events"][1]
    write_clicks(folder, "2024-01-01", DAY_1)
    text = "user,at,event,item\n" + "".join(
        f"u{n},2024-01-02 10:00:00,view,i{n * n}\n" for n in range(5000)
    )
    whole = gzip.compress(text.encode())
    broken = folder / "click stream" / "2024-01-02 clicks.csv.gz"
    broken.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(RefusedError, match=r"cannot be read: .*2024-01-02 clicks\.csv\.gz"):
        run_ingest(workspace(ingest=section))
    assert workspace(ingest=section).log.newest("events") is None

    skipping = workspace(ingest=section | {"on_unreadable_file": "skip"})
    summary = run_ingest(skipping)
    assert summary.counts["rows_accepted"] == len(DAY_1)
    assert "2024-01-02 clicks.csv.gz" in summary.warnings[0]

    broken.write_bytes(whole)
    assert run_ingest(skipping).counts["rows_accepted"] == 5000


def test_too_many_malformed_rows_publish_nothing(workspace: Open, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    section = ingest_section(folder)
    del section["items"], section["users"], section["identities"], section["events"][1]
    write_clicks(folder, "2024-01-01", DAY_1[:10], bad=2)
    opened = workspace(ingest=section)
    with pytest.raises(RefusedError) as caught:
        run_ingest(opened)
    assert caught.value.found == (
        "2 of 12 rows (16.7%): 2 x user_id (column user) is missing, such as "
        '{"user":null,"at":"2024-01-01 12:00:00","event":"view","item":"x"}'
    )
    for table in TABLES:
        assert opened.tables.version(table) == 0
    assert opened.log.newest("events") is None
