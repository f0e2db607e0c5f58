"""Source files to rows: what is listed and read, how values are mapped, why rows are refused."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DoubleType, IntegerType, LongType, StringType

from kinsight.config import (
    EventSourceConfig,
    IdentitySourceConfig,
    IngestConfig,
    ItemSourceConfig,
    SourceConfig,
    UserSourceConfig,
)
from kinsight.errors import ConfigError, RefusedError
from kinsight.ingest.files import EPOCH, list_files
from kinsight.ingest.layouts import group_layouts, probe_files
from kinsight.ingest.mapping import Field, check_time_format, flag, instant, number, text
from kinsight.ingest.reading import read_rows
from kinsight.ingest.rows import event_rows, identity_rows, item_rows, user_rows

CONFIG = IngestConfig.model_validate({"events": [{"name": "log", "path": "/data"}]})
NOW = dt.datetime(2024, 6, 1, 12, tzinfo=dt.timezone.utc)
LIST = {
    "user_id": "user",
    "event_time": "at",
    "event_type": "event",
    "item_id": "item",
    "quantity": "units",
    "amount": "total",
}


def event_source(path: Path, **settings: Any) -> EventSourceConfig:
    data = {"name": "log", "path": str(path), "columns": LIST} | settings
    return EventSourceConfig.model_validate(data)


def raw_rows(spark: SparkSession, source: SourceConfig) -> list[DataFrame]:
    files = list_files(spark, source, "events")
    layouts = group_layouts(source, probe_files(spark, source, files))
    return [read_rows(spark, layout) for layout in layouts]


def parse(spark: SparkSession, source: EventSourceConfig) -> list[Row]:
    (rows,) = raw_rows(spark, source)
    parsed = event_rows(rows, source, CONFIG, NOW, source.path)
    return parsed.orderBy("item_id").collect()


def values(
    spark: SparkSession, raw: list[Any], convert: Callable[[Field], Column], kind: DataType
) -> list[Any]:
    """What a mapping function makes of raw values."""
    columns = [convert(Field("x", "x", F.lit(value).cast(kind), kind)) for value in raw]
    return list(spark.range(1).select(*columns).collect()[0])


class TestFiles:
    """Listing, and reading the columns of each file as they are."""

    def test_folders_are_read_with_sub_folders_and_without_hidden_files(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        folder = tmp_path / "a folder [1] {x}"
        for name in ("a b.csv", "deep/c.csv", "_hidden.csv", ".d.csv", "_temporary/e.csv"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("user,at\nu,2024-01-01\n")
        source = event_source(folder)
        files = list_files(spark, source, "events")
        assert [f.path for f in files] == [str(folder / "a b.csv"), str(folder / "deep/c.csv")]
        (rows,) = raw_rows(spark, source)
        found = {row["source_file_id"] for row in rows.collect()}
        assert found == {file.id for file in files}

    def test_columns_may_come_in_another_order_in_another_file(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text('user,at\n"one, ""1""",2024-01-01\n')
        (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"at,user\n2024-01-02,two\n"))
        frames = raw_rows(spark, event_source(tmp_path / "*.csv*"))
        users = {row[0] for frame in frames for row in frame.select("row.user").collect()}
        assert users == {'one, "1"', "two"}

    def test_a_path_that_matches_nothing_names_what_is_near(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "events.csv").write_text("user\n")
        with pytest.raises(RefusedError, match=r"nothing matches its path[\s\S]*events\.csv"):
            list_files(spark, event_source(tmp_path / "event.csv"), "events")
        with pytest.raises(RefusedError, match="nothing matches"):
            list_files(spark, event_source(tmp_path / "*.parquet"), "events")

    def test_a_file_system_that_is_not_there_is_refused_in_words(self, spark: SparkSession) -> None:
        with pytest.raises(RefusedError, match="cannot be listed"):
            list_files(spark, EventSourceConfig(name="log", path="nowhere://bucket/x"), "events")

    def test_a_delta_table_among_files_is_refused(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "table" / "_delta_log").mkdir(parents=True)
        with pytest.raises(ConfigError, match="Delta table"):
            list_files(spark, event_source(tmp_path), "events")

    @pytest.mark.parametrize("name", ["cut.parquet", "no-gzip.csv.gz", "text.parquet"])
    def test_an_unreadable_file_is_found_at_the_first_look(
        self, spark: SparkSession, tmp_path: Path, name: str
    ) -> None:
        if name == "cut.parquet":
            pd.DataFrame({"user": ["u"] * 50}).to_parquet(tmp_path / "whole")
            (tmp_path / name).write_bytes((tmp_path / "whole").read_bytes()[:-40])
        else:
            (tmp_path / name).write_text("user,at\n")
        source = event_source(tmp_path / name)
        (probe,) = probe_files(spark, source, list_files(spark, source, "events"))
        assert probe.unreadable is not None
        assert probe.unreadable.path == str(tmp_path / name)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_a_file_without_permission_is_found_at_the_first_look(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text("user\n")
        (tmp_path / "a.csv").chmod(0)
        source = event_source(tmp_path / "a.csv")
        (probe,) = probe_files(spark, source, list_files(spark, source, "events"))
        assert "Permission denied" in str(probe.unreadable)

    def test_a_missing_column_names_the_closest(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("usr,at,event,item,units,total\n")
        with pytest.raises(RefusedError) as caught:
            parse(spark, event_source(path))
        assert "no column `user`, which `user_id` is mapped to" in caught.value.problem
        assert caught.value.found == "usr, at, event, item, units, total; closest: usr"

    def test_a_wrong_separator_is_guessed(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("user;at;event;item;units;total\n")
        with pytest.raises(RefusedError, match="sep: ';'"):
            parse(spark, event_source(path))

    def test_a_repeated_column_name_is_refused(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("user,at,User\nu,2024-01-01,v\n")
        with pytest.raises(RefusedError, match="User, user"):
            raw_rows(spark, event_source(path))


class TestValues:
    """Single values: what is read, and what is not."""

    def test_text_is_trimmed_and_whole_numbers_have_no_decimals(self, spark: SparkSession) -> None:
        assert values(spark, [" a ", "  ", "", "7.0"], text, StringType()) == [
            "a",
            None,
            None,
            "7.0",
        ]
        big = 9_007_199_254_740_993
        assert values(spark, [big, 7], text, LongType()) == [str(big), "7"]
        floats = [17850.0, 1.5, float("nan"), None, 1e50]
        assert values(spark, floats, text, DoubleType()) == ["17850", "1.5", None, None, "1.0E50"]

    def test_numbers_are_finite_or_nothing(self, spark: SparkSession) -> None:
        raw = ["1", " -2.5 ", "1e3", ".5", "5d", "NaN", "inf", "1,5", "1e999", "", None]
        expected = [1.0, -2.5, 1000.0, 0.5, *[None] * 7]
        assert values(spark, raw, number, StringType()) == expected
        floats = [1.5, float("nan"), float("inf"), None]
        assert values(spark, floats, number, DoubleType()) == [1.5, None, None, None]

    def test_times_are_instants_of_their_zone(self, spark: SparkSession) -> None:
        cases = [
            ("2024-03-01 10:00:00", None, None, "2024-03-01T10:00:00"),
            ("2024-03-01T10:00:00.25Z", None, "Asia/Tokyo", "2024-03-01T10:00:00.250000"),
            ("2024-03-01T10:00:00+02:00", None, "Asia/Tokyo", "2024-03-01T08:00:00"),
            ("2024-03-01 10:00:00", None, "Asia/Tokyo", "2024-03-01T01:00:00"),
            ("2024-07-01 10:00", None, "Europe/Berlin", "2024-07-01T08:00:00"),
            ("2024-03-01", None, None, "2024-03-01T00:00:00"),
            ("2024-02-30", None, None, None),
            ("2024", None, None, None),
            ("12:30:00", None, None, None),
            ("31/12/2024 23:59", "dd/MM/yyyy HH:mm", "Asia/Tokyo", "2024-12-31T14:59:00"),
            ("01/03/2024 10:00 +0200", "dd/MM/yyyy HH:mm Z", "Asia/Tokyo", "2024-03-01T08:00:00"),
            ("2024-03-01", "dd/MM/yyyy", None, None),
            ("1709287200", "epoch_seconds", "Asia/Tokyo", "2024-03-01T10:00:00"),
            ("1709287200500", "epoch_milliseconds", None, "2024-03-01T10:00:00.500000"),
            ("1709287200500", "epoch_seconds", None, None),
        ]
        columns = [
            F.unix_micros(instant(Field("x", "x", F.lit(raw), StringType()), pattern, zone))
            for raw, pattern, zone, _ in cases
        ]
        seen = spark.range(1).select(*columns).collect()[0]
        for (*case, expected), microseconds in zip(cases, seen, strict=True):
            moment = (
                None if microseconds is None else EPOCH + dt.timedelta(microseconds=microseconds)
            )
            assert (moment and moment.replace(tzinfo=None).isoformat()) == expected, case

    @pytest.mark.usefixtures("spark")
    def test_a_number_needs_a_time_format(self) -> None:
        with pytest.raises(ConfigError, match="epoch_seconds"):
            instant(
                Field("event_time", "event_time (column t)", F.lit(1.0), DoubleType()), None, None
            )

    @pytest.mark.parametrize("pattern", ["yyyy-MM-dd bb", "YYYY"])
    def test_an_unknown_time_pattern_is_a_usage_error(
        self, spark: SparkSession, pattern: str
    ) -> None:
        with pytest.raises(ConfigError, match=pattern):
            check_time_format(spark, event_source(Path("x"), time_format=pattern))

    def test_flags(self, spark: SparkSession) -> None:
        raw = ["yes", "TRUE", "0", "n", "perhaps", None]
        assert values(spark, raw, flag, StringType()) == [True, True, False, False, None, None]
        assert values(spark, [1, 0, 7], flag, IntegerType()) == [True, False, None]


class TestRows:
    """Whole rows of each kind."""

    def test_each_kind_of_bad_row_has_its_reason(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text(
            "user,at,event,item,units,total,price\n"
            "u,2024-01-01,buy,a,1,1,1\n"
            " ,2024-01-01,buy,b,1,1,1\n"
            "u,,buy,c,1,1,1\n"
            "u,yesterday,buy,d,1,1,1\n"
            "u,1970-01-01,buy,e,1,1,1\n"
            "u,2024-06-02,buy,f,1,1,1\n"
            "u,2024-01-01,,g,1,1,1\n"
            "u,2024-01-01,dance,h,1,1,1\n"
            "u,2024-01-01,buy,i,one,1,1\n"
            "u,2024-01-01,buy,j,1,NaN,1\n"
            "u,2024-01-01,buy,k,1,1,Infinity\n"
            "u,2024-01-01,buy,l,1,1,-1\n"
            "u,2024-01-01,buy,m,1,-1,\n"
            "u,2024-01-01,buy,n\n"
            "u,2024-01-01,buy,o,1,1,1,1\n"
            "u,2024-06-01 23:59:59,BUY,p,,,\n"
        )
        listed = {"event_types": {"Buy": "purchase"}, "unlisted_event_types": "quarantine"}
        rows = parse(spark, event_source(path, **listed))
        assert {row["item_id"]: row["reason"] for row in rows} == {
            "a": None,
            "b": "user_id (column user) is missing",
            "c": "event_time (column at) is missing",
            "d": "event_time (column at) is not a time (ISO 8601)",
            "e": "event_time (column at) is before 1990-01-01",
            "f": "event_time (column at) is on or after 2024-06-02",
            "g": "event_type (column event) is missing",
            "h": "event_type (column event) is not listed",
            "i": "quantity (column units) is not a number",
            "j": "amount (column total) is not a number",
            "k": "price is not a number",
            "l": "price is negative",
            "m": "price is negative",
            "n": "the line has a wrong number of columns",
            "o": "the line has a wrong number of columns",
            "p": None,
        }
        raw = {row["item_id"]: row["raw"] for row in rows}
        assert raw["a"] is None
        assert raw["c"] == (
            '{"user":"u","at":null,"event":"buy","item":"c","units":"1","total":"1","price":"1"}'
        )
        assert raw["n"] == '{"line":"u,2024-01-01,buy,n"}'

    def test_amounts_give_prices_and_negative_quantities_are_returns(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.csv"
        path.write_text(
            "user,at,event,item,units,total,price\n"
            "u,2024-01-01,Buy,a,4,10,\n"
            "u,2024-01-01,Buy,b,-4,-10,\n"
            "u,2024-01-01,Refund,c,2,-10,\n"
            "u,2024-01-01,Buy,d,0,10,\n"
            "u,2024-01-01,Browse,e,,,3\n"
            "u,2024-01-01,Buy,f,,10,\n"
        )
        rows = parse(spark, event_source(path, event_types={"buy": "purchase", "refund": "return"}))
        seen = {r["item_id"]: (r["event_type"], r["price"], r["quantity"]) for r in rows}
        assert seen == {
            "a": ("purchase", 2.5, 4.0),
            "b": ("return", 2.5, 4.0),
            "c": ("return", 5.0, 2.0),
            "d": ("purchase", None, 0.0),
            "e": ("browse", 3.0, None),
            "f": ("purchase", 10.0, None),
        }

    def test_parquet_keeps_its_types(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        moment = pd.Timestamp("2024-03-01 10:00:00.123456")
        pd.DataFrame(
            {
                "user": [17850.0, None],
                "at": [moment, moment],
                "item": [1, 2],
                "units": [1, -2],
                "total": [3.0, -8.0],
            }
        ).to_parquet(path)
        settings = {"constants": {"event_type": "purchase"}, "timezone": "Asia/Tokyo"}
        columns = {k: v for k, v in LIST.items() if k != "event_type"}
        rows = parse(spark, event_source(path, columns=columns, **settings))
        assert [row["reason"] for row in rows] == [None, "user_id (column user) is missing"]
        assert (rows[0]["user_id"], rows[0]["item_id"]) == ("17850", "1")
        assert rows[0]["event_time"].isoformat() == "2024-03-01T01:00:00.123456"
        assert (rows[1]["event_type"], rows[1]["price"]) == ("return", 4.0)

        aware = tmp_path / "b.parquet"
        pd.read_parquet(path).assign(at=moment.tz_localize("Europe/Berlin")).to_parquet(aware)
        (row, _) = parse(spark, event_source(aware, columns=columns, **settings))
        assert row["event_time"].isoformat() == "2024-03-01T09:00:00.123456"

    def test_a_parquet_column_of_the_wrong_type_is_a_mapping_mistake(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.parquet"
        pd.DataFrame({"user_id": [["u"]], "event_time": ["x"], "event_type": ["y"]}).to_parquet(
            path
        )
        with pytest.raises(ConfigError, match=r"user_id has a type[\s\S]*array<string>"):
            parse(spark, event_source(path, columns={}))

    def test_items_have_a_path_up_to_the_first_missing_level(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        path = tmp_path / "items.csv"
        path.write_text(
            "item_id,a,b,c,size,price,valid_from\n"
            "1,home,garden,tools,L,2.5,2024-01-01\n"
            "2,home,,tools,,,\n"
            "3,,garden,,,,\n"
            ",home,,,,,\n"
            "5,home,,,,,soon\n"
            "6,home,,,,free,\n"
        )
        source = ItemSourceConfig(
            name="items", path=str(path), category_path=["a", "b", "c"], attributes=["size"]
        )
        (raw,) = raw_rows(spark, source)
        rows = {row["item_id"]: row for row in item_rows(raw, source, str(path)).collect()}
        assert [rows[n]["category"] for n in "123"] == [["home", "garden", "tools"], ["home"], None]
        assert [rows[n]["attributes"] for n in "12"] == [{"size": "L"}, {}]
        assert [rows[n]["valid_from"].year for n in "12"] == [2024, 1970]
        assert [rows[n]["reason"] for n in (None, "5", "6")] == [
            "item_id is missing",
            "valid_from is not a time (ISO 8601)",
            "price is not a number",
        ]

    def test_users_have_attributes_and_consent(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "users.csv"
        path.write_text("user_id,country,email\n1,DE,yes\n2,,\n3,FR,perhaps\n")
        source = UserSourceConfig(
            name="users", path=str(path), attributes=["country"], consent=["email"]
        )
        (raw,) = raw_rows(spark, source)
        rows = user_rows(raw, source, str(path)).orderBy("user_id").collect()
        assert [(r["attributes"], r["consent"], r["reason"]) for r in rows] == [
            ({"country": "DE"}, {"email": True}, None),
            ({}, {}, None),
            ({"country": "FR"}, {}, "email is not yes or no"),
        ]

    def test_a_login_links_a_cookie_for_all_clicks_and_bad_links_are_refused(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        path = tmp_path / "logins.csv"
        path.write_text(
            "cookie,user_id,login,until,since\n"
            "a,u1,01.06.2024 12:00,,\n"
            "b,u1,01.06.2024 12:00,02.06.2024 00:00,\n"
            ",u1,01.06.2024 12:00,,\n"
            "c,,01.06.2024 12:00,,\n"
            "d,u1,soon,,\n"
            "e,u1,,,\n"
            "f,u1,01.06.2024 12:00,01.01.1960 00:00,\n"
            "g,g,01.06.2024 12:00,,\n"
            "h,u1,,,01.01.1970 00:00\n"
        )
        columns = {"anonymous_id": "cookie", "known_from": "login", "valid_to": "until"}
        columns["valid_from"] = "since"
        settings = {"time_format": "dd.MM.yyyy HH:mm", "timezone": "Europe/Berlin"}
        source = IdentitySourceConfig.model_validate(
            {"name": "logins", "path": str(path), "columns": columns, **settings}
        )
        (raw,) = raw_rows(spark, source)
        rows = identity_rows(raw, source, str(path)).collect()
        good = {row["anonymous_id"]: row for row in rows if row["reason"] is None}
        assert good.keys() == {"a", "b"}
        assert good["a"]["known_from"] == dt.datetime(2024, 6, 1, 10)
        assert (good["a"]["valid_from"], good["a"]["valid_to"]) == (dt.datetime(1970, 1, 1), None)
        assert good["b"]["valid_to"] == dt.datetime(2024, 6, 1, 22)
        assert [row["reason"] for row in rows if row["reason"]] == [
            "anonymous_id (column cookie) is missing",
            "user_id is missing",
            "known_from (column login) is not a time (dd.MM.yyyy HH:mm)",
            "known_from (column login) is missing",
            "valid_to is not after valid_from",
            "anonymous_id and user_id are the same",
            "known_from (column login) is missing",  # not seen from its valid_from on
        ]
        timeless = source.model_copy(update={"columns": {"anonymous_id": "cookie"}})
        with pytest.raises(RefusedError, match="when its links became known"):
            identity_rows(raw, timeless, str(path))


class TestJsonLines:
    """One object a line, values as text, nested ones by their paths."""

    def test_nested_values_are_mapped_and_spoilt_lines_kept_whole(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        flat = {"user": "flat", "at": 1709287200, "event": "buy", "item": "d"}
        lines = [
            {"user": {"id": 17850}, "at": 1709287200, "event": "buy", "item": "a", "total": 2.5},
            {"user": {"id": "u2"}, "at": "1709287200", "event": "buy", "item": "b", "more": [1]},
            {"user": {"id": None}, "at": 1709287200, "event": "buy", "item": "c"},
            flat,
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        path = tmp_path / "log.jsonl.gz"
        path.write_bytes(gzip.compress(f"{text}\n\n[1, 2]\nno json\n".encode()))
        columns = LIST | {"user_id": "user.id", "event_time": "at"}
        source = event_source(path, columns=columns, time_format="epoch_seconds")
        rows = parse(spark, source)
        good = {row["item_id"]: row for row in rows if row["reason"] is None}
        assert good.keys() == {"a", "b"}
        assert (good["a"]["user_id"], good["a"]["price"]) == ("17850", 2.5)
        assert good["b"]["event_time"] == good["a"]["event_time"]
        bad = {row["reason"]: json.loads(row["raw"]) for row in rows if row["reason"]}
        assert bad["user_id (column user.id) is missing"]["item"] == "c"
        spoilt = [r["raw"] for r in rows if r["reason"] and "no JSON object" in r["reason"]]
        lines = {json.loads(raw)["line"] for raw in spoilt}
        assert lines == {"[1, 2]", "no json", json.dumps(flat)}
        assert len(rows) == 6, "the blank line is no row"

    def test_times_have_a_pattern_and_a_zone(self, spark: SparkSession, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        path.write_text('{"user": "u", "at": {"local": "01.05.2024 02:30"}, "event": "buy"}\n')
        columns = {"user_id": "user", "event_time": "at.local", "event_type": "event"}
        settings = {"time_format": "dd.MM.yyyy HH:mm", "timezone": "Asia/Shanghai"}
        (row,) = parse(spark, event_source(path, columns=columns, **settings))
        assert row["event_time"].isoformat() == "2024-04-30T18:30:00"

    def test_a_document_over_many_lines_is_refused_at_the_first_look(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        for name, content in (("a.json", '{\n"user": 1\n}\n'), ("b.json", '[{"user": 1}]')):
            (tmp_path / name).write_text(content)
        source = event_source(tmp_path)
        probes = probe_files(spark, source, list_files(spark, source, "events"))
        assert [str(p.unreadable).partition(": ")[2][:60] for p in probes] == [
            "one JSON document over many lines; expected one object a lin",
            "its first line is a JSON list; expected one object a line",
        ]

    def test_a_value_and_something_inside_it_cannot_both_be_mapped(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        path = tmp_path / "log.jsonl"
        path.write_text('{"user": {"id": 1}}\n')
        columns = {"user_id": "user.id", "session_id": "user", "event_time": "at"}
        with pytest.raises(ConfigError, match="something inside it"):
            raw_rows(spark, event_source(path, columns=columns))

    def test_a_nested_parquet_column_is_mapped_by_its_path(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        frame = pd.DataFrame(
            {"user": [{"id": "u1"}], "at": ["2024-03-01"], "event": ["buy"], "item": ["a"]}
        )
        path = tmp_path / "log.parquet"
        frame.to_parquet(path, index=False)
        columns = {"user_id": "user.id", "event_time": "at", "event_type": "event"}
        columns["item_id"] = "item"
        (row,) = parse(spark, event_source(path, columns=columns))
        assert (row["user_id"], row["reason"]) == ("u1", None)
        with pytest.raises(RefusedError, match=r"closest: user\.id"):
            parse(spark, event_source(path, columns=columns | {"user_id": "user.ids"}))
