"""Names, formats and headers of source files, without opening any."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from kinsight.config import EventSourceConfig
from kinsight.errors import ConfigError
from kinsight.ingest.files import SourceFile, common_format, file_format
from kinsight.ingest.inventory import Inventory, KnownFile, moved_files
from kinsight.ingest.job import unlike_origins
from kinsight.ingest.layouts import Probe, csv_options, group_layouts, header_names
from kinsight.ingest.output import FileCounts

FILE = SourceFile(
    kind="events",
    source="log",
    path="/data/a.csv",
    location="file:/data/a.csv",
    uri="file:/data/a.csv",
    size=10,
    modified_milliseconds=1_700_000_000_123,
)


def source(**settings: object) -> EventSourceConfig:
    return EventSourceConfig.model_validate({"name": "log", "path": "/data"} | settings)


def header(line: str, path: str = "a.csv", **options: str) -> tuple[str, ...]:
    return header_names(line, csv_options(source(options=options), path))


def test_a_file_id_begins_with_the_time_of_modification() -> None:
    assert FILE.id.startswith("20231114T221320-")
    assert len(FILE.id) == 32  # Delta keeps the first 32 characters as statistics


@pytest.mark.parametrize(
    "change", [{"source": "x"}, {"path": "/b"}, {"size": 11}, {"modified_milliseconds": 5}]
)
def test_a_file_id_changes_with_source_path_size_and_time(change: dict[str, object]) -> None:
    assert dataclasses.replace(FILE, **change).id != FILE.id  # type: ignore[arg-type]  # as given
    assert dataclasses.replace(FILE, uri="file:///data/a.csv").id == FILE.id


@pytest.mark.parametrize(
    ("path", "fmt"),
    [
        ("/d/a.csv", "csv"),
        ("/d/a.CSV.gz", "csv"),
        ("/d/a.tsv", "csv"),
        ("/d/part-0.snappy.parquet", "parquet"),
        ("/d/notes.md", None),
    ],
)
def test_the_ending_tells_the_format(path: str, fmt: str | None) -> None:
    assert file_format(path) == fmt


def test_mixed_endings_need_a_format() -> None:
    files = [FILE, dataclasses.replace(FILE, path="/data/README.md")]
    with pytest.raises(ConfigError, match=r"README\.md"):
        common_format(source(), files)
    assert common_format(source(format="csv"), files) == "csv"


def test_header_names_may_be_quoted_padded_and_absent() -> None:
    assert header('user,"at, UTC", x ') == ("user", "at, UTC", "x")
    assert header("user;at", sep=";") == ("user", "at")
    assert header("user||at", delimiter="||") == ("user", "at")
    assert header("user\tat", path="a.tsv.gz") == ("user", "at")
    assert header(",user") == ("_c0", "user")
    assert header("u1,2024-01-01", header="false") == ("_c0", "_c1")


def test_files_are_grouped_by_their_columns_and_empty_ones_are_in_no_group() -> None:
    files = [dataclasses.replace(FILE, path=f"/data/{name}.csv") for name in "abcd"]
    signatures = [("user", "at"), ("at", "user"), ("user", "at"), ()]
    probes = [Probe(file, signature) for file, signature in zip(files, signatures, strict=True)]
    layouts = group_layouts(source(), probes)
    assert [[f.path for f in layout.files] for layout in layouts] == [
        ["/data/a.csv", "/data/c.csv"],
        ["/data/b.csv"],
    ]


def test_a_changed_file_replaces_its_earlier_state_and_those_of_a_renamed_source() -> None:
    known = [
        KnownFile("same", "events", "log", "/data/a.csv"),
        KnownFile("other file", "events", "log", "/data/b.csv"),
        KnownFile("other kind", "items", "log", "/data/a.csv"),
        KnownFile("other source", "events", "also", "/data/a.csv"),
        KnownFile("old name", "events", "gone", "/data/a.csv"),
    ]
    assert inventory_of(known).replaced_by([FILE], ["log", "also"]) == ["same", "old name"]


def inventory_of(known: list[KnownFile], moved: dict[str, str] | None = None) -> Inventory:
    return Inventory(
        known=known,
        new={},
        unchanged=0,
        remapped=[],
        gone=[],
        moved=moved or {},
        vanished=[],
        stale={},
    )


def test_a_moved_file_replaces_the_one_that_it_was() -> None:
    size, time = FILE.size, FILE.modified_milliseconds
    vanished = [
        KnownFile("it", "events", "log", "/old/2024/a.csv", size, time),
        KnownFile("its twin", "events", "log", "/old/2025/a.csv", size, time),
        KnownFile("other name", "events", "log", "/old/b.csv", size, time),
        KnownFile("other size", "events", "log", "/old/c/a.csv", size + 1, time - 1),
        KnownFile("other time", "events", "log", "/old/d/a.csv", size, time + 1),
        KnownFile("other source", "events", "also", "/old/e/a.csv", size, time),
        KnownFile("other kind", "items", "log", "/old/f/a.csv", size, time),
    ]
    assert moved_files([FILE], vanished) == {FILE.id: "it"}
    twin = dataclasses.replace(FILE, path="/data/later/a.csv")
    third = dataclasses.replace(FILE, path="/data/third/a.csv")
    moved = moved_files([third, twin, FILE], vanished)
    assert moved == {FILE.id: "it", twin.id: "its twin"}
    inventory = inventory_of(vanished, moved)
    assert inventory.replaced_by([twin, FILE], ["log", "also"]) == ["it", "its twin"]
    assert inventory.replaced_by([third], ["log", "also"]) == []


def test_a_time_that_all_files_have_tells_no_moved_file() -> None:
    size, time = FILE.size, FILE.modified_milliseconds
    days = [
        KnownFile(day, "events", "log", f"/old/{day}/a.csv", size + extra, time)
        for extra, day in enumerate(("monday", "tuesday"))
    ]
    assert moved_files([FILE], days) == {}
    assert moved_files([FILE], days[:1]) == {FILE.id: "monday"}


def test_a_file_that_replaced_another_as_moved_and_holds_something_else_is_told() -> None:
    size, time = FILE.size, FILE.modified_milliseconds
    at = dt.datetime(2024, 6, 1, tzinfo=dt.timezone.utc)
    known = KnownFile(
        "it", "events", "log", "/old/a.csv", size, time,
        read=3, accepted=3, first_event_time=at, last_event_time=at,
    )  # fmt: skip
    inventory = inventory_of([known], {FILE.id: "it"})
    same = FileCounts(FILE, 3, 3, 0, 0, 0, at, at)
    assert unlike_origins(inventory, [same]) == []
    [told] = unlike_origins(inventory, [dataclasses.replace(same, read=4)])
    assert "/old/a.csv" in told
