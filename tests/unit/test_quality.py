"""Every measurement of benchmarks/quality, on a small planted shop."""

from __future__ import annotations

import functools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from benchmarks import results
from benchmarks.quality import (
    archetypes,
    encoders,
    information,
    lookalike,
    next_item,
    recipes,
    segments,
    shops,
    stability,
    tables,
    thin,
    transfer,
    warm_start,
)
from benchmarks.quality.audiences import Audience, behavioural, past_of
from benchmarks.quality.history import before
from benchmarks.quality.shops import Shop
from benchmarks.quality.tokens import price_edges
from benchmarks.quality.ways import vector_ways, ways

from kinsight.config import SegmentConfig, SequenceConfig
from kinsight.encoders.registry import ENCODERS
from kinsight.expand.scorers.registry import OF_HISTORIES, SCORERS
from kinsight.objectives.registry import OBJECTIVES
from kinsight.synth.options import SynthOptions

START = pd.Timestamp("2024-01-01", tz="UTC")
CUT = START + pd.Timedelta(days=30)
USERS = 120
TASTES = 3
ITEMS = 10
"""Of each taste."""


def planted_shop() -> Shop:
    """Users who take nine in ten of their items from their own taste's, before and after the cut.

    Item 0 of taste t is the target t; everybody has as many events as anybody else, on average.
    """
    draws = np.random.default_rng(5)
    rows = []
    for user in range(USERS):
        taste = user % TASTES
        for day in sorted(draws.choice(45, draws.integers(8, 16), replace=False).tolist()):
            for _ in range(2):
                own = draws.random() < 0.9
                of = taste if own else int(draws.integers(TASTES))
                item = int(draws.integers(ITEMS))
                rows.append((f"u{user:03d}", of, item, day, draws.random() < 0.5))
    events = pd.DataFrame(rows, columns=["user_id", "of", "item", "day", "bought"])
    place = (events["of"] * ITEMS + events["item"]).astype(str)
    category = "root > c" + events["of"].astype(str) + (events["item"] // 2).astype(str)
    shop_events = pd.DataFrame(
        {
            "user_id": events["user_id"],
            "item_id": "i" + place,
            "event_type": np.where(events["bought"], "purchase", "click"),
            "event_time": START + pd.to_timedelta(events["day"], unit="D"),
            "category": category.astype(object),
            "brand": pd.Series([None] * len(events), dtype=object),
            "price": 1.0 + events["item"],
            "quantity": 1.0,
            "session": events["day"].astype(str),
            "target": category.astype(object),
        }
    )
    middle = START + pd.Timedelta(days=20)
    return Shop("planted", shop_events, CUT, START + pd.Timedelta(days=45), middle, None)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return planted_shop()


@pytest.fixture(scope="module")
def audiences(shop: Shop) -> list[Audience]:
    """Who belongs to taste 0, a target visible, and the same target removed."""
    past = past_of(shop, CUT)
    own = past.ids[np.array([int(name[1:]) % TASTES == 0 for name in past.ids])]
    taste = Audience("taste 0", "tastes", "planted", past, past, past.ids, own)
    found = [behavioural(shop, CUT, shop.end, 1, removed)[0] for removed in (False, True)]
    return [taste, *found]


WANTED = [
    recipes.Recipe("random"),
    recipes.Recipe("content_mean"),
    recipes.Recipe("transformer", ("next_item",)),
]


def test_everything_registered_is_in_the_long_tables():
    found = recipes.recipes(is_long=True)
    assert {recipe.encoder for recipe in found} == set(ENCODERS)
    assert {name for recipe in found for name in recipe.objectives} == set(OBJECTIVES)
    assert {recipe.name for recipe in recipes.recipes(is_long=False)} == set(recipes.SHORT)
    named = {way.name for way in ways([], [], tuned=["gru"])}
    assert {f"gru, {n}" if n in OF_HISTORIES else n for n in SCORERS} <= named
    [only] = [r for r in recipes.recipes(False, ["gru + next_item"]) if not r.is_floor]
    assert only.encoder == "gru"


def test_a_past_holds_nothing_of_the_future(shop: Shop):
    whole = before(shop.events, CUT, SequenceConfig())
    cut = before(shop.events[shop.events["event_time"] < CUT], CUT, SequenceConfig())
    assert whole.rows.equals(cut.rows)
    assert whole.tokens["item"].names.tolist() == cut.tokens["item"].names.tolist()
    assert whole.histories.columns["seconds"].max() < CUT.timestamp()


def test_tokens_come_by_users_then_by_name(shop: Shop):
    past = past_of(shop, CUT)
    seen = shop.events[shop.events["event_time"] < CUT]
    users = seen.groupby("item_id")["user_id"].nunique().reset_index(name="users")
    users = users.sort_values(["users", "item_id"], ascending=[False, True])
    assert past.tokens["item"].names[2:].tolist() == users["item_id"].tolist()
    assert past.tokens["item"].users[2:].tolist() == users["users"].tolist()
    bag = past.counts("item").toarray()
    one = seen[seen["user_id"] == past.ids[0]]["item_id"].value_counts()
    assert {past.tokens["item"].names[i]: int(n) for i, n in enumerate(bag[0]) if n} == dict(one)


def test_price_edges_are_quantiles_of_the_events():
    edges = price_edges(np.array([1.0, 1.0, 1.0, 2.0, 3.0, np.nan, 0.0]), 5)
    assert edges == (1.0, 2.0)
    assert price_edges(np.array([np.nan]), 5) is None


def test_removed_targets_are_gone_and_nothing_else(shop: Shop):
    past = past_of(shop, CUT)
    target = "root > c00"
    left = past.without(target)
    items = past.items_of(target)
    assert {past.tokens["item"].names[i] for i in items} == {"i0", "i1"}
    assert left.counts("item")[:, items].nnz == 0
    others = np.setdiff1d(np.arange(2, len(past.tokens["item"].names)), items)
    kept = np.isin(past.ids, left.ids)
    assert (left.counts("item")[:, others] != past.counts("item")[kept][:, others]).nnz == 0


def test_lookalikes_find_the_planted_taste(audiences: list[Audience]):
    cells = lookalike.measure(audiences, WANTED, 1, 7, 1)
    name = "tastes: taste 0"
    taste = {row: np.mean(by[name]) for row, by in cells.auc.items() if name in by}
    assert taste["bag_logistic"] > 0.9
    assert taste["content_mean, logistic"] > 0.9
    assert taste["auto"] > 0.9
    assert taste["activity"] < 0.7
    assert {w.name for w in ways([r.name for r in WANTED], [])} <= set(cells.auc)
    rows = lookalike.rows_of(cells, lookalike.families_of(cells))
    assert len(rows) == len(cells.auc)
    [note] = lookalike.notes_of(cells)
    assert note.startswith("`auto` beside the floor that is best here, ")
    assert cells.auc["share of it so far"].keys() == {f"planted, visible: {audiences[1].name}"}


def test_cross_validation_finds_the_planted_taste(audiences: list[Audience]):
    rows = functools.partial(lookalike.all_ways, with_auto=False)
    cells = lookalike.measure(audiences[:1], WANTED[:2], 1, 7, 1, lookalike.cross_validated, rows)
    assert cells.auc["bag_logistic"]["tastes: taste 0"][0] > 0.9
    assert "auto" not in cells.auc


def test_vectors_are_measured_beside_floors_and_bags(audiences: list[Audience]):
    cells = lookalike.measure(audiences, WANTED, 2, 7, 1, rows=encoders.vector_rows)
    assert set(cells.training) == {recipe.name for recipe in WANTED}
    [bags, *rows] = encoders.rows_of(cells, ["tastes: taste 0"])
    assert bags[0] == "bag_logistic"
    assert [row[0] for row in rows] == [recipe.name for recipe in WANTED]
    assert {len(row) for row in (bags, *rows)} == {6}
    content = next(row for row in rows if row[0] == "content_mean")
    assert content[2].lstrip("*").startswith("+")
    assert content[3] == ""
    cells.auc["content_mean"] = {}
    [_, *rows] = encoders.rows_of(cells, ["tastes: taste 0"])
    assert next(row for row in rows if row[0] == "content_mean")[1:5] == [""] * 4


def test_next_items_are_of_the_planted_taste(shop: Shop):
    of = next_item.split("planted", past_of(shop, shop.end), allows_repeats=True)
    rows, refused = next_item.all_scores(of, WANTED, 7, {"epochs": 2})
    assert not refused
    hits = {name: next_item.examine(of, row, of.test) for name, row in rows.items()}
    assert {"HR@10", "NDCG@20", "category HR@10"} <= set(hits["popularity"])
    assert "category HR@10" not in hits["content_mean"], "products are no chances"
    assert hits["content_mean"]["HR@10"].mean() > hits["popularity"]["HR@10"].mean()
    assert np.all(hits["popularity"]["HR@10"] <= hits["popularity"]["HR@20"])


def test_validation_and_test_are_the_two_latest_times(shop: Shop):
    of = next_item.split("planted", past_of(shop, shop.end), allows_repeats=True)
    for before_it, at in (of.validation, of.test):
        last = before_it.columns["seconds"][before_it.start + before_it.length - 1]
        assert np.all(at.columns["seconds"][at.start] > last)
    first_test = of.test[1].columns["seconds"][of.test[1].start]
    last_seen = of.train.columns["seconds"][of.train.start + of.train.length - 1]
    assert np.all(last_seen < first_test)


def test_what_everybody_takes_once_is_not_ranked_again(shop: Shop):
    of = next_item.split("planted", past_of(shop, shop.end), allows_repeats=False)
    recent = next_item.Row(next_item.floors(of)["items met last"], 0.0, has_chances=True)
    found = next_item.examine(of, recent, of.test)["HR@10"]
    again = next_item.split("planted", past_of(shop, shop.end), allows_repeats=True)
    assert found.mean() < next_item.examine(again, recent, again.test)["HR@10"].mean()


def test_segments_of_tastes_tell_what_comes(shop: Shop):
    cut = segments.cut_at(shop, CUT, shop.end)
    config = SegmentConfig(maximum_share=0.5)
    vectors = {"some": np.eye(8, dtype=np.float32)[np.arange(len(cut.past)) % 8]}
    found = {
        row: segments.measure(cut, group, range(2))
        for row, group in segments.groupings(cut, vectors, config).items()
    }
    by_bags = np.mean(found["product, input: bags"].information)
    assert by_bags > 2 * np.mean(found["equal parts by activity"].information)
    assert all(len(segments.cells_of(one)) == 3 for one in found.values())


def test_information_of_shuffled_groups_is_none():
    draws = np.random.default_rng(0)
    labels = np.arange(2_000) % 5
    later = draws.random((2_000, 30)) < 0.3
    assert abs(information.beyond_chance(labels, later, 1)) < 0.001
    told = labels[:, None] == np.arange(5)
    assert information.mean_information(labels, told) == pytest.approx(1.0, abs=1e-6)
    activity = labels.astype(np.float64)
    assert information.given_activity(labels, told, activity, 1) == pytest.approx(0, abs=0.02)


def test_thin_histories_are_measured_by_bucket(shop: Shop, audiences: list[Audience]):
    found, _ = thin.lookalike_by_length(audiences[:1], WANTED[:2], 7, 1)
    cells = thin.cells_of(found["bag_logistic"], thin.mean_and_number)
    assert cells[:2] == ["", ""]
    assert cells[2].endswith("(1)")
    of = next_item.split("planted", past_of(shop, shop.end), allows_repeats=True)
    hits, _ = thin.next_item_by_length(of, WANTED[:2], 7, 1)
    assert sum(map(len, hits["popularity"].values())) == len(of.ids)


def test_stability_is_measured_on_the_same_users(shop: Shop, audiences: list[Audience]):
    two = stability.prepare(shop, WANTED[:2], 7, 1)
    rows = stability.segment_rows(two, SegmentConfig(maximum_share=0.5))
    assert all(-1 <= value <= 1 for parts in rows.values() for part in parts for value in part)
    overlaps = stability.audience_rows(two, shop, audiences[1:2], ("bag_logistic",), 7)
    assert overlaps["bag_logistic"][0] == [1.0]
    assert 0 < overlaps["bag_logistic"][2][0] <= 1


def test_a_warm_start_begins_with_the_weights_of_the_tokens_of_then(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(shops.SHOPS, "planted", lambda: shop)
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "--data", "planted", "--draws", "2", "--epochs", "1"])
    warm_start.main()
    [kept] = (tmp_path / "results").glob("*.json")
    found = json.loads(kept.read_text(encoding="utf-8"))["found"]["planted: gru + next_item"]
    assert found["warm"] != found["anew"]
    assert all(0 < rank <= 1 for values in found.values() for rank, *_ in values)


def test_a_held_out_task_is_told_by_what_was_learned_for_others(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(shops.SHOPS, "planted", lambda: shop)
    monkeypatch.setitem(transfer.TASKS, "planted", (("next_type", "next_gap"), "next_category"))
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "--data", "planted", "--draws", "2", "--epochs", "1"])
    transfer.main()
    [kept] = (tmp_path / "results").glob("*.json")
    found = json.loads(kept.read_text(encoding="utf-8"))["found"]["planted"]
    assert list(found) == ["untrained", "next_type alone", "next_gap alone", "together"]
    assert all(0 <= quality <= 1 for pairs in found.values() for quality, _ in pairs)
    chances = {tuple(by_chance for _, by_chance in pairs) for pairs in found.values()}
    assert len(chances) == 1, "with a seed, all are asked of the same users"


def test_a_difference_is_paired():
    draws = np.random.default_rng(0)
    hard = draws.normal(0, 1, (8, 3))
    better = tables.paired(hard + 0.1 + draws.normal(0, 0.01, hard.shape), hard)
    assert better.low > 0
    assert str(better).startswith("**+0.1")
    assert np.isnan(tables.paired(np.array([[0.3]]), np.array([[0.2]])).low)


def test_tables_are_kept_as_json_and_markdown(tmp_path: Path):
    for value in ("1", "2"):
        tables.keep(
            "one", "A title", "About it.", ["a"], [[value]], {"x": 1}, ["A note."], tmp_path
        )
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.count("## A title") == 1
    assert "| 2 |" in page
    kept = json.loads((tmp_path / "results" / "one.json").read_text(encoding="utf-8"))
    assert kept["rows"] == [["2"]]
    assert kept["x"] == 1


def _keep_one(folder: Path, name: str) -> None:
    tables.keep(name, f"Title {name}", "About it.", ["a"], [[name]], {}, folder=folder)


def test_tables_made_side_by_side_are_all_kept(tmp_path: Path):
    names = [f"table_{n}" for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(functools.partial(_keep_one, tmp_path), names))
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.startswith("# How good the models are")
    assert all(page.count(f"## Title {name}\n") == 1 for name in names)


def test_what_was_measured_says_whether_the_code_was_committed(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(results, "_git", lambda *a: asked.append(a) or "x")
    assert results.circumstances()["commit"] == "x, changed since"
    # From the root, wherever the command runs.
    assert all(path.startswith(":/") for path in asked[1][3:])


HEAVY = [pytest.param(table, marks=pytest.mark.heavy) for table in (lookalike, thin)]
"""They fit every scorer, `auto` for every bucket of lengths too: minutes."""


@pytest.mark.parametrize("table", [encoders, next_item, segments, stability, *HEAVY])
def test_every_command_makes_its_table(
    table: ModuleType, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(shops.SHOPS, "planted", lambda: shop)
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(table, "recipes", lambda *_: WANTED[:2])
    monkeypatch.setattr(sys, "argv", ["", "--data", "planted", "--draws", "2", "--epochs", "1"])
    table.main()
    kept = list((tmp_path / "results").glob("*.json"))
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert kept
    assert all(f"results/{path.name}" in page for path in kept)
    assert "content_mean" in page


def test_planted_archetypes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = SynthOptions(users=400, items=1_000, median_events=25, spread=0.5)
    monkeypatch.setattr(shops, "PLANTED_OPTIONS", few)
    shops.planted.cache_clear()
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(archetypes, "recipes", lambda *_: WANTED[:2])
    monkeypatch.setattr(archetypes, "all_ways", lambda crowd, **_: vector_ways([*crowd.vectors]))
    monkeypatch.setattr(sys, "argv", ["", "--draws", "2", "--epochs", "1", "--audiences", "2"])
    archetypes.main()
    shops.planted.cache_clear()
    kept = tmp_path / "results"
    rows = json.loads((kept / "archetypes_segments_short.json").read_text(encoding="utf-8"))["rows"]
    found = {row[0]: float(row[2].split()[0]) for row in rows}
    assert found["product, input: bags"] > 0.5
    assert found["equal parts by activity"] < 0.1
    cells = json.loads((kept / "archetypes_audiences_short.json").read_text(encoding="utf-8"))
    assert np.mean([*cells["auc"]["bag_logistic"].values()]) > 0.8
