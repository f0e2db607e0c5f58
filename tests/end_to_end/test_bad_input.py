"""Bad input through the command line: an exit code, words that help, nothing published.

What tests of the stages in tests/spark refuse or count as well is heavy here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from tests.end_to_end.conftest import (
    AS_OF,
    Command,
    Outcome,
    open_shop,
    variant,
    write_config,
)
from tests.shop import Shop, make_shop

SMALL_USERS = 80


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path / "source", users=SMALL_USERS, visitors=0)


def refused(outcome: Outcome, code: int, *words: str) -> None:
    """The outcome has this code, these words, all parts of a good message and no traceback."""
    assert outcome.code == code, outcome.screen
    text = " ".join(outcome.screen.split())
    for word in (*words, "expected:", "found:", "to do:"):
        assert word in text, f"{word!r} is not in: {text}"
    assert "Traceback" not in outcome.screen
    assert "at org.apache" not in outcome.screen


def published(spark: SparkSession, config: Path) -> list[str]:
    """Stages with a succeeded run."""
    return [r.stage for r in open_shop(spark, config).log.records() if r.status == "succeeded"]


def change_events(shop: Shop, change: pd.DataFrame) -> None:
    change.to_csv(shop.events, index=False)


def test_an_empty_source_is_refused(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    change_events(shop, pd.read_csv(shop.events).head(0))
    config = write_config(tmp_path, shop)
    refused(kinsight("ingest", "-c", config, "-q"), 3, "events.csv")
    assert published(spark, config) == []


def test_a_missing_column_names_the_closest(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    change_events(shop, pd.read_csv(shop.events).rename(columns={"product": "produkt"}))
    config = write_config(tmp_path, shop)
    refused(kinsight("ingest", "-c", config, "-q"), 3, "product", "produkt")
    assert published(spark, config) == []


@pytest.mark.heavy
def test_an_unreadable_file_among_good_ones_is_named(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    folder = tmp_path / "parquet"
    folder.mkdir()
    events = pd.read_csv(shop.events)
    events.head(500).to_parquet(folder / "good.parquet", index=False)
    events.tail(500).to_parquet(folder / "broken.parquet", index=False)
    whole = (folder / "broken.parquet").read_bytes()
    (folder / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    ingest = shop.ingest()
    ingest["events"][0]["path"] = str(folder)  # type: ignore[index]  # a plain mapping
    config = write_config(tmp_path, shop, ingest=ingest)
    refused(kinsight("ingest", "-c", config, "-q"), 3, "broken.parquet")
    assert published(spark, config) == []


@pytest.mark.heavy
def test_five_per_cent_malformed_rows_are_quarantined_and_counted(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    events = pd.read_csv(shop.events, dtype=str)
    bad = events.index % 20 == 0
    events.loc[bad, "at"] = "the day before yesterday"
    change_events(shop, events)
    config = write_config(tmp_path, shop)
    outcome = kinsight("ingest", "-c", config, "-q")
    assert outcome.code == 0, outcome.screen
    tables = open_shop(spark, config).tables
    assert tables.read("quarantine").count() == bad.sum()
    assert tables.read("events").count() == len(events) - bad.sum()


@pytest.mark.heavy
def test_rows_of_one_user_only_are_refused_by_training(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    change_events(shop, pd.read_csv(shop.events).assign(user="only one"))
    config = write_config(tmp_path, shop)
    refused(kinsight("run", "-c", config, "--as-of", AS_OF, "-q"), 3, "50", "1 ")
    assert "train" not in published(spark, config)


@pytest.mark.heavy
def test_one_item_only_is_refused_by_training(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    change_events(shop, pd.read_csv(shop.events).assign(product="common-1"))
    config = write_config(tmp_path, shop)
    refused(kinsight("run", "-c", config, "--as-of", AS_OF, "-q"), 3, "item")
    assert "train" not in published(spark, config)


def test_an_unknown_configuration_key_names_the_nearest(
    kinsight: Command, shop: Shop, tmp_path: Path
) -> None:
    config = write_config(tmp_path, shop, segment={"segmnts": 4})
    refused(kinsight("run", "-c", config, "-q"), 2, "segmnts", "segments")


@pytest.mark.parametrize("date", ["2024-02-30", "yesterday", "01.02.2024"])
def test_an_impossible_date_is_a_usage_error(
    kinsight: Command, shop: Shop, tmp_path: Path, date: str
) -> None:
    config = write_config(tmp_path, shop)
    refused(kinsight("run", "-c", config, "--as-of", date, "-q"), 2, date)


def test_a_missing_configuration_is_a_usage_error(kinsight: Command, tmp_path: Path) -> None:
    refused(kinsight("run", "-c", tmp_path / "none.yaml"), 2, "none.yaml")


def test_a_table_folder_that_cannot_be_written_is_named(
    kinsight: Command, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    config = write_config(tmp_path, shop, tables={"path": "./file/warehouse"})
    refused(kinsight("ingest", "-c", config, "-q"), 1, "file")


def test_a_table_of_another_version_is_refused_and_left_alone(
    kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
) -> None:
    config = write_config(tmp_path, shop)
    table = f"delta.`{tmp_path}/warehouse/ingested_files`"
    spark.sql(f"CREATE TABLE {table} (path STRING, colour STRING) USING delta")
    refused(kinsight("ingest", "-c", config, "-q"), 1, "another version of Kinsight", "colour")
    assert spark.table(table).columns == ["path", "colour"]


def test_a_date_before_all_events_is_refused(
    kinsight: Command, spark: SparkSession, healthy: Path
) -> None:
    refused(kinsight("sequence", "-c", healthy, "--as-of", "2020-01-01", "-q"), 3, "2024-01")


class TestWithAHealthyShop:
    """Refusals that need the tables of the stages before."""

    @pytest.mark.heavy
    def test_one_user_with_a_third_of_all_events_is_cut_and_reported(
        self, kinsight: Command, spark: SparkSession, shop: Shop, tmp_path: Path
    ) -> None:
        events = pd.read_csv(shop.events)
        bot = events.sample(len(events) // 2, replace=True, random_state=1).assign(user="bot")
        change_events(shop, pd.concat([events, bot]))
        config = write_config(tmp_path, shop, sequence={"hot_user_events": 100})
        assert kinsight("ingest", "-c", config, "-q").code == 0
        outcome = kinsight("sequence", "-c", config, "--as-of", AS_OF, "-q")
        assert outcome.code == 0, outcome.screen
        assert "bot" in outcome.screen
        features = open_shop(spark, config).tables.read("user_features")
        assert {r["user_id"]: r["events"] for r in features.where("is_hot").collect()} == {
            "bot": 100
        }

    def test_fewer_users_than_segments_are_refused(
        self, kinsight: Command, spark: SparkSession, healthy: Path
    ) -> None:
        settings = {"name": "many", "segments": 900, "minimum_share": 0.001}
        config = variant(healthy, "many.yaml", segment=settings)
        refused(kinsight("segment", "-c", config, "--as-of", AS_OF, "-q"), 3, "900 segments")
        assert (
            open_shop(spark, config).log.newest("segments", producer={"segmentation": "many"})
            is None
        )

    @pytest.mark.parametrize(
        ("csv", "words"),
        [
            ("user_id\nnobody-1\nnobody-2\n", ("look like aaaaaa-9", "look like a9999")),
            pytest.param(
                "customer\nu0000\nu0004\n", ("user_id", "customer"), marks=pytest.mark.heavy
            ),
            pytest.param("user_id\nu0000\nu0004\nu0008\n", ("3", "25"), marks=pytest.mark.heavy),
        ],
        ids=["none known", "wrong header", "below the gate"],
    )
    def test_bad_seeds_are_refused_and_nobody_is_published(
        self,
        kinsight: Command,
        spark: SparkSession,
        healthy: Path,
        csv: str,
        words: tuple[str, ...],
        tmp_path: Path,
    ) -> None:
        folder = tmp_path / "audiences"
        folder.mkdir()
        (folder / "seeds.csv").write_text(csv)
        (folder / "bad-seeds.yaml").write_text("seeds: {file: seeds.csv}\nminimum_seeds: 25\n")
        config = variant(healthy, "seeds.yaml", expand={"folder": str(folder)})
        outcome = kinsight("expand", "-c", config, "--as-of", AS_OF, "-q")
        assert outcome.code == 3, outcome.screen
        for word in ("bad-seeds", *words):
            assert word in " ".join(outcome.screen.split())
        members = open_shop(spark, config).tables.read("audience_members")
        assert members.where("audience = 'bad-seeds'").count() == 0

    def test_a_model_from_the_future_is_refused(
        self, kinsight: Command, spark: SparkSession, healthy: Path
    ) -> None:
        found = open_shop(spark, healthy).log.newest("models")
        assert found is not None
        [version] = found.record.producer["model_version"]
        config = variant(healthy, "future.yaml", embed={"model_version": version})
        for extra in ("-q", "--dry-run"):
            outcome = kinsight("embed", "-c", config, "--as-of", "2024-02-01", extra)
            refused(outcome, 3, "has seen events after 2024-02-01", "leave embed.model_version")

    def test_a_wrong_checksum_stops_embedding(
        self, kinsight: Command, spark: SparkSession, healthy: Path, tmp_path: Path
    ) -> None:
        warehouse = healthy.parent / "warehouse"
        weights = next(warehouse.glob("_models/*/model.safetensors"))
        saved = tmp_path / "saved"
        shutil.copyfile(weights, saved)
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        before = published(spark, healthy)
        refused(kinsight("embed", "-c", healthy, "--as-of", AS_OF, "-q"), 1, "sha256")
        shutil.copyfile(saved, weights)
        assert published(spark, healthy) == before
