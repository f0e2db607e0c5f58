"""Lift, labels, names and descriptions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinsight.labels import is_plain, readable
from kinsight.segment.counting import strongest
from kinsight.segment.lift import Shares, Term, lifts
from kinsight.segment.naming import COLD_NAME, describe, name_segments

# A crowded machine is slow; that is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def shares(members: int, share: float, base_share: float, users: int | None = None) -> Shares:
    """One term whose members have one and the same share, half of them held out users more."""

    def one(value: float) -> np.ndarray:
        return np.array([float(value)])

    having = members * share if users is None else users
    return Shares(
        users=one(having),
        shares=one(members * share),
        squares=one(members * share),
        base_shares=one(10_000 * base_share),
        held_shares=one(members / 2 * share),
        base_held_shares=one(5_000 * base_share),
        members=one(members),
        held_members=one(members / 2),
        base_members=10_000.0,
        base_held_members=5_000.0,
    )


def term(label: str, lift: float = 3.0, support: float = 0.9, **known: object) -> Term:
    """A term that is sure by default."""
    values: dict[str, object] = {
        "token": f"{label} > leaf",
        "field": "category_2",
        "held_out_lift": lift,
        "share": 0.1 * lift,
        "base_share": 0.1,
        "sure_lift": 0.9 * lift,
    } | known
    return Term(label=label, lift=lift, support=support, **values)  # type: ignore[arg-type]  # a mapping of keywords


def trait(label: str, lift: float = 2.0, support: float = 0.4, **known: object) -> Term:
    """A trait that is sure by default."""
    return term(label, lift, support, field="trait", token=label.lower(), **known)


class TestLift:
    """Shrunken lift."""

    def test_many_members_keep_their_lift_and_few_are_shrunk_towards_one(self) -> None:
        many, few, fewer = (lifts(shares(n, 0.3, 0.1))["lift"][0] for n in (5_000, 50, 5))
        assert many == pytest.approx(3, rel=0.02)
        assert many > few > fewer > 1

    def test_what_is_sure_lies_under_the_lift_and_comes_near_with_members(self) -> None:
        small, large = (lifts(shares(n, 0.3, 0.1)) for n in (20, 5_000))
        assert small["sure_lift"][0] < 1.5 < large["sure_lift"][0] < large["lift"][0]

    def test_the_held_out_lift_is_plain_and_unknown_where_nobody_has_the_term(self) -> None:
        assert lifts(shares(100, 0.3, 0.1))["held_out_lift"][0] == pytest.approx(3)
        nobody = dataclasses.replace(
            shares(100, 0.3, 0.1), held_shares=np.zeros(1), base_held_shares=np.zeros(1)
        )
        assert np.isnan(lifts(nobody)["held_out_lift"][0])

    @PATIENT
    @given(members=st.integers(1, 5_000), share=st.floats(0.001, 1), base_share=st.floats(0.001, 1))
    def test_shrinkage_never_crosses_one_nor_the_plain_ratio(
        self, members: int, share: float, base_share: float
    ) -> None:
        lift = lifts(shares(members, share, base_share))["lift"][0]
        low, high = sorted((1.0, share / base_share))
        assert low - 1e-9 <= lift <= high + 1e-9

    def test_lists_hold_what_enough_members_have_by_lift(self) -> None:
        terms = [term("a", 2), term("b", 5, support=0.05), term("c", 4), term("d", 0.5)]
        terms.append(term("e", 9, field="item"))
        terms.append(term("f", 8, sure_lift=0.9))
        assert [t.label for t in strongest(terms, "category", 0.1, 5)] == ["c", "a"]
        assert [t.label for t in strongest(terms, "item", 0.0, 5)] == ["e"]


class TestLabels:
    """Labels as a person reads them."""

    @pytest.mark.parametrize(
        ("label", "read"),
        [
            ("BABY FOODS", "Baby Foods"),
            ("SNACKS/CHIPS&DIPS", "Snacks / Chips & Dips"),
            ("CHEESE:SPECIALTY PREPACK", "Cheese: Specialty Prepack"),
            ("WINGS (IQF)", "Wings"),
            ("home_and_garden", "Home And Garden"),
            ("CHEF'S SALAD", "Chef's Salad"),
            ("iPhone cases", "iPhone cases"),
            ("Bébé", "Bébé"),
        ],
    )
    def test_capitals_and_slashes_become_readable(self, label: str, read: str) -> None:
        assert readable(label) == read

    def test_codes_abbreviations_and_cut_labels_cannot_stand_in_a_name(self) -> None:
        plain = ["Baby Foods", "DVD & TV", "Fitness & Diet", "Vitamin C", "Игрушки", "ドライヤー"]
        assert all(is_plain(label) for label in plain)
        unfit = ["2281", "Frzn Meat", "Table Salt Popcorn Saltice C", "", "x" * 40]
        assert not any(is_plain(label) for label in unfit)


class TestNames:
    """Names of segments."""

    def test_a_name_is_the_telling_taste_and_up_to_two_traits_of_different_kinds(self) -> None:
        tastes = [term("Baby Care", 8), term("Snacks", 1.9)]
        traits = [trait("Weekend"), trait("High Value", 3), trait("Low Value", 1.9)]
        (name,) = name_segments([tastes], [traits])
        assert name.text == "Baby Care · High Value · Weekend"
        assert [t.label for t in name.terms] == name.text.split(" · ")

    def test_a_second_taste_fills_in_only_from_another_root(self) -> None:
        tastes = [
            term("Baby Food", 8, token="BABY > FOOD"),
            term("Baby Wear", 7, token="BABY > WEAR"),
            term("Toys", 3, token="TOYS > ALL"),
        ]
        assert name_segments([tastes], [[]])[0].text == "Baby Food · Toys"

    def test_what_most_members_have_goes_before_what_few_have_more_strongly(self) -> None:
        tastes = [
            term("Food", 10, 0.95, token="Cat > Food"),
            term("Treats", 14, 0.4, token="Cat > Treats"),
        ]
        assert name_segments([tastes], [[]])[0].text == "Food"

    def test_what_is_not_sure_to_hold_on_other_users_does_not_begin_a_name(self) -> None:
        tastes = [term("Kosher", 9, sure_lift=1.1), term("Wine", 2, sure_lift=1.6)]
        assert name_segments([tastes], [[]])[0].text.startswith("Wine")
        tastes = [term("Kosher", 9, sure_lift=1.1), term("Wine", 2, sure_lift=1.3)]
        assert name_segments([tastes], [[]])[0].text.startswith("Wine")

    def test_the_held_out_lift_has_no_say(self) -> None:
        tastes = [term("Wine", 5, held_out_lift=0.1), term("Beer", 2, held_out_lift=9.0)]
        assert name_segments([tastes], [[]])[0].text.startswith("Wine")

    def test_equal_names_get_a_further_term_and_at_last_a_number(self) -> None:
        traits = [trait("Weekend"), trait("High Value"), trait("Frequent"), trait("Evening")]
        tastes = [term("Wine")]
        names = [n.text for n in name_segments([tastes] * 3, [traits] * 3)]
        assert len(set(names)) == 3
        assert names[1].startswith(names[0] + " · ")
        assert names[2].startswith(names[1] + " · ")

    def test_a_weak_term_stands_in_a_name_only_to_tell_two_segments_apart(self) -> None:
        tastes = [term("Wine"), term("Toys", 1.1, sure_lift=0.9)]
        assert [n.text for n in name_segments([tastes] * 3, [[]] * 3)] == [
            "Wine",
            "Wine · Toys",
            "Wine · Toys (3)",
        ]

    def test_a_segment_like_all_others_is_mixed(self) -> None:
        assert [n.text for n in name_segments([[], []], [[], []])] == ["Mixed", "Mixed (2)"]

    @PATIENT
    @given(
        picked=st.lists(
            st.lists(st.sampled_from(["Wine", "Beer", "Toys", "Cold"]), max_size=3, unique=True),
            min_size=1,
            max_size=12,
        )
    )
    def test_names_are_unique_and_never_that_of_the_cold_segment(
        self, picked: list[list[str]]
    ) -> None:
        tastes = [[term(label, 2 + len(label)) for label in labels] for labels in picked]
        names = [n.text for n in name_segments(tastes, [[]] * len(tastes))]
        assert len({*names, COLD_NAME}) == len(names) + 1


def test_a_description_tells_share_taste_rhythm_and_value() -> None:
    text = describe(
        0.124,
        [term("Baby Foods", 3.04), trait("Weekend")],
        {"frequency": 1.0, "recency_days": 4.2, "monetary": 150.0},
        {"frequency": 8.0, "recency_days": 9.0, "monetary": 100.0},
    )
    assert text == (
        "12% of users, with a taste for Baby Foods (3.0 times the average). They came on 1 day "
        "(average 8), the last time 4 days before the date, and are worth 50% more than the "
        "average."
    )


def test_a_shop_without_purchases_is_described_without_value() -> None:
    nothing = {"frequency": 2.0, "recency_days": 1.0, "monetary": 0.0}
    assert "worth" not in describe(0.5, [], nothing, nothing)


def test_a_description_tells_the_checked_lift_or_that_there_is_none() -> None:
    text = describe(0.1, [term("Baby Foods", 12.4, held_out_lift=8.0)], {}, {})
    assert text.endswith("with a taste for Baby Foods (8.0 times the average).")
    text = describe(0.1, [term("Baby Foods", 12.4, held_out_lift=None)], {}, {})
    assert text.endswith("Baby Foods (12.4 times the average, not checked on others).")
