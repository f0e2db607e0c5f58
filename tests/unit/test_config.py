"""The configuration refuses what it does not know and says what came closest."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from kinsight.config import KinsightConfig, load_config, parse_settings
from kinsight.errors import ConfigError

MINIMAL = """
shop: corner
shop_timezone: Europe/Berlin
tables: {path: ./warehouse}
ingest:
  events: [{name: log, path: data/*.csv}]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "shop.yaml"
    file.write_text(text)
    return file


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.tables.path == str(tmp_path / "warehouse")
    assert config.ingest.events[0].path == str(tmp_path / "data/*.csv")
    assert config.report.folder == str(tmp_path / "reports")


def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`segment\.segmnts` \(did you mean `segments`\?\)"):
        load_config(write(tmp_path, MINIMAL + "segment: {segmnts: 4}\n"))


def test_an_unknown_key_inside_a_list_is_found(tmp_path: Path) -> None:
    text = MINIMAL.replace("path: data/*.csv", "path: x, colums: {}")
    with pytest.raises(ConfigError, match="did you mean `columns`"):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize("page", ["README.md", "docs/quick-start.md", "docs/sources.md"])
def test_the_first_example_of_a_page_is_a_whole_configuration(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    example = textwrap.dedent(text.split("```yaml\n")[1].split("```")[0])
    assert load_config(write(tmp_path, example)).ingest.events


def test_a_mistake_in_a_source_names_the_source(tmp_path: Path) -> None:
    text = MINIMAL.replace("path: data/*.csv", "path: x, colums: {}")
    with pytest.raises(ConfigError, match=r"ingest\.events\.0\.colums` \(source log; did you"):
        load_config(write(tmp_path, text))
    text = MINIMAL.replace("path: data/*.csv", "path: x, columns: {user: u}")
    with pytest.raises(ConfigError, match=r"ingest\.events\.0` \(source log\): `user` is no"):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize(
    "setting", ["event_types: {kauf: purchse}", "constants: {event_type: Purchase}"]
)
def test_a_misspelt_event_type_names_the_one_meant(tmp_path: Path, setting: str) -> None:
    text = MINIMAL.replace("path: data/*.csv", f"path: x, {setting}")
    with pytest.raises(ConfigError, match="did you mean `purchase`"):
        load_config(write(tmp_path, text))


def test_event_types_of_the_shops_own_are_taken(tmp_path: Path) -> None:
    types = "event_types: {kauf: purchase, abo: subscribe, merken: add_to_wishlist}"
    config = load_config(write(tmp_path, MINIMAL.replace("path: data/*.csv", f"path: x, {types}")))
    assert config.ingest.events[0].event_types["abo"] == "subscribe"


def test_what_is_no_yaml_is_told_by_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, MINIMAL + "segment: {segments: 4\ntrain: {}\n"))
    assert "shop.yaml" in caught.value.problem
    assert caught.value.found.startswith("line 8, column ")
    assert "unicode" not in caught.value.text()


def test_an_unknown_time_zone_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean Europe/Berlin"):
        load_config(write(tmp_path, MINIMAL.replace("Berlin", "Berln")))


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.yaml")
    assert caught.value.exit_code == 2


def test_environment_variables_override_single_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINSIGHT__SEGMENT__SEGMENTS", "12")
    file = write(tmp_path, MINIMAL + "segment: {segments: 4}\n")
    assert load_config(file).segment.segments.maximum == 12
    monkeypatch.setenv("KINSIGHT__SEGMENT__SEGMENTS", "{minimum: 5, maximum: 15}")
    assert load_config(file).segment.segments.maximum == 15
    monkeypatch.delenv("KINSIGHT__SEGMENT__SEGMENTS")
    monkeypatch.setenv("KINSIGHT__SEGMENT__SEGMENTS__MINIMUM", "6")
    monkeypatch.setenv("KINSIGHT__SEGMENT__SEGMENTS__MAXIMUM", "9")
    assert load_config(file).segment.segments.minimum == 6


def test_numbers_and_truth_values_among_sparks_properties_become_text(tmp_path: Path) -> None:
    conf = "spark: {conf: {spark.cores.max: 64, spark.dynamicAllocation.enabled: false}}\n"
    config = load_config(write(tmp_path, MINIMAL + conf))
    assert config.spark.conf == {
        "spark.cores.max": "64",
        "spark.dynamicAllocation.enabled": "false",
    }


def test_the_hash_changes_with_a_value_and_only_then(tmp_path: Path) -> None:
    one = load_config(write(tmp_path, MINIMAL))
    again = load_config(write(tmp_path, MINIMAL))
    other = load_config(write(tmp_path, MINIMAL + "segment: {seed: 8}\n"))
    assert one.segment.stable_hash() == again.segment.stable_hash() != other.segment.stable_hash()


def test_tables_need_exactly_one_root() -> None:
    data = {"tables": {}, "ingest": {"events": [{"name": "e", "path": "x"}]}}
    with pytest.raises(ConfigError, match="either `path` or `schema`"):
        parse_settings(KinsightConfig, data, Path("x.yaml"))
