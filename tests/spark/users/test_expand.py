"""Stage `expand` on planted tables: who gets in, who never does, and what is said of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight.config import ExpandConfig
from kinsight.errors import ConfigError, IntegrityError, RefusedError
from kinsight.expand import job
from kinsight.expand.admitted import Admitted
from kinsight.expand.executor_fits import fit_in_executors, keys_apart
from kinsight.expand.fitting import Expansion, fit_expansion
from kinsight.expand.inputs import Inputs, newest_values, user_vectors
from kinsight.expand.job import run_expand
from kinsight.expand.linked import Identities, with_linked_users, with_refusals
from kinsight.expand.parallel import SideBySide
from kinsight.expand.roster import Roster
from kinsight.expand.sample import Sample
from kinsight.plan import plan
from kinsight.runs import StageSummary
from kinsight.workspace import Workspace
from tests.conftest import open_test_workspace
from tests.planting import day, publish
from tests.spark.users.planted_audiences import (
    TASTE_TOKENS,
    consents,
    has_taste,
    is_labelled,
    plant_date,
    plant_items,
    plant_users,
    split_taste,
    user_ids,
    write_lists,
)

SCORERS = ["bag_logistic", "boosted", "centroid", "logistic", "svd_logistic"]
LINES = [*SCORERS, "auto", "activity", "random"]
FIRST, SECOND = "2024-03-01", "2024-04-01"
GATE = {"minimum_seeds": 25, "warn_below_seeds": 100}

OPTED_OUT = user_ids()[0]
"""A seed of nobody whose opt-out is given under a cookie."""

AUDIENCES = {
    "kids": """
seeds: {file: lists/seeds 1.csv, column: customer}
eligible: {predicate: "attributes['labelled'] = 'yes'"}
suppress: {predicate: "NOT consent['email']", file: lists/blocked.parquet, column: id}
truth: {file: lists/truth.csv}
""",
    "kept": """
seeds: {file: lists/seeds 1.csv, column: customer}
keep_seeds: true
sizes: {shares: [0.1], counts: [7]}
scorer: bag_logistic
valid_days: 3
""",
    "fused": """
seeds: {file: lists/seeds 1.csv, column: customer}
scorer: fused
candidates: [boosted, bag_logistic]
keep_seeds: true
""",
    "segment": "{seeds: {segment: s01}, candidates: [bag_logistic, svd_logistic]}",
    "busy": "{seeds: {predicate: events > 40}, scorer: bag_logistic}",
    "oversized": """
seeds: {file: lists/truth.csv}
suppress: {file: lists/strangers.csv, predicate: "NOT consent['email']"}
scorer: centroid
sizes: {shares: [], counts: [5, 5000]}
""",
    "ten": "seeds: {file: lists/ten.csv}",
    "strangers": "seeds: {file: lists/strangers.csv}",
    "header": "seeds: {file: lists/seeds 1.csv}",
    "missing": "seeds: {file: lists/none.csv}",
    "broken": "seeds: {file: lists/broken.parquet}",
    "retired": "seeds: {segment: s99}",
    "mistyped": "seeds: {segment: s01, segmentation: mian}",
    "open-door": """
seeds: {file: lists/seeds 1.csv, column: customer}
suppress: {file: lists/other ids.csv}
""",
    "misspelt": """
seeds: {file: lists/seeds 1.csv, column: customer}
suppress: {predicate: "consent['e-mail'] = false"}
""",
    "lost-zeros": """
seeds: {file: lists/seeds 1.csv, column: customer}
suppress: {file: lists/other ids.csv, predicate: "NOT consent['email']"}
""",
    "misspelt-beside": """
seeds: {file: lists/seeds 1.csv, column: customer}
suppress: {file: lists/blocked.parquet, column: id, predicate: "consent['e-mail'] = false"}
""",
    "empty": "seeds: {file: lists/empty.csv}",
    "no-rows": "seeds: {file: lists/only header.csv}",
    "empty-folder": "seeds: {file: lists/folder.csv}",
    "no-text": "seeds: {file: lists/binary.csv}",
    "all-out": """
seeds: {file: lists/seeds 1.csv, column: customer}
suppress: {predicate: events > 0}
""",
    "own-seeds": """
seeds: {file: lists/truth.csv}
suppress: {file: lists/truth.csv}
""",
    "opted-out": """
seeds: {segment: s01}
suppress: {file: lists/cookies.csv}
sizes: {shares: [1.0]}
scorer: centroid
""",
    "nobody": "{seeds: {file: lists/truth.csv}, eligible: {file: lists/truth.csv}}",
}


@dataclasses.dataclass(frozen=True)
class Ran:
    """The first date, expanded once."""

    workspace: Workspace
    folder: Path
    summary: StageSummary
    audiences: dict[str, dict[str, object]]
    members: pd.DataFrame
    curves: pd.DataFrame
    fitted: dict[str, tuple[Sample, Expansion]]

    def of(self, audience: str) -> pd.DataFrame:
        return self.members[self.members["audience"] == audience]

    def reasons(self, audience: str) -> list[dict[str, Any]]:
        return self.audiences[audience]["reasons"]  # type: ignore[return-value]  # a row's values are objects


def read(workspace: Workspace, table: str, as_of: str) -> pd.DataFrame:
    rows = workspace.tables.read(table).where(f"as_of = DATE '{as_of}'").drop("run_id")
    frame = rows.toPandas()
    return frame.sort_values([c for c in frame.columns if frame[c].map(type).ne(list).all()][:5])


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("expand")
    folder = root / "audiences"
    write_lists(folder / "lists")
    (folder / "lists" / "cookies.csv").write_text("user_id\ncookie\n")
    for name, text in AUDIENCES.items():
        (folder / f"{name}.yaml").write_text(text)
    workspace = open_test_workspace(
        spark,
        root / "warehouse",
        expand={"folder": str(folder)} | GATE,
    )
    plant_users(workspace)
    plant_items(workspace)
    cookie = {"anonymous_id": "cookie", "user_id": OPTED_OUT, "valid_to": None}
    times = dict.fromkeys(("known_from", "valid_from"), day("2024-01-01"))
    publish(workspace, "ingest", {"identities": [cookie | times | {"source_file_id": "f"}]})
    plant_date(workspace, FIRST, seed=1)
    fitted = {}

    def fit(
        audience: Admitted, sample: Sample, config: ExpandConfig, at_once: SideBySide
    ) -> Expansion:
        expansion = fit_expansion(audience, sample, config, at_once)
        fitted[audience.name] = sample, expansion
        return expansion

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "fit_expansion", fit)
        summary = run_expand(workspace, workspace.as_of(FIRST))
    rows = workspace.tables.read("audiences").collect()
    return Ran(
        workspace,
        folder,
        summary,
        {row["audience"]: row.asDict(recursive=True) for row in rows},
        read(workspace, "audience_members", FIRST),
        read(workspace, "audience_curves", FIRST),
        fitted,
    )


def fitting_in_executors(ran: Ran, audiences: Path) -> Workspace:
    expand = {"folder": str(audiences), "fit_in": "executors"} | GATE
    folder = ran.folder.parent / "warehouse"
    return open_test_workspace(ran.workspace.spark, folder, expand=expand)


def test_members_are_eligible_unsuppressed_and_no_seeds(ran: Ran) -> None:
    members = set(ran.of("kids")["user_id"])
    ids = pd.Series(user_ids())
    allowed = set(ids[is_labelled() & consents()]) - set(ids[::5]) - set(split_taste()[0])
    assert members
    assert members <= allowed
    assert len(members) == round(0.2 * len(allowed))


def test_an_opt_out_under_a_cookie_keeps_its_users_out(spark: SparkSession, ran: Ran) -> None:
    seeds, _ = split_taste()
    ids = [str(u) for u in user_ids() if u not in seeds]
    anna, bob, late, carla = ids[:4]
    seed = str(seeds[0])
    rows = [
        ("c1", anna, day("2024-01-01"), day("2024-01-01"), None),
        ("c1", bob, day("2023-01-01"), day("2023-01-01"), day("2023-06-01")),
        ("c1", late, day(FIRST), day("2023-01-01"), None),
        ("c2", carla, day("2024-01-01"), day("2024-01-01"), None),
        ("c3", seed, day("2024-01-01"), day("2024-01-01"), None),
    ]
    names = "anonymous_id STRING, user_id STRING, known_from TIMESTAMP, valid_from TIMESTAMP, "
    links = spark.createDataFrame(rows, names + "valid_to TIMESTAMP")
    identities = Identities(links, ran.workspace.as_of(FIRST).instant)
    listed = [(0, "c1", 2), (0, "x", 1), (1, "c1", 1), (1, "c3", 1), (1, seed, 1), (1, None, 1)]
    entries = spark.createDataFrame(listed, "list INT, user_id STRING, rows LONG")
    found = with_linked_users(entries, identities, cautious=[0]).collect()
    assert {(r["list"], r["user_id"]): (r["rows"], r["linked"]) for r in found} == {
        (0, "c1"): (2, 1),
        (0, anna): (0, 0),
        (0, bob): (0, 0),  # once its user: also kept out
        (0, "x"): (1, 0),
        (1, anna): (1, 1),
        (1, seed): (2, 1),
        (1, None): (1, 0),
    }
    people = [
        ("c2", None, {"email": False, "post": True}),
        (carla, {"age": "30"}, {"email": True, "post": False}),
        (anna, None, {"email": True}),
    ]
    schema = "user_id STRING, attributes MAP<STRING, STRING>, consent MAP<STRING, BOOLEAN>"
    users = with_refusals(spark.createDataFrame(people, schema), identities).collect()
    assert {r["user_id"]: (r["attributes"], r["consent"]) for r in users} == {
        "c2": (None, {"email": False, "post": True}),
        carla: ({"age": "30"}, {"email": False, "post": False}),
        anna: (None, {"email": True}),
    }


def test_a_newer_file_without_consent_leaves_a_refusal_as_it_was(spark: SparkSession) -> None:
    old, new = day("2024-01-01"), day("2024-02-01")
    rows = [
        ("anna", old, None, {"email": False, "post": True}, "opt-outs"),
        ("anna", old, {"age": "30", "country": "DE"}, None, "customers"),
        ("anna", new, {"age": "31"}, None, "customers"),
        ("anna", new, None, {"post": False}, "opt-outs"),
        ("bob", new, {}, {"email": False}, "opt-outs"),
        ("bob", new, {}, {"email": True}, "opt-outs"),
        ("bob", old, None, {"email": True}, "opt-outs"),
        ("carla", new, {"age": "40"}, None, "a"),
        ("carla", new, {"age": "39"}, None, "b"),
        ("carla", new, {"age": "38"}, None, "b"),
        ("dora", new, None, {"email": True}, "opt-outs"),
    ]
    schema = (
        "user_id STRING, valid_from TIMESTAMP, attributes MAP<STRING, STRING>, "
        "consent MAP<STRING, BOOLEAN>, source_file_id STRING"
    )
    users = newest_values(spark.createDataFrame(rows, schema)).collect()
    assert {r["user_id"]: (r["attributes"], r["consent"]) for r in users} == {
        "anna": ({"age": "31", "country": "DE"}, {"email": False, "post": False}),
        "bob": (None, {"email": False}),
        "carla": ({"age": "39"}, None),
        "dora": (None, {"email": True}),
    }


def test_what_became_of_the_seeds_adds_up(ran: Ran) -> None:
    row = ran.audiences["kids"]
    seeds, _ = split_taste()
    assert row["seeds_sent"] == len(seeds) + 4
    assert row["seeds_duplicate"] == 2
    assert row["seeds_unknown"] == 2  # nobody, and a blank
    parts = ("duplicate", "unknown", "ineligible", "matched")
    assert row["seeds_sent"] == sum(row[f"seeds_{part}"] for part in parts)
    assert row["seeds_ineligible"] > 0
    assert row["users_suppressed"] > 0


def test_the_hidden_truth_is_found_far_above_activity(ran: Ran) -> None:
    metrics = ran.summary.metrics
    assert metrics["kids.truth_auc"] > 0.9
    assert 0.3 < metrics["kids.truth_activity_auc"] < 0.75
    assert metrics["kids.truth_recall"] > 2 * metrics["kids.truth_random_recall"]
    assert metrics["kids.auc"] > 0.75
    row = ran.audiences["kids"]
    assert row["verdict"] == "strong"
    assert row["status"] == "published"
    assert [s["scorer"] for s in row["scorers"]] == LINES


def test_ranks_are_complete_and_follow_the_scores(ran: Ran) -> None:
    for name in ("kids", "segment", "busy"):
        members = ran.of(name).sort_values("rank")
        assert members["rank"].tolist() == list(range(1, len(members) + 1))
        assert members["score"].is_monotonic_decreasing
        assert members["percentile"].between(0, 0.21).all()


def test_levels_are_nested_and_exact(ran: Ran) -> None:
    row = ran.audiences["kids"]
    ranked = row["users_eligible"] - row["seeds_matched"]
    members = ran.of("kids")
    for level in row["levels"]:
        inside = members[members["rank"] <= level["reach"]]
        assert level["reach"] == max(1, int(level["share"] * ranked + 0.5))
        assert level["score_threshold"] == inside["score"].min()
        assert level["mean_score"] == pytest.approx(inside["score"].mean())
    assert members.loc[members["rank"] == 1, "level"].item() == row["levels"][0]["level"]
    assert row["members"] == len(members)


def test_kept_seeds_have_a_level_of_their_own(ran: Ran) -> None:
    members, row = ran.of("kept"), ran.audiences["kept"]
    seeds = members[members["is_seed"]]
    assert set(seeds["user_id"]) == set(split_taste()[0])
    assert set(seeds["level"]) == {"seed"}
    assert set(seeds["rank"]) == {0}
    assert [level["level"] for level in row["levels"]] == ["7", "10%"]
    assert (members["level"] == "7").sum() == 7
    assert row["valid_until"] == dt.date(2024, 3, 4)
    assert row["scorer"] == "bag_logistic"
    assert row["scorer_reason"] == "bag_logistic is the scorer that the audience file names"
    assert [s["scorer"] for s in row["scorers"]] == ["bag_logistic", "activity", "random"]


def test_auto_ranks_by_the_scorers_whose_weights_it_tells(ran: Ran) -> None:
    row = ran.audiences["kids"]
    by_name = {s["scorer"]: s for s in row["scorers"]}
    weights = row["scorer_weights"]
    assert row["scorer"] == "auto"
    assert sum(weights.values()) == pytest.approx(1.0)
    assert set(weights) <= set(SCORERS)
    assert all(name in row["scorer_reason"] for name in weights)
    assert by_name["auto"]["auc"] > max(by_name[name]["auc"] for name in SCORERS) - 0.02
    assert ran.summary.metrics["kids.auc"] == by_name["auto"]["auc"]


@pytest.mark.parametrize("name", ["kids", "fused", "kept"])
def test_executors_give_every_member_the_score_that_numpy_gives_on_the_sample(
    ran: Ran, name: str
) -> None:
    """The sample of so few users is everybody; executors read what the chosen models need."""
    sample, expansion = ran.fitted[name]
    scores = pd.Series(expansion.models.score(sample.users), index=sample.users.ids)
    members = ran.of(name).set_index("user_id")
    assert len(members) > 10
    np.testing.assert_allclose(members["score"], scores[members.index], atol=1e-8)
    others = members[~members["is_seed"]]
    expected = expansion.membership.of(others["score"].to_numpy())
    np.testing.assert_allclose(others["probability"], expected, atol=1e-8)
    assert (members.loc[members["is_seed"], "probability"] == 1).all()


def test_every_fit_has_a_partition_of_its_own(spark: SparkSession) -> None:
    for number in (1, 2, 11):
        keys = keys_apart(spark, number)
        rows = spark.createDataFrame([(key,) for key in keys], "key INT").repartition(number, "key")
        placed = rows.select(F.spark_partition_id()).distinct().count()
        assert len(keys) == placed == number


@pytest.mark.parametrize(
    ("dimension", "error", "words"),
    [
        (7, IntegrityError, "vectors of the date have different widths"),
        ("seven", RuntimeError, "(?s)audience busy: Traceback.*TypeError"),
    ],
    ids=["known", "unknown"],
)
def test_what_fails_in_an_executor_is_told_in_its_own_words(
    ran: Ran,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dimension: Any,
    error: type[Exception],
    words: str,
) -> None:
    def fit(
        roster: Roster, inputs: Inputs, admitted: list[Admitted], config: ExpandConfig
    ) -> list[Expansion]:
        wrong = dataclasses.replace(inputs, dimension=dimension)
        return fit_in_executors(roster, wrong, admitted, config)

    monkeypatch.setattr(job, "fit_in_executors", fit)
    (tmp_path / "busy.yaml").write_text(AUDIENCES["busy"])
    workspace = fitting_in_executors(ran, tmp_path)
    with pytest.raises(error, match=words):
        run_expand(workspace, workspace.as_of(FIRST))


def test_fused_takes_all_its_candidates_together(ran: Ran) -> None:
    row = ran.audiences["fused"]
    assert row["scorer"] == "fused"
    assert set(row["scorer_weights"]) == {"bag_logistic", "boosted"}
    lines = ["boosted", "bag_logistic", "fused", "activity", "random"]
    assert [s["scorer"] for s in row["scorers"]] == lines


def test_curves_stand_beside_activity_and_random(ran: Ran) -> None:
    kids = ran.curves[ran.curves["audience"] == "kids"]
    assert set(kids["scorer"]) == set(LINES)
    chosen = kids[kids["is_chosen"]].sort_values("reach")
    assert chosen["scorer"].unique().tolist() == [ran.audiences["kids"]["scorer"]]
    assert chosen["recall"].is_monotonic_increasing
    assert chosen["similarity"].notna().all()
    assert chosen["similarity"].iloc[0] > 0.3
    assert (kids["recall_low"] <= kids["recall"]).all()
    assert (kids["recall"] <= kids["recall_high"]).all()


def test_a_listed_cookie_is_suppressed_as_its_customer(ran: Ran) -> None:
    row = ran.audiences["opted-out"]
    assert row["status"] == "published"
    assert row["users_suppressed"] == 1
    assert OPTED_OUT not in set(ran.of("opted-out")["user_id"])
    assert ran.summary.counts["listed_ids_linked"] == 1
    (warning,) = (w for w in ran.summary.warnings if "are anonymous" in w)
    assert warning.startswith("audience opted-out: 1 ids of `suppress`")


def test_a_segment_and_a_predicate_give_seeds(ran: Ran) -> None:
    assert ran.audiences["segment"]["seeds_matched"] == has_taste().sum()
    assert not set(ran.of("segment")["user_id"]) & set(pd.Series(user_ids())[has_taste()])
    assert ran.audiences["busy"]["seeds_sent"] == ran.audiences["busy"]["seeds_matched"] > 25


def test_seeds_made_from_what_the_scorers_read_come_with_a_warning(ran: Ran) -> None:
    told = [w.split(",")[0] for w in ran.summary.warnings if "is found again" in w]
    assert told == [
        "audience busy: its seeds are a condition on events",
        "audience opted-out: its seeds are a segment",
        "audience segment: its seeds are a segment",
    ]


def test_seeds_that_are_only_busy_come_with_a_warning(ran: Ran) -> None:
    assert ran.audiences["busy"]["verdict"] in ("none", "weak")
    assert any("audience busy" in warning for warning in ran.summary.warnings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ten", ["10 sent, 10 matched", "25"]),
        ("strangers", ["a-9", "a9999", "No seed"]),
        ("header", ["no column user_id", "customer, note"]),
        ("missing", ["cannot be read", "none.csv"]),
        ("broken", ["cannot be read", "broken.parquet"]),
        ("retired", ["s99", "s01, s02"]),
        ("mistyped", ["segmentation mian", "run `kinsight segment`"]),
        ("nobody", ["Nobody is left to rank"]),
        ("empty", ["is empty", "not one character"]),
        ("no-rows", ["Too few seeds", "0 sent"]),
        ("empty-folder", ["cannot be read", "a folder without data files"]),
        ("no-text", ["is no text", "CSV in UTF-8", "PNG"]),
        ("all-out", ["The suppression of all-out leaves nobody", "eligible users suppressed"]),
        ("own-seeds", ["All known seeds of own-seeds are suppressed", "0 matched"]),
        (
            "open-door",
            ["Nobody on the suppression list", "12 ids, none of them known; they look like 99999"],
        ),
        ("misspelt", ["has a value for nobody", "consent['e-mail'] = false"]),
        ("lost-zeros", ["Nobody on the suppression list", "12 ids, none of them known"]),
        ("misspelt-beside", ["has a value for nobody", "consent['e-mail'] = false"]),
    ],
)
def test_a_refused_audience_says_why_and_has_no_members(
    ran: Ran, name: str, words: list[str]
) -> None:
    row = ran.audiences[name]
    assert row["status"] == "refused"
    for word in words:
        assert word in str(row["refusal_reason"])
    assert row["members"] == 0
    assert ran.of(name).empty
    assert any(f"audience {name} is refused" in warning for warning in ran.summary.warnings)


def test_a_dry_run_names_the_segmentation_that_the_date_does_not_have(ran: Ran) -> None:
    (planned,) = plan(ran.workspace, ran.workspace.as_of(FIRST), ["expand"])
    assert "mistyped (segment s01; no segmentation mian at this date)" in planned.does
    assert "segment (segment s01)" in planned.does


def test_a_short_list_of_strangers_is_told_beside_a_predicate_that_suppresses(ran: Ran) -> None:
    assert ran.audiences["oversized"]["users_suppressed"] > 0
    assert any(
        "audience oversized: `suppress` names 2 users, none with history" in warning
        for warning in ran.summary.warnings
    )


def test_a_size_beyond_everybody_is_told_and_holds_everybody(ran: Ran) -> None:
    row = ran.audiences["oversized"]
    ranked = row["users_eligible"] - row["seeds_matched"]
    assert [level["reach"] for level in row["levels"]] == [5, ranked]
    assert any(
        f"audience oversized: a size of 5000 users is asked for, but only {ranked} are left"
        in warning
        for warning in ran.summary.warnings
    )


def test_reasons_are_what_the_seeds_take_more_by_the_name_known_at_the_date(ran: Ran) -> None:
    reasons = ran.audiences["kids"]["reasons"]
    assert 1 <= len(reasons) <= 12
    taken = {r["token"] for r in reasons if r["field"] in ("item", "category_1")}
    assert taken
    assert taken <= {f"{f}-{t}" for f in ("item", "category_1") for t in range(TASTE_TOKENS)}
    assert all(r["lift"] > 1 and r["share"] > r["base_share"] for r in reasons)
    labels = {r["token"]: r["label"] for name in ("kids", "kept") for r in ran.reasons(name)}
    titled = {token: label for token, label in labels.items() if token.startswith("item-")}
    assert titled
    assert set(titled.values()) <= {f"Title {t}" for t in range(TASTE_TOKENS)}
    assert ran.reasons("own-seeds") == []


def test_refusals_are_counted_and_the_others_go_on(ran: Ran) -> None:
    assert ran.summary.counts["audiences_refused"] == 18
    assert ran.summary.counts["audiences_published"] == 7
    assert ran.summary.producer["audience"] == sorted(AUDIENCES)


def test_a_second_date_tells_churn_and_a_first_date_never_sees_it(ran: Ran) -> None:
    workspace = ran.workspace
    assert ran.audiences["kids"]["churn"] is None
    plant_date(workspace, SECOND, seed=2)
    alone = ran.folder.parent / "kids alone"
    alone.mkdir()
    (alone / "kids.yaml").write_text(AUDIENCES["kids"])
    (alone / "lists").symlink_to(ran.folder / "lists")
    of_kids = open_test_workspace(
        workspace.spark, ran.folder.parent / "warehouse", expand={"folder": str(alone)} | GATE
    )
    run_expand(of_kids, of_kids.as_of(SECOND))
    row = workspace.tables.read("audiences").where(f"as_of = DATE '{SECOND}'")
    kids = row.where("audience = 'kids'").collect()[0]
    before = set(ran.of("kids")["user_id"])
    members = read(workspace, "audience_members", SECOND)
    now = set(members.loc[members["audience"] == "kids", "user_id"])
    assert kids["previous_as_of"] == dt.date.fromisoformat(FIRST)
    assert kids["churn"] == pytest.approx(len(before - now) / len(before))
    assert 0 < kids["churn"] < 1

    # The first date again, with the second published, fitted elsewhere: the same to the bit.
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(job, "_fit_in_driver")
        run_expand(fitting_in_executors(ran, ran.folder), workspace.as_of(FIRST))
    pd.testing.assert_frame_equal(
        read(workspace, "audience_members", FIRST).reset_index(drop=True),
        ran.members.reset_index(drop=True),
        check_exact=True,
    )
    pd.testing.assert_frame_equal(
        read(workspace, "audience_curves", FIRST).reset_index(drop=True),
        ran.curves.reset_index(drop=True),
        check_exact=True,
    )

    again = workspace.tables.read("audiences").where(f"as_of = DATE '{FIRST}'").collect()
    for row in again:  # all but run id and run times
        before_row = ran.audiences[row["audience"]]
        fields = set(before_row) - {"run_id", "scorers"}
        assert {f: row.asDict(recursive=True)[f] for f in fields} == {
            f: before_row[f] for f in fields
        }

    # Refused on a re-run: its members of the date go, those of others and of other dates stay.
    for file in ran.folder.glob("*.yaml"):
        file.unlink()
    (ran.folder / "kids.yaml").write_text(AUDIENCES["kids"] + "minimum_seeds: 5000\n")
    summary = run_expand(workspace, workspace.as_of(FIRST))
    assert summary.counts["audiences_refused"] == 1
    left = read(workspace, "audience_members", FIRST)
    assert sorted(left["audience"].unique()) == [
        "busy",
        "fused",
        "kept",
        "opted-out",
        "oversized",
        "segment",
    ]
    assert len(read(workspace, "audience_members", SECOND)) == len(members)


def test_a_wrong_predicate_stops_the_stage(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("seeds: {predicate: 'evnts > 3; DROP TABLE users'}")
    workspace = open_test_workspace(
        ran.workspace.spark, ran.folder.parent / "warehouse", expand={"folder": str(tmp_path)}
    )
    with pytest.raises(ConfigError, match="a: seeds"):
        run_expand(workspace, workspace.as_of(FIRST))


def test_vectors_of_a_user_stand_one_after_another_by_interest(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [("a", 1, [3.0, 4.0]), ("b", 0, [5.0, 6.0]), ("a", 0, [1.0, 2.0]), ("b", 1, [7.0, 8.0])],
        "user_id STRING, interest INT, vector ARRAY<FLOAT>",
    )
    together = {row["user_id"]: row["vector"] for row in user_vectors(rows, 2).collect()}
    assert together == {"a": [1.0, 2.0, 3.0, 4.0], "b": [5.0, 6.0, 7.0, 8.0]}


def test_a_date_without_vectors_is_refused(ran: Ran) -> None:
    with pytest.raises(RefusedError, match="kinsight embed"):
        run_expand(ran.workspace, ran.workspace.as_of("2024-05-01"))


@pytest.mark.heavy
def test_ten_million_seeds_are_matched_without_being_collected(ran: Ran, tmp_path: Path) -> None:
    spark, rows = ran.workspace.spark, 10_000_000
    known = spark.createDataFrame([(str(u),) for u in split_taste()[0]], "user_id STRING")
    strangers = spark.range(rows - known.count()).select(
        F.concat(F.lit("x"), "id").alias("user_id")
    )
    strangers.unionByName(known).write.parquet(str(tmp_path / "seeds.parquet"))
    (tmp_path / "large.yaml").write_text("seeds: {file: seeds.parquet}\nminimum_seeds: 25\n")
    workspace = open_test_workspace(
        spark, ran.folder.parent / "warehouse", expand={"folder": str(tmp_path)}
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = run_expand(workspace, workspace.as_of(FIRST))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert summary.counts["large.seeds_sent"] == rows
    assert 25 <= summary.counts["large.seeds_matched"] <= known.count()
    assert grown < 300_000, f"the driver grew by {grown} KiB"
