"""Rules over readable features, and traits."""

from __future__ import annotations

import numpy as np

from kinsight.segment.algorithms.space import Blocks
from kinsight.segment.rules import Condition, Fit, Rule, find_rule, measure
from kinsight.segment.sample import Features, Sample
from kinsight.segment.traits import trait_terms


def features(users: int = 600) -> Features:
    rng = np.random.default_rng(1)
    names = ("frequency", "average_price", "category_shares['O\\'Neill']")
    values = np.column_stack(
        [rng.integers(1, 90, users), rng.gamma(3, 2, users), rng.random(users)]
    )
    return Features(names, values.astype(np.float64))


def test_a_planted_conjunction_is_found_and_read_as_sql() -> None:
    users = features()
    member = (users.values[:, 2] > 0.6) & (users.values[:, 0] <= 30)
    rule = find_rule(users, member)
    assert rule is not None
    assert {(c.feature, c.above) for c in rule.conditions} == {
        (users.names[2], True),
        ("frequency", False),
    }
    fit = measure(rule.holds(users), member)
    assert fit.precision is not None
    assert fit.recall is not None
    assert min(fit.precision, fit.recall) > 0.97
    assert rule.sql(3).startswith("events >= 3 AND ")
    assert "category_shares['O\\'Neill'] > 0.596" in rule.sql(3)


def test_thresholds_are_written_without_exponent_and_shares_count_nought_where_absent() -> None:
    assert Condition("monetary", True, 1_200_000.0).sql() == "monetary > 1200000"
    assert Condition("weekend_share", False, 0.00002).sql() == "weekend_share <= 0.00002"
    low = Condition("type_shares['view']", False, 0.1).sql()
    assert low == "coalesce(type_shares['view'], 0) <= 0.1"


def test_a_condition_holds_for_no_user_whose_number_is_unknown_as_in_sql() -> None:
    users = Features(("average_price",), np.array([[1.0], [3.0], [np.nan]]))
    above, below = (Condition("average_price", side, 2.0).holds(users) for side in (True, False))
    assert above.tolist() == [False, True, False]
    assert below.tolist() == [True, False, False]


def test_unknown_numbers_do_not_hinder_a_rule() -> None:
    users = features()
    users.values[::7, 1] = np.nan
    member = users.values[:, 1] > 8
    rule = find_rule(users, member)
    assert rule is not None
    assert measure(rule.holds(users), member).precision == 1.0


def test_where_nothing_tells_members_apart_there_is_no_rule() -> None:
    same = Features(("frequency",), np.ones((100, 1)))
    assert find_rule(same, np.arange(100) < 30) is None
    assert find_rule(features(), np.zeros(600, dtype=bool)) is None
    nothing = measure(np.zeros(3, dtype=bool), np.array([True, False, False]))
    assert nothing == Fit(precision=None, recall=0.0)


def test_a_rule_is_short() -> None:
    users = features()
    rule = find_rule(users, users.values[:, 2] > 0.5)
    assert (
        rule == Rule((Condition(users.names[2], True, rule.conditions[0].threshold),))
        if rule
        else False
    )


def sample(**columns: np.ndarray) -> Sample:
    users = len(next(iter(columns.values())))
    values = np.column_stack(list(columns.values())).astype(np.float64)
    held_out = np.arange(users) % 3 == 0
    return Sample(held_out, Blocks(None, None), Features(tuple(columns), values))


def test_a_trait_is_the_share_of_members_in_a_fifth_of_all_users() -> None:
    labels = np.arange(900) % 2
    weekend = np.where(labels == 1, 0.5, 0.1) + np.arange(900) / 1e4
    terms = trait_terms(sample(weekend_share=weekend), labels, 2)
    weekenders = {t.label: t for t in terms[1]}["Weekend"]
    assert abs(weekenders.base_share - 0.2) < 0.01
    assert abs(weekenders.share - 0.4) < 0.02
    assert 1.8 < weekenders.lift <= 2.0
    assert weekenders.held_out_lift is not None
    assert abs(weekenders.held_out_lift - 2) < 0.1
    assert "Weekend" not in {t.label for t in terms[0]}


def test_a_feature_with_one_value_makes_no_trait() -> None:
    assert trait_terms(sample(monetary=np.zeros(300)), np.arange(300) % 2, 2) == [[], []]


def test_visits_are_baskets_only_where_most_events_are_purchases() -> None:
    size = np.arange(300) % 10
    for purchases, label in ((0.9, "Big Baskets"), (0.1, "Long Visits")):
        users = sample(
            events_per_session=size, **{"type_shares['purchase']": np.full(300, purchases)}
        )
        terms = trait_terms(users, (size > 4).astype(np.int64), 2)
        assert label in {t.label for t in terms[1]}
