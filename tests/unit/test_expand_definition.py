"""Audience files: what they may say, and what is said where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinsight.config import ExpandConfig
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.histories import TOKEN_FIELDS
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError
from kinsight.expand.definition import AudienceDefinition, load_audiences
from kinsight.expand.gate import by_construction, refusal_of_model
from kinsight.expand.predicates import Predicate
from kinsight.expand.scorers.registry import CANDIDATES


def write(folder: Path, **files: str) -> ExpandConfig:
    for stem, text in files.items():
        (folder / f"{stem}.yaml").write_text(text)
    return ExpandConfig(folder=str(folder))


def load_one(folder: Path, text: str) -> AudienceDefinition:
    return load_audiences(write(folder, kids=text))[0]


def test_the_name_is_the_file_stem_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    audience = load_one(tmp_path, "seeds: {file: lists/../kids.csv}")
    assert audience.name == "kids"
    assert audience.seeds.file == str(tmp_path / "kids.csv")
    assert audience.seeds.column == "user_id"
    assert audience.scorer == "auto"
    assert audience.tried == CANDIDATES


def test_fused_takes_its_candidates(tmp_path: Path) -> None:
    text = "seeds: {segment: s1}\nscorer: fused\ncandidates: [knn, boosted]"
    assert load_one(tmp_path, text).tried == ["knn", "boosted"]


def test_an_encoder_without_layers_refuses_to_be_fine_tuned(tmp_path: Path) -> None:
    sizes = dict.fromkeys(TOKEN_FIELDS, 3)

    def model(name: str) -> Artifact:
        return Artifact.of(build_encoder(name, {}, sizes, 1), name, {}, "v1", sizes)

    asked = load_one(tmp_path, "seeds: {segment: s1}\ncandidates: [finetuned, logistic]")
    assert refusal_of_model(asked, model("transformer"), "t-1") is None
    refused = refusal_of_model(asked, model("content_mean"), "c-1")
    assert refused is not None
    assert "content_mean (model c-1)" in refused.text()
    other = load_one(tmp_path, "seeds: {segment: s1}")
    assert refusal_of_model(other, model("content_mean"), "c-1") is None


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"recency_days", "events", "consent"}, "a condition on events, recency_days, made"),
        ({"attributes", "consent", "user_id"}, None),
    ],
)
def test_seeds_by_a_condition_on_what_the_scorers_read_are_told(
    tmp_path: Path, columns: set[str], said: str | None
) -> None:
    audience = load_one(tmp_path, "seeds: {predicate: a condition}")
    told = by_construction(audience, Predicate("", frozenset(columns)))
    assert told is None if said is None else told is not None and said in told


def test_seeds_that_are_a_segment_are_told_and_those_of_a_list_are_not(tmp_path: Path) -> None:
    told = by_construction(load_one(tmp_path, "seeds: {segment: s01}"), None)
    assert told is not None
    assert told.startswith("its seeds are a segment")
    assert by_construction(load_one(tmp_path, "seeds: {file: vip.csv}"), None) is None


def test_a_named_scorer_is_tried_alone(tmp_path: Path) -> None:
    assert load_one(tmp_path, "seeds: {segment: s1}\nscorer: knn").tried == ["knn"]


def test_audiences_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        b="seeds: {segment: s01}",
        a="name: zoo\nseeds: {predicate: events > 3}",
        c="seeds: {file: s3a://bucket/seeds.parquet}",
    )
    audiences = load_audiences(config)
    assert [a.name for a in audiences] == ["b", "c", "zoo"]
    assert audiences[1].seeds.file == "s3a://bucket/seeds.parquet"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: {file: a.csv}", ["did you mean `seeds`"]),
        ("seeds: {fil: a.csv}", ["did you mean `file`"]),
        ("seeds: {file: a.csv, segment: s1}", ["exactly one"]),
        ("seeds: {}", ["exactly one"]),
        ("seeds: {file: a.xlsx}", [".csv", ".parquet"]),
        ("seeds: {file: a.csv}\neligible: {}", ["`file`, `predicate` or both"]),
        ("seeds: {file: a.csv}\nminimum_seeds: 10", ["25"]),
        ("seeds: {file: a.csv}\nscorer: centroids", ["did you mean centroid"]),
        ("seeds: {file: a.csv}\nscorer: aut", ["did you mean auto"]),
        ("seeds: {file: a.csv}\ncandidates: [knn, centroids]", ["did you mean centroid"]),
        ("seeds: {file: a.csv}\ncandidates: [centroid, centroid]", ["twice"]),
        ("seeds: {file: a.csv}\ncandidates: [centroid]", ["candidates"]),
        ("seeds: {file: a.csv}\nscorer: knn\ncandidates: [knn, logistic]", ["scorer: auto"]),
        ("seeds: {file: a.csv}\nscorers: [knn]", ["candidates", "scorers: ['knn']"]),
        ("seeds: {file: a.csv}\nsizes: {shares: [], counts: []}", ["share or a count"]),
        ("seeds: {file: a.csv}\nsizes: {shares: [1.5]}", ["sizes"]),
        ("seeds: {file: a.csv}\ntruth: {predicate: is_hot}", ["truth"]),
        ("name: a b\nseeds: {file: a.csv}", ["name"]),
        ("- a", ["no settings"]),
        ("seeds: [", ["YAML"]),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_one(tmp_path, text)
    assert "kids.yaml" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_two_audiences_of_one_name_are_refused(tmp_path: Path) -> None:
    config = write(tmp_path, a="seeds: {segment: s1}", b="name: a\nseeds: {segment: s2}")
    with pytest.raises(ConfigError, match=r"a\.yaml and b\.yaml"):
        load_audiences(config)


def test_without_a_folder_or_a_file_it_is_said_what_to_put_there(tmp_path: Path) -> None:
    for config in (
        ExpandConfig(),
        ExpandConfig(folder=str(tmp_path / "none")),
        ExpandConfig(folder=str(tmp_path)),
    ):
        with pytest.raises(ConfigError, match=r"kids\.yaml.*seeds: \{file"):
            load_audiences(config)
