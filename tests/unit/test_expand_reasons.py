"""Reasons: what seeds do more than the base, told once and only where it is sure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from kinsight.expand.habits import TRAIT_FEATURES, Habits, decode_habits, event_shares
from kinsight.expand.reasons import (
    MOST,
    MOST_OF_A_KIND,
    Reason,
    candidate_reasons,
    choose_reasons,
)
from kinsight.lift import shrink

USERS, TOKENS = 1_200, 50
SEEDS = np.arange(USERS) < 150
LIKED = 7


def habits(lift: float, seed: int = 1) -> Habits:
    """Events spread by lot; seeds have ``lift`` times as many with the token LIKED."""
    rng = np.random.default_rng(seed)
    rate = np.full((USERS, TOKENS), 0.6)
    rate[SEEDS, LIKED] *= lift
    counts = rng.poisson(rate).astype(float)
    counts[:, 0] = 1.0
    shares = sparse.csr_matrix(counts / counts.sum(axis=1, keepdims=True))
    features = {name: rng.normal(size=USERS) for name in TRAIT_FEATURES}
    return Habits({"item": shares}, features)


def test_what_seeds_do_more_is_found_with_its_shares() -> None:
    (reason,) = candidate_reasons(habits(3.0), SEEDS)
    assert (reason.field, reason.index) == ("item", LIKED)
    assert 1.8 < reason.lift < reason.share / reason.base_share < 3.5
    assert reason.support > 0.5


def test_random_seeds_have_next_to_no_reasons() -> None:
    found = [candidate_reasons(habits(1.0, seed), SEEDS) for seed in range(10)]
    assert sum(len(reasons) for reasons in found) <= 3


def test_what_hardly_any_seed_does_is_no_reason() -> None:
    some = habits(1.0)
    rare = some.shares["item"].tolil()
    rare[:, LIKED] = 0
    rare[:4, LIKED] = 0.9
    some = dataclasses.replace(some, shares={"item": rare.tocsr()})
    assert LIKED not in {r.index for r in candidate_reasons(some, SEEDS)}


def test_what_nobody_of_the_base_does_has_a_finite_lift() -> None:
    some = habits(1.0)
    only = some.shares["item"].tolil()
    only[:, LIKED] = 0
    only[:60, LIKED] = 0.2
    some = dataclasses.replace(some, shares={"item": only.tocsr()})
    (reason,) = [r for r in candidate_reasons(some, SEEDS) if r.index == LIKED]
    assert reason.base_share == 0
    assert 1.2 < reason.lift < 50


def test_active_seeds_over_index_on_being_active_not_on_every_item() -> None:
    some = habits(1.0)
    features = some.features | {
        "frequency": np.where(SEEDS, 5.0, 0.0) + np.arange(USERS) / USERS,
        "type_shares['purchase']": np.ones(USERS),
    }
    found = candidate_reasons(dataclasses.replace(some, features=features), SEEDS)
    assert [(r.field, r.label, r.token) for r in found] == [("trait", "Frequent", "frequency")]
    assert found[0].share == 1.0
    assert found[0].base_share == pytest.approx(0.2, abs=0.01)


def test_without_a_base_or_without_history_there_are_no_reasons() -> None:
    some = habits(3.0)
    assert candidate_reasons(some, np.ones(USERS, dtype=bool)) == []
    empty = dataclasses.replace(some, shares={"item": sparse.csr_matrix((USERS, TOKENS))})
    unknown = {name: np.full(USERS, np.nan) for name in TRAIT_FEATURES}
    assert candidate_reasons(dataclasses.replace(empty, features=unknown), SEEDS) == []


def reason(label: str, field: str, token: str, lift: float = 2.0) -> Reason:
    return Reason(label, token, field, 0, lift, 0.2, 0.1, 0.5)


def test_one_thing_is_told_once() -> None:
    named = [
        reason("Baby", "category_1", "baby", 2.0),
        reason("Diapers", "category_2", "baby > diapers", 3.0),
        reason("Baby things", "category_2", "babything", 1.9),
        reason("Diapers", "item", "17", 2.5),
        reason("Diapers XL", "item", "18", 2.4),
    ]
    labels = [r.label for r in choose_reasons(named)]
    assert labels == ["Diapers", "Diapers XL", "Baby things"]


def test_no_kind_drowns_the_others_and_the_list_is_short() -> None:
    named = [
        reason(f"{field} {n}", field, f"{field} {n}", 5.0 - n / 10)
        for field in ("item", "brand", "category_1", "trait")
        for n in range(10)
    ]
    chosen = choose_reasons(named)
    assert len(chosen) == MOST
    kinds = [r.kind for r in chosen]
    assert max(kinds.count(kind) for kind in kinds) <= MOST_OF_A_KIND
    assert [r.telling for r in chosen] == sorted((r.telling for r in chosen), reverse=True)
    assert choose_reasons(reversed(named)) == chosen


def test_shares_of_events_count_unknown_tokens_in_the_whole() -> None:
    tokens = pa.array([[1, 2, 3], None, [2, 9], []], pa.list_(pa.int32()))
    counts = pa.array([[2.0, 1.0, 1.0], None, [3.0, 1.0], []], pa.list_(pa.float32()))
    shares = event_shares(tokens, counts, 4).toarray()
    np.testing.assert_allclose(shares, [[0, 0, 0.25, 0.25], [0] * 4, [0, 0, 0.75, 0], [0] * 4])


def test_habits_are_decoded_from_a_slice_of_arrow() -> None:
    columns = {
        "tokens_item": pa.array([[3], [2], None], pa.list_(pa.int32())),
        "counts_item": pa.array([[1.0], [1.0], None], pa.list_(pa.float32())),
    }
    columns |= {f"feature_{n}": pa.array([9, 1, None]) for n in range(len(TRAIT_FEATURES))}
    decoded = decode_habits(pa.RecordBatch.from_pydict(columns).slice(1), {"item": 4})
    np.testing.assert_allclose(decoded.shares["item"].toarray(), [[0, 0, 1, 0], [0] * 4])
    np.testing.assert_allclose(decoded.features["monetary"], [1, np.nan])


def test_a_lift_is_shrunk_more_the_less_sure_it_is() -> None:
    log_lift, variance = shrink(np.log([4.0, 4.0]), np.array([1e-9, 1.0]))
    assert np.exp(log_lift[0]) == pytest.approx(4.0)
    assert 1.0 < np.exp(log_lift[1]) < 2.0
    assert variance[0] < variance[1] < 0.25
