"""Stage `segment`, on planted vectors: four tastes, a few users with too few events."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.errors import RefusedError
from kinsight.runs import StageSummary
from kinsight.segment.job import run_segment
from kinsight.segment.sample import is_held_out
from kinsight.workspace import Workspace
from tests.conftest import open_test_workspace
from tests.planting import publish

TASTES = ("BABY CARE", "GARDEN", "KITCHEN", "SPORT")
BRANDS = ("Acme", "Zenith")
FIRST, SECOND = "2024-04-01", "2024-05-01"
SETTINGS = {"input": "embedding", "segments": 4, "minimum_share": 0.05, "maximum_share": 0.5}
RANGE = {"segments": {"minimum": 2, "maximum": 6}}


@dataclasses.dataclass(frozen=True)
class Shop:
    """The planted shop and the runs over it."""

    workspace: Workspace
    first: StageSummary
    second: StageSummary


def plant(
    workspace: Workspace,
    as_of: str,
    users: int,
    cold: int,
    model: str = "m1",
    turn: int = 0,
    tasteless: bool = False,
    further: Sequence[int] = (),
) -> None:
    """Publish embeddings, features, bags and a vocabulary; user i has taste i modulo 4.

    Args:
        workspace: Where.
        as_of: The date.
        users: Users with events enough, named u000 on.
        cold: Users with one event, named c000 on.
        model: Model version.
        turn: How far the space is turned: another model's axes mean something else.
        tasteless: Everybody draws six events from one and the same distribution.
        further: Further interests of everybody: how many tastes on from the user's own.
    """
    rng = np.random.default_rng(5)
    names = [*(f"u{i:03d}" for i in range(users)), *(f"c{i:03d}" for i in range(cold))]
    taste = np.array([*(i % 4 for i in range(users)), *([0] * cold)])
    noise = rng.normal(0, 0.2, (len(names), 8))
    vectors = np.full((len(names), 1 + len(further), 8), 3.0) + noise[:, None]
    for interest, ahead in enumerate((0, *further)):
        own = ((taste + ahead) % 4 + turn) % 8
        vectors[np.arange(len(names)), interest, own] += 2.0
    events = [40] * users + [1] * cold
    shares = rng.dirichlet((14, 6), len(names))[:, 0]
    weekend = np.where(taste == 0, 0.8, 0.2) + rng.normal(0, 0.05, len(names))
    spent = np.where(taste == 1, 900.0, 100.0) + rng.normal(0, 9, len(names))
    publish(
        workspace,
        "embed",
        {
            "embeddings": [
                {
                    "user_id": name,
                    "model_version": model,
                    "interest": interest,
                    "weight": 1.0 / len(vectors[i]),
                    "events_used": events[i],
                    "norm": float(np.linalg.norm(vector)),
                    "vector": [float(x) for x in vector.astype(np.float32)],
                }
                for i, name in enumerate(names)
                for interest, vector in enumerate(vectors[i])
            ]
        },
        counts={"interests": 1 + len(further)} if further else None,
        as_of=as_of,
        producer={"model_version": [model]},
        key={"as_of": as_of, "model_version": model},
    )
    tokens = [("category_1", t, t.title()) for t in (*TASTES, "COMMON")]
    tokens += [("brand", brand, brand) for brand in BRANDS]
    index = {(field, token): i + 2 for i, (field, token, _) in enumerate(tokens)}

    def bags(i: int) -> dict[str, dict[str, Any]]:
        if tasteless:
            drawn = rng.multinomial(6, [0.2] * 5)
            met = np.flatnonzero(drawn)
            odd = rng.binomial(drawn[met], 0.5)
            return {
                "category_1": {
                    "tokens": [int(t) + 2 for t in met],
                    "counts": [float(n) for n in drawn[met]],
                    "odd_days": [float(n) for n in odd],
                }
            }
        own = TASTES[taste[i]]
        part = round(float(shares[i]) * events[i])
        categories = [index["category_1", own], index["category_1", "COMMON"]]
        rest = events[i] - part
        return {
            "category_1": {
                "tokens": categories,
                "counts": [float(part), float(rest)],
                "odd_days": [float(part // 2), float(rest // 2)],
            },
            "brand": {
                "tokens": [index["brand", BRANDS[taste[i] % 2]]],
                "counts": [float(part)],
                "odd_days": [float(part // 2)],
            },
        }

    publish(
        workspace,
        "sequence",
        {
            "vocabularies": [
                {
                    "vocabulary_version": "v1",
                    "field": field,
                    "token": token,
                    "index": index[field, token],
                    "bucket": 0,
                    "frequency": 100,
                    "users": 50,
                    "upper_edge": None,
                    "label": label,
                }
                for field, token, label in tokens
            ],
            "user_bags": [
                {
                    "user_id": name,
                    "vocabulary_version": "v1",
                    "events": events[i],
                    "bags": bags(i),
                }
                for i, name in enumerate(names)
            ],
            "user_features": [
                features(
                    name,
                    events[i],
                    weekend_share=float(np.clip(weekend[i], 0, 1)),
                    monetary=float(spent[i]),
                    category_shares={TASTES[taste[i]]: float(shares[i])},
                )
                for i, name in enumerate(names)
            ],
        },
        as_of=as_of,
        producer={"vocabulary_version": ["v1"]},
    )


def features(name: str, events: int, **known: Any) -> dict[str, Any]:
    """A row of user_features."""
    counts = ("frequency", "sessions", "purchases", "items", "categories", "brands")
    numbers = ("recency_days", "tenure_days", "events_per_session")
    hours = ("morning_share", "afternoon_share", "evening_share", "night_share")
    return {
        "user_id": name,
        "events": events,
        "returns": 0,
        "average_price": None,
        "type_shares": {"purchase": 1.0},
        "hour_shares": [1 / 24] * 24,
        "weekday_shares": [1 / 7] * 7,
        "is_hot": False,
        **dict.fromkeys(counts, events),
        **dict.fromkeys(numbers, 5.0),
        **dict.fromkeys(hours, 0.25),
        **known,
    }


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two dates: more users on the second, and another model, whose space is turned.

    How many segments there are is not told.
    """
    root = tmp_path_factory.mktemp("segment") / "warehouse"
    workspace = open_test_workspace(spark, root, segment=SETTINGS | RANGE)
    plant(workspace, FIRST, users=240, cold=10)
    first = run_segment(workspace, workspace.as_of(FIRST))
    plant(workspace, SECOND, users=260, cold=5, model="m2", turn=3)
    second = run_segment(workspace, workspace.as_of(SECOND))
    return Shop(workspace, first, second)


def rows(workspace: Workspace, table: str, as_of: str) -> DataFrame:
    """The rows of a table and date, but for the run id."""
    of_date = F.col("as_of") == F.lit(workspace.as_of(as_of).date)
    return workspace.tables.read(table).where(of_date).drop("run_id")


def test_every_user_has_one_segment_and_the_planted_tastes_are_found(shop: Shop) -> None:
    members = rows(shop.workspace, "segment_members", FIRST).collect()
    assert len(members) == len({m["user_id"] for m in members}) == shop.first.counts["users"] == 250
    warm = {m["user_id"]: m for m in members if m["user_id"].startswith("u")}
    pairs = {(int(user[1:]) % 4, m["segment_id"]) for user, m in warm.items()}
    assert len(pairs) == 4
    assert {segment for _, segment in pairs} == {"s01", "s02", "s03", "s04"}
    ids = {segment for _, segment in pairs}
    assert all(m["second_segment_id"] in ids - {m["segment_id"]} for m in warm.values())
    assert all(0 <= m["confidence"] <= 1 and 0 <= m["distance"] < 1 for m in warm.values())


def test_the_number_of_segments_is_chosen_and_the_curve_kept(shop: Shop) -> None:
    for date, run in ((FIRST, shop.first), (SECOND, shop.second)):
        curve = rows(shop.workspace, "segment_choices", date).where("segmentation = 'main'")
        found = curve.orderBy("segments").collect()
        assert [row["segments"] for row in found] == [2, 3, 4, 5, 6]
        [chosen] = [row for row in found if row["is_chosen"]]
        assert chosen["segments"] == run.metrics["segments_chosen"] == run.counts["segments"] == 4
        assert (chosen["stability"], chosen["stability_std"]) == (1.0, 0.0)
        assert chosen["silhouette"] == max(row["silhouette"] for row in found)


def test_users_with_too_few_events_are_cold_and_have_a_row_of_their_own(shop: Shop) -> None:
    members = rows(shop.workspace, "segment_members", FIRST).where("user_id LIKE 'c%'").collect()
    columns = ("segment_id", "distance", "confidence", "second_segment_id")
    assert {tuple(m[c] for c in columns) for m in members} == {("cold", None, None, None)}
    cold = rows(shop.workspace, "segments", FIRST).where("segment_id = 'cold'").first()
    assert cold is not None
    assert (cold["name"], cold["size"], cold["centroid"]) == ("Cold: too few events", 10, None)
    assert cold["profile"]["events"] == 1.0


def test_names_tell_the_planted_taste_and_hold_on_users_they_were_not_made_on(shop: Shop) -> None:
    segments = rows(shop.workspace, "segments", FIRST).where("segment_id <> 'cold'").collect()
    names = {s["name"] for s in segments}
    assert {name.split(" · ")[0] for name in names} == {"Baby Care", "Garden", "Kitchen", "Sport"}
    assert any(name.startswith("Baby Care · Weekend") for name in names)
    assert any(name.startswith("Garden · High Value") for name in names)
    for segment in segments:
        assert segment["name_terms"][0]["held_out_lift"] >= 1.5
        assert segment["top_categories"][0]["label"] in segment["name"]
        assert [brand["token"] in BRANDS for brand in segment["top_brands"]] == [True]
        assert segment["size"] == 60
        assert segment["share"] == pytest.approx(60 / 250)
        assert 0.5 < segment["cohesion"] <= 1


def test_segments_of_pure_chance_are_not_borne_out_by_the_other_half_of_the_days(
    workspace: Callable[..., Workspace],
) -> None:
    """Members of any grouping do more of what grouped them; the other days tell the truth."""
    chance = workspace(segment=SETTINGS | {"input": "bags", "holdout_share": 0.5})
    plant(chance, FIRST, users=600, cold=0, tasteless=True)
    run_segment(chance, chance.as_of(FIRST))
    found = [s["top_categories"] for s in rows(chance, "segments", FIRST).collect()]
    top = [terms[0] for terms in found if terms]
    assert len(top) >= 3
    assert min(term["lift"] for term in top) > 1.3
    assert np.mean([term["held_out_lift"] for term in top]) == pytest.approx(1.0, abs=0.15)


def test_profiles_are_the_means_of_the_members_and_of_all_users(shop: Shop) -> None:
    members = rows(shop.workspace, "segment_members", FIRST)
    features = rows(shop.workspace, "user_features", FIRST)
    expected = {
        row["segment_id"]: row["mean"]
        for row in members.join(features, "user_id")
        .groupBy("segment_id")
        .agg(F.avg("monetary").alias("mean"))
        .collect()
    }
    base = features.agg(F.avg("monetary")).first()
    assert base is not None
    for segment in rows(shop.workspace, "segments", FIRST).collect():
        assert segment["profile"]["monetary"] == pytest.approx(expected[segment["segment_id"]])
        assert segment["base_profile"]["monetary"] == pytest.approx(base[0])


def test_a_rule_selects_by_sql_the_users_that_it_reports(shop: Shop) -> None:
    config = shop.workspace.config.segment
    members = rows(shop.workspace, "segment_members", FIRST)
    held_out = (
        rows(shop.workspace, "user_features", FIRST)
        .where(is_held_out(F.col("user_id"), config))
        .join(members.select("user_id", "segment_id"), "user_id")
    )
    for segment in rows(shop.workspace, "segments", FIRST).where("rule IS NOT NULL").collect():
        is_member = F.col("segment_id") == segment["segment_id"]
        selected = held_out.where(segment["rule"])
        both = selected.where(is_member).count()
        assert segment["rule_precision"] == pytest.approx(both / selected.count())
        assert segment["rule_recall"] == pytest.approx(both / held_out.where(is_member).count())
        assert segment["rule_precision"] > 0.9


def test_ids_continue_on_the_next_date_though_another_model_turned_the_space(shop: Shop) -> None:
    links = rows(shop.workspace, "segment_lineage", SECOND).collect()
    assert {(link["previous_id"], link["segment_id"], link["kind"]) for link in links} == {
        (f"s0{i}", f"s0{i}", "continued") for i in range(1, 5)
    }
    assert {str(link["previous_as_of"]) for link in links} == {FIRST}
    assert {(link["users_common"], link["overlap"]) for link in links} == {(60, 1.0)}
    first, second = (rows(shop.workspace, "segments", date) for date in (FIRST, SECOND))
    same = first.join(second, ["segment_id", "name"]).count()
    assert same == 5
    assert shop.second.counts["segments_continued"] == 4
    born = rows(shop.workspace, "segment_lineage", FIRST).collect()
    assert {(link["kind"], link["previous_as_of"]) for link in born} == {("born", None)}


def test_a_rerun_gives_equal_tables_and_leaves_other_segmentations_alone(
    shop: Shop, spark: SparkSession
) -> None:
    tables = ("segments", "segment_members", "segment_lineage", "segment_choices")

    def content() -> dict[str, list[Any]]:
        of_main = F.col("segmentation") == "main"
        return {
            t: sorted(map(repr, rows(shop.workspace, t, SECOND).where(of_main).collect()))
            for t in tables
        }

    before = content()
    root = shop.workspace.config.tables.path
    assert root is not None
    settings = {**SETTINGS, "name": "tastes", "input": "both"}
    other = type(shop.workspace).open(
        spark,
        shop.workspace.config.model_copy(
            update={"segment": shop.workspace.config.segment.model_validate(settings)}
        ),
        shop.workspace.progress,
    )
    assert run_segment(other, other.as_of(SECOND)).counts["segments_born"] == 4
    assert content() == before
    fixed = rows(shop.workspace, "segment_choices", SECOND).where("segmentation = 'tastes'")
    assert [(row["segments"], row["is_chosen"]) for row in fixed.collect()] == [(4, True)]
    again = run_segment(shop.workspace, shop.workspace.as_of(SECOND))
    assert content() == before
    assert again.producer == {"segmentation": ["main"], "model_version": ["m2"]}
    assert again.metrics == shop.second.metrics


def test_a_rerun_reads_what_was_made_anew_for_its_date(
    workspace: Callable[..., Workspace],
) -> None:
    shop = workspace(segment=SETTINGS)
    for users in (80, 120):
        plant(shop, FIRST, users=users, cold=5)
        run_segment(shop, shop.as_of(FIRST))
        assert rows(shop, "segment_members", FIRST).count() == users + 5


@pytest.mark.parametrize("grouped_by", ["embedding", pytest.param("both", marks=pytest.mark.heavy)])
def test_further_interests_are_further_segments_of_a_user(
    workspace: Callable[..., Workspace], grouped_by: str
) -> None:
    shop = workspace(segment=SETTINGS | {"input": grouped_by})
    # A second interest in the next taste, a third in the user's own once more.
    plant(shop, FIRST, users=80, cold=5, further=(1, 0))
    run = run_segment(shop, shop.as_of(FIRST))
    members = rows(shop, "segment_members", FIRST)
    main = members.where("membership_rank = 0").collect()
    assert len(main) == len({row["user_id"] for row in main}) == 85
    of_taste = {int(r["user_id"][1:]) % 4: r["segment_id"] for r in main if r["user_id"][0] == "u"}
    assert len(set(of_taste.values())) == 4
    further = members.where("membership_rank > 0").collect()
    assert run.counts["further_memberships"] == len(further)
    assert all(row["user_id"].startswith("u") for row in further)
    assert {row["membership_rank"] for row in further} <= {1}
    assert all(0 <= row["confidence"] <= 1 and 0 <= row["distance"] < 1.5 for row in further)
    if grouped_by == "embedding":
        expected = {(f"u{i:03d}", of_taste[(i + 1) % 4]) for i in range(80)}
        assert {(row["user_id"], row["segment_id"]) for row in further} == expected
    sizes = {row["segment_id"]: row["size"] for row in rows(shop, "segments", FIRST).collect()}
    assert sizes == {**dict.fromkeys(of_taste.values(), 20), "cold": 5}
    before = sorted(map(repr, members.collect()))
    run_segment(shop, shop.as_of(FIRST))
    assert sorted(map(repr, rows(shop, "segment_members", FIRST).collect())) == before


def test_too_few_users_are_refused_before_anything_is_written(
    workspace: Callable[..., Workspace], tmp_path: Path
) -> None:
    (tmp_path / "warehouse").mkdir()  # so that it gets no tables
    small = workspace(segment=SETTINGS)
    with pytest.raises(RefusedError, match="embeddings"):
        run_segment(small, small.as_of(FIRST))
    plant(small, FIRST, users=39, cold=3)
    with pytest.raises(RefusedError, match="39 of 42 users"):
        run_segment(small, small.as_of(FIRST))
    assert not small.tables.exists("segments")
    assert not small.tables.exists("segment_members")
    assert small.log.newest("segments") is None
