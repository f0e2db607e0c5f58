"""The report stage: what it reads, what it writes, and that the page fetches and runs nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight.config import Settings
from kinsight.errors import ConfigError, RefusedError
from kinsight.report.anchors import anchor
from kinsight.report.data import ReportData, collect
from kinsight.report.html import render
from kinsight.report.job import run_report
from kinsight.report.places import place_by_bags
from kinsight.report.sections.runs import runs_section
from kinsight.report.sources import Sources
from kinsight.runs import RunRecord
from kinsight.workspace import Workspace
from tests.conftest import open_test_workspace
from tests.planting import publish
from tests.spark.users.planted_shop import (
    EVENTS,
    FIRST,
    HOSTILE,
    SECOND,
    USERS,
    VOCABULARY,
    embedded,
    plant_shop,
    segment_of,
)


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("report") / "warehouse"
    workspace = open_test_workspace(spark, root, shop="grocer", shop_timezone="Europe/Berlin")
    plant_shop(workspace)
    return workspace


@pytest.fixture(scope="module")
def data(shop: Workspace) -> ReportData:
    run = shop.run("report", shop.as_of(SECOND), Settings())
    return collect(shop, Sources(run, shop.as_of(SECOND)))


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render(data, dt.datetime(2017, 11, 2, tzinfo=dt.timezone.utc))


class Page(HTMLParser):
    """What a browser would load or run, and what a reader would read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.loaded.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "style" and "url(" in (value or ""):
                self.loaded.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "style":
            assert "url(" not in data
            assert "@import" not in data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader reads, with single spaces."""
        return " ".join(" ".join(self.words).split())


def test_the_page_fetches_nothing(page: str) -> None:
    read = Page(page)

    assert [link for link in read.loaded if not link.startswith("#")] == []
    assert not {"link", "img", "iframe", "object", "embed", "base", "use", "image"} & {*read.tags}
    assert "default-src 'none'" in page


def test_every_link_inside_the_page_leads_somewhere(page: str) -> None:
    read = Page(page)

    assert {link[1:] for link in read.loaded} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))


def test_what_data_say_is_text_and_never_code(page: str) -> None:
    read = Page(page)

    assert len(read.scripts) == 1
    assert "alert" not in read.scripts[0]
    assert read.handlers == []
    assert HOSTILE in read.text, "shown as it is, harmlessly"


def test_each_chart_has_its_numbers_beside_it(page: str) -> None:
    read = Page(page)

    assert read.tags.count("figure") == page.count("The numbers of this chart")
    assert read.tags.count("figure") >= 6 + len(set(map(_second, range(USERS))))
    assert page.count('<svg class="chart" role="img" aria-label="') == read.tags.count("svg")


def _second(number: int) -> str:
    return segment_of(number, SECOND)


def test_the_head_tells_the_date_in_words(page: str) -> None:
    text = Page(page).text

    assert "grocer as of 1 November 2017" in text
    assert "400 customers left" in text
    assert "They form 8 segments" in text
    assert "2 audiences are published and 1 was refused." in text
    assert "Midnight in Europe/Berlin" in text


def test_a_refused_audience_says_what_was_expected_found_and_to_do(page: str) -> None:
    text = Page(page).text

    assert "expected: 100 matched seeds found: 3 of 4 sent to do: send a longer list" in text
    assert "strong signal" in text


def test_only_events_of_the_window_before_the_date_are_counted(data: ReportData) -> None:
    assert data.quality.events["events"].sum() == EVENTS
    assert data.quality.types["events"].sum() == EVENTS
    assert list(data.quality.types["event_type"]) == ["view", "purchase", "cart"]
    assert data.quality.period == "week"


def test_files_reasons_and_hot_customers_are_counted(data: ReportData) -> None:
    clicks = data.quality.sources.set_index("source").loc["clicks"]
    reasons = data.quality.refused.set_index("reason")["rows"].to_dict()

    assert (clicks["files"], clicks["rows_read"]) == (2, 2_500_034)
    assert clicks["rows_read"] == (
        clicks["rows_accepted"] + clicks["rows_quarantined"] + clicks["rows_deduplicated"]
    )
    assert reasons == {"event_time is no time": 9, "user_id is empty": 3}
    assert data.quality.users is not None
    assert data.quality.users["users"] == USERS
    assert data.quality.users["hot"] == 1
    assert data.quality.users["1–2"] == USERS // 10


def test_movement_counts_every_customer_of_both_dates_once(data: ReportData) -> None:
    moves = data.segmentations[0].movement
    both = moves.dropna()
    stayed = sum(segment_of(n, FIRST) == segment_of(n, SECOND) for n in range(USERS - 20))

    assert moves["users"].sum() == USERS
    assert moves.loc[moves["previous"].isna(), "users"].sum() == 20
    assert both.loc[both["previous"] == both["now"], "users"].sum() == stayed


def test_members_are_counted_by_segment_and_level(data: ReportData) -> None:
    audience = next(a for a in data.audiences if a.row["audience"] == "new-parents")

    assert audience.members["users"].sum() == audience.row["members"]
    assert set(audience.members["level"]) == {"1%", "5%", "20%"}
    assert len(audience.curves) == 24


def test_the_map_places_a_sample_without_cold_customers(data: ReportData) -> None:
    places = data.segmentations[0].places

    assert places is not None
    assert len(places.points) == USERS - USERS // 10
    assert "cold" not in set(places.points["segment_id"])
    assert places.truth is not None
    assert places.truth.kept > 5 * places.truth.by_chance


def test_it_shows_how_each_number_of_segments_did(data: ReportData, page: str) -> None:
    tried = data.segmentations[0].choices

    assert list(tried["segments"]) == list(range(4, 13))
    assert list(tried.loc[tried["is_chosen"], "segments"]) == [8]
    assert "How many segments: stability" in Page(page).text
    assert "chosen: 8 segments, stability 0.900" in page
    assert "chosen for this: the largest silhouette among the stable ones." in Page(page).text


def test_the_reasons_of_an_audience_are_told_and_drawn(page: str) -> None:
    text = Page(page).text

    assert "Bars of 2 reasons; first: Nappies, 4.1×" in page
    assert "12.0%" in text
    assert HOSTILE in text


def test_each_segmentation_and_audience_keeps_the_warnings_of_its_newest_run(
    data: ReportData,
) -> None:
    def run(number: int, stage: str, key: str, *names: str) -> RunRecord:
        return dataclasses.replace(
            data.runs[-1],
            run_id=f"r{number}",
            stage=stage,
            status="succeeded",
            producer={key: list(names), "model_version": [f"m{number}"]},
            warnings=[f"warning {number}"],
        )

    runs = [
        run(1, "segment", "segmentation", "main"),
        run(2, "segment", "segmentation", "other"),
        run(3, "segment", "segmentation", "main"),
        run(4, "expand", "audience", "kids"),
        run(5, "expand", "audience", "kids", "pets"),
        run(6, "expand", "audience", "wine"),
        run(7, "embed", "vocabulary_version", "v1"),
        run(8, "embed", "vocabulary_version", "v2"),
    ]
    told = [text for _, text in dataclasses.replace(data, runs=runs).warnings]
    assert told == [f"warning {number}" for number in (2, 3, 5, 6, 8)]


def test_runs_are_told_by_utc_wherever_the_driver_stands(
    data: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = dt.datetime(2017, 11, 1, 23, 30, tzinfo=dt.timezone.utc)
    run = dataclasses.replace(data.runs[-1], started_at=started)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        told = runs_section(dataclasses.replace(data, runs=[run]))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told["table"].rows[0][2] == "2017-11-01 23:30"
    assert told["details"][0]["title"].endswith("2017-11-01 23:30 UTC")


def test_a_link_to_a_segment_or_an_audience_stays_the_same(page: str) -> None:
    read = Page(page)

    assert {"segment-main-cold", "audience-new-parents", "map-main"} <= set(read.ids)
    assert anchor("audience", "a b") != anchor("audience", "a-b")
    assert anchor("segment", "main", "s01") == "segment-main-s01"


def test_movement_is_drawn_as_flows_of_those_who_stayed_moved_and_came(page: str) -> None:
    text = Page(page).text

    assert "Flows, largest first" in text
    assert "Snacks · Low Prices (split)" in text
    assert "Newly seen" in text


def test_the_same_data_make_the_same_page(data: ReportData, page: str) -> None:
    assert render(data, dt.datetime(2017, 11, 2, tzinfo=dt.timezone.utc)) == page


def test_a_first_date_is_reported_from_published_rows_with_words_for_what_is_missing(
    shop: Workspace,
) -> None:
    segments = shop.tables.read("segments").where(F.col("as_of") == F.lit(FIRST).cast("date"))
    unpublished = segments.withColumn("name", F.lit("Half of a failed run"))
    key = {"as_of": shop.as_of(FIRST).date, "segmentation": "main"}
    shop.tables.replace("segments", unpublished, key, "failed")

    summary = run_report(shop, shop.as_of(FIRST))
    path = Path(summary.producer["report"][0])
    record = shop.log.records()[-1]
    text = Page(path.read_text(encoding="utf-8")).text

    assert path.name == f"report-{FIRST}.html"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no temporary file stays"
    assert (record.stage, record.status, record.outputs) == ("report", "succeeded", {})
    assert record.producer == {"report": [str(path)]}
    read = {"events", "ingested_files", "quarantine", "segments", "segment_lineage"}
    assert read <= set(record.inputs)
    assert "Baby Care · Weekend" in text
    assert "Half of a failed run" not in text
    assert "This is the first date of this segmentation" in text
    assert "No audience was made for this date" in text
    assert "was not published for this date" in text
    assert "No histories were published for this date" in text


def test_a_date_without_any_run_is_refused_before_a_file_is_written(
    workspace: Callable[..., Workspace],
) -> None:
    empty = workspace()

    with pytest.raises(RefusedError, match="nothing to report on for 2017-01-01"):
        run_report(empty, empty.as_of("2017-01-01"))

    assert not Path(empty.config.report.folder).exists()


def test_a_folder_elsewhere_is_refused(workspace: Callable[..., Workspace]) -> None:
    remote = workspace(report={"folder": "s3a://bucket/reports"})

    with pytest.raises(ConfigError, match="local folder"):
        run_report(remote, remote.as_of("2017-01-01"))


def test_a_date_shows_the_ingest_its_histories_were_made_from(
    workspace: Callable[..., Workspace],
) -> None:
    log_only = workspace()
    date = log_only.as_of("2017-01-01")
    for version in (1, 2):
        with log_only.run("ingest", None, Settings()) as run:
            run.outputs = {"events": version}
        if version == 1:
            with log_only.run("sequence", date, Settings()) as run:
                run.inputs, run.outputs = {"events": 1}, {"sequences": 1}
    report = log_only.run("report", date, Settings())

    assert Sources(report, date).runs_behind()[0].outputs == {"events": 1}
    assert Sources(report, date, latest_input=True).runs_behind()[0].outputs == {"events": 2}


def test_the_map_knows_the_vocabulary_of_the_bags_that_segments_were_made_from(
    workspace: Callable[..., Workspace],
) -> None:
    log_only = workspace()
    date = log_only.as_of("2017-01-01")
    for version, vocabulary in ((1, "v1"), (2, "v2")):
        with log_only.run("sequence", date, Settings()) as run:
            run.outputs, run.producer = {"user_bags": version}, {"vocabulary_version": [vocabulary]}
    for inputs in ({"user_bags": 1}, {"user_bags": 7}, {}):
        with log_only.run("segment", date, Settings()) as run:
            run.inputs, run.outputs = dict(inputs), {"segments": 1}
    sources = Sources(log_only.run("report", date, Settings()), date)

    segmented = [record for record in sources.records if record.stage == "segment"]
    assert [sources.vocabulary_of(record) for record in segmented] == ["v1", None, None]


def test_segments_made_from_bags_are_placed_by_what_customers_took(shop: Workspace) -> None:
    bags = [bag | {"vocabulary_version": "other"} for bag in embedded(SECOND)["user_bags"]]
    publish(
        shop,
        "sequence",
        {"user_bags": bags},
        as_of=SECOND,
        producer={"vocabulary_version": ["other"]},
        key={"as_of": SECOND, "vocabulary_version": "other"},
    )
    run = shop.run("report", shop.as_of(SECOND), Settings())
    members = shop.tables.read("segment_members").where(F.col("as_of") == F.lit(SECOND))

    places = place_by_bags(Sources(run, shop.as_of(SECOND)), members, VOCABULARY)

    assert places is not None
    assert len(places.points) == USERS
    spread = places.points.groupby("segment_id")[["x", "y"]].std().max(axis=None)
    middles = places.points.groupby("segment_id")[["x", "y"]].mean()
    assert np.abs(middles.loc["S1"] - middles.loc["S7"]).max() > 2 * spread
