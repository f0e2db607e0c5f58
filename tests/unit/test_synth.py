"""Synthetic users: what is planted is there, and nothing depends on the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from kinsight.synth.delivery import BATCH_FREE_ORDER, FAULTS
from kinsight.synth.draws import Draws, Ints
from kinsight.synth.events import bot_rows, user_events
from kinsight.synth.options import SynthOptions
from kinsight.synth.people import draw_people, truth_rows
from kinsight.synth.world import ARCHETYPES, DEPARTMENTS, Catalogue, archetype_table, item_rows

FAULTY = SynthOptions(users=2_000, nights=5, late=0.1, duplicates=0.02, malformed=0.02, drift=0.3)
CATALOGUE = Catalogue.of(FAULTY.items, FAULTY.seed)


def numbers(begin: int, end: int) -> Ints:
    return np.arange(begin, end, dtype=np.int64)


def frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().sort_values(list(BATCH_FREE_ORDER)).reset_index(drop=True)


@pytest.fixture(scope="module")
def plain() -> pd.DataFrame:
    options = SynthOptions(users=20_000, drift=0)
    return user_events(options, CATALOGUE, numbers(0, 20_000)).to_pandas()


def test_rows_do_not_depend_on_the_batch_they_are_made_in() -> None:
    whole = user_events(FAULTY, CATALOGUE, numbers(0, 300))
    parts = [
        user_events(FAULTY, CATALOGUE, numbers(begin, end))
        for begin, end in ((0, 1), (1, 130), (130, 300))
    ]
    pd.testing.assert_frame_equal(frame(whole), frame(pa.concat_tables(parts)))
    bot = bot_rows(FAULTY, CATALOGUE, 0, 0, 500)
    halves = [bot_rows(FAULTY, CATALOGUE, 0, 0, 200), bot_rows(FAULTY, CATALOGUE, 0, 200, 500)]
    pd.testing.assert_frame_equal(frame(bot), frame(pa.concat_tables(halves)))


def test_another_seed_makes_another_shop() -> None:
    other = SynthOptions(users=2_000, seed=2)
    first = user_events(SynthOptions(users=2_000), CATALOGUE, numbers(0, 50))
    assert not first.equals(user_events(other, CATALOGUE, numbers(0, 50)))


def test_histories_are_as_long_as_those_of_real_shops(plain: pd.DataFrame) -> None:
    length = plain.groupby("user_id").size()
    assert len(length) == 20_000
    assert length.median() == 6
    assert 15 < length.mean() < 19
    assert 60 < length.quantile(0.95) < 76
    assert length.max() == 500


def test_every_event_lies_in_the_period_and_visits_are_in_order(plain: pd.DataFrame) -> None:
    time = plain["event_time"]
    assert time.min() >= pd.Timestamp("2024-01-03", tz="UTC")
    assert time.max() < pd.Timestamp("2024-07-01", tz="UTC")
    assert plain["event_id"].is_unique
    visits = plain.groupby("session_id")["event_time"]
    assert (visits.max() - visits.min()).max() < pd.Timedelta(hours=5)
    purchases = plain[plain["event_type"] == "purchase"]
    baskets = purchases.groupby("session_id")["event_time"].nunique()
    assert (baskets == 1).all(), "the lines of a basket are bought at one time"


def test_an_archetype_shows_in_departments_hours_and_days(plain: pd.DataFrame) -> None:
    people = draw_people(SynthOptions(users=20_000, drift=0), numbers(0, 20_000))
    share = np.bincount(people.archetype, minlength=len(ARCHETYPES)) / 20_000
    assert np.abs(share - archetype_table("share")).max() < 0.01
    items = item_rows(CATALOGUE, numbers(0, len(CATALOGUE.price))).to_pandas()
    department = plain.merge(items, on="item_id")[["user_id", "department"]]
    kind = pd.Series(people.archetype, index=[f"u{n:09d}" for n in range(20_000)])
    table = pd.crosstab(
        department["user_id"].map(kind), department["department"], normalize="index"
    )
    for number, archetype in enumerate(ARCHETYPES):
        favourite = max(archetype.tastes, key=lambda name: archetype.tastes[name])
        assert table.loc[number, favourite] > 2 * table.drop(index=number)[favourite].median()
    weekend = (plain["event_time"].dt.weekday >= 5).groupby(plain["user_id"].map(kind)).mean()
    assert weekend[8] > 0.5 > 0.3 > weekend[11], "weekly shoppers, early adopters"


def test_drift_changes_what_a_user_does_on_the_day_that_the_truth_names() -> None:
    options = SynthOptions(users=20_000, drift=0.5)
    truth = truth_rows(options, numbers(0, 20_000)).to_pandas()
    drifted = truth["archetype_before"].notna()
    assert 0.47 < drifted.mean() < 0.53
    assert (truth["archetype"] != truth["archetype_before"])[drifted].all()
    assert truth["drifted_on"].notna().equals(drifted)
    events = (
        user_events(options, CATALOGUE, numbers(0, 20_000)).to_pandas().merge(truth, on="user_id")
    )
    items = item_rows(CATALOGUE, numbers(0, len(CATALOGUE.price))).to_pandas()
    events = events.merge(items, on="item_id")
    gamers = events[events["archetype"] == "gamers"]
    late = gamers["drifted_on"].isna() | (gamers["event_time"].dt.date >= gamers["drifted_on"])
    games = (gamers["department"] == "Games").groupby(late).mean()
    assert games[True] > 3 * games[False]


def test_faults_are_further_rows_of_the_shares_asked_for() -> None:
    rows = user_events(FAULTY, CATALOGUE, numbers(0, 2_000)).to_pandas()
    spoilt = rows["event_id"].str.endswith("x")
    good = rows[~spoilt]
    truth = truth_rows(FAULTY, numbers(0, 2_000)).to_pandas()
    assert good["event_id"].nunique() == truth["events"].sum()
    assert 0.015 < spoilt.sum() / len(good) < 0.025
    assert 0.015 < good["event_id"].duplicated().mean() < 0.025
    kinds = [
        rows["user_id"].isna(),
        rows["event_time"].isna(),
        rows["event_type"] == "hover",
        rows["price"] < 0,
        rows["event_time"] < "1980",
    ]
    assert len(kinds) == len(FAULTS)
    assert pd.concat(kinds, axis=1).sum(axis=1).eq(spoilt.astype(int)).all(), "one fault each"


def test_late_events_come_in_a_later_nights_folder() -> None:
    rows = user_events(FAULTY, CATALOGUE, numbers(0, 2_000)).to_pandas().dropna()
    night = rows[rows["delivery"] != "history"]
    happened = night["event_time"].dt.tz_localize(None).dt.normalize()
    came = pd.to_datetime(night["delivery"])
    days = (came - happened).dt.days[lambda d: d < 100]
    assert days.min() == 0
    assert days.max() == 3
    assert 0.02 < (days > 0).mean() < 0.2
    assert sorted(rows["delivery"].unique())[:5] == [f"2024-06-{day}" for day in range(26, 31)]


def test_the_catalogue_covers_all_departments_and_prices_are_ranked() -> None:
    items = item_rows(CATALOGUE, numbers(0, len(CATALOGUE.price))).to_pandas()
    assert set(items["department"]) == set(DEPARTMENTS)
    assert items["item_id"].is_unique
    assert items["category"].nunique() == CATALOGUE.categories
    one = CATALOGUE.category == 7
    assert pd.Series(CATALOGUE.tier[one]).corr(pd.Series(CATALOGUE.price[one]), "spearman") > 0.99


def test_draws_are_even_and_independent_of_each_other() -> None:
    draws = Draws(3, numbers(0, 100_000))
    a, b = draws.uniform("one"), draws.uniform("two")
    assert 0 < a.min() < a.max() < 1
    assert np.abs(np.histogram(a, 20, (0, 1))[0] / 5_000 - 1).max() < 0.06
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.01
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.01


def test_late_events_without_nights_are_refused() -> None:
    with pytest.raises(ValidationError, match="nights"):
        SynthOptions(late=0.1)
