"""The loss `masked_item`: what is hidden, and that it learns what goes together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.objectives.masked_item import SHOWN_BY, without_items
from kinsight.objectives.subsets import keep_events, random_times, take_users, with_order
from tests.histories import SIZES, from_items, make_objective, random_histories, train

SMALL = {"width": 16, "dropout": 0.0, "fields": ["item"]}


def pairs(users: int, seed: int) -> Histories:
    """Whoever meets item i meets item i + 14 too, on some other day before or after it."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(users):
        own = 2 + rng.choice(14, 4, replace=False)
        days = rng.permutation(8).tolist()
        events = [*own.tolist(), *(own + 14).tolist()]
        rows.append(sorted(zip(events, days, strict=True), key=lambda event: event[1]))
    return from_items(rows)


@pytest.mark.parametrize("options", [{"causal": False}, {"causal": False, "pooling": "cls"}])
def test_what_goes_together_is_found_from_both_sides(options: dict[str, object]) -> None:
    encoder = build_encoder("transformer", SMALL | options, SIZES, seed=1)
    objective = make_objective("masked_item", encoder, pairs(400, 1))
    train(encoder, objective, pairs(400, 1), steps=120)
    with torch.inference_mode():
        found = objective.measures(encoder.eval(), pairs(100, 2), 4_096)
    assert found["masked_events"] == 200
    assert found["masked_hit_rate_10"] > 0.8
    assert found["masked_popularity_hit_rate_10"] < 0.5


def test_a_hidden_time_shows_none_of_its_events() -> None:
    batch = Batch.of(random_histories([9, 14, 5], 2))
    batch = take_users(batch, with_order(batch))
    hidden = random_times(batch, torch.full((len(batch.length),), 0.4), torch.Generator())
    shown = without_items(batch, hidden)
    for name in SHOWN_BY:
        assert (getattr(shown, name)[hidden] == UNKNOWN).all()
        assert torch.equal(getattr(shown, name)[~hidden], getattr(batch, name)[~hidden])
    for user in range(len(batch.length)):
        inside = set(batch.group[user][hidden[user]].tolist())
        outside = set(batch.group[user][batch.present[user] & ~hidden[user]].tolist())
        assert inside
        assert outside
        assert not inside & outside


def test_the_loss_does_not_hang_on_how_hidden_events_look() -> None:
    # All of a user's second time is hidden or all of her first; the targets' items are the only
    # thing that may change the loss, and here they stay.
    histories = random_histories([4] * 20, 3)
    first = np.tile(np.arange(4) < 2, 20)
    histories.columns["seconds"][:] = np.where(first, 0, 90_000)
    changed = {name: values.copy() for name, values in histories.columns.items()}
    encoder = build_encoder("transformer", {"width": 8, "causal": False}, SIZES, seed=1).eval()
    objective = make_objective("masked_item", encoder, histories)
    draws = torch.Generator().manual_seed(1)
    batch = Batch.of(histories)
    hidden = random_times(batch, torch.full((20,), 0.2), draws).numpy().reshape(-1)
    for name in ("category", "brand", "price"):
        changed[name][hidden] = 2
    with torch.inference_mode():
        one, other = (
            objective(encoder, Batch.of(h), torch.Generator().manual_seed(1)).mean
            for h in (histories, Histories(changed, histories.length))
        )
    assert torch.equal(one, other)


def test_events_that_leave_are_gone_and_the_others_keep_their_order() -> None:
    batch = Batch.of(from_items([[(3, 1), (4, 1), (5, 2), (6, 4)], [(7, 1), (8, 2)]]))
    keep = torch.tensor([[False, False, True, True], [True, False, False, False]])
    kept = keep_events(batch, keep)
    assert kept.length.tolist() == [2, 1]
    assert kept.item[0].tolist() == [5, 6]
    assert int(kept.item[1, 0]) == 7


def test_about_the_share_of_times_is_drawn_and_never_all_or_none() -> None:
    batch = Batch.of(random_histories([40] * 50, 4))
    for share in (0.01, 0.3, 1.0):
        taken = random_times(batch, torch.full((50,), share), torch.Generator().manual_seed(1))
        times = batch.group[:, -1] + 1
        drawn = torch.tensor([len(batch.group[u][taken[u]].unique()) for u in range(50)])
        assert torch.equal(drawn, (share * times).round().long().clamp(min=1).minimum(times - 1))
