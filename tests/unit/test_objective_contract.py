"""What every objective promises, with every kind of encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kinsight.encoders.base import Encoder, EventReader
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.objectives.base import FittedObjective
from kinsight.objectives.registry import OBJECTIVES
from tests.histories import SIZES, make_objective, random_histories

ENCODERS = {
    "causal": ("transformer", {}),
    "bidirectional": ("transformer", {"causal": False, "pooling": "cls"}),
    "gru": ("gru", {"hidden": 12}),
    "several interests": ("multi_interest", {"interests": 3}),
}
LATER = (
    "autoencode_frozen_basis",
    "event_time",
    "history_effect",
    "multi_task",
    "next_item",
    "type_then_item",
)
"""Objectives whose targets stand at the next time or at a later one."""


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    name, options = ENCODERS[request.param]
    return build_encoder(name, {"width": 8, "dropout": 0.1} | options, SIZES, seed=3)


@pytest.fixture(scope="module")
def histories() -> Histories:
    lengths = np.random.default_rng(4).integers(3, 16, 60).tolist()
    return random_histories(lengths, 5)


def loss_of(
    name: str, encoder: Encoder, histories: Histories, batch: Batch, seed: int = 1
) -> Tensor:
    torch.manual_seed(7)  # dropout, and the first weights of the objective
    objective = make_objective(name, encoder, histories)
    encoder.train()
    loss = objective(encoder, batch, torch.Generator().manual_seed(seed))
    assert loss.targets > 0
    return loss.mean


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients_are_finite_and_reach_the_encoder(
    name: str, encoder: Encoder, histories: Histories
) -> None:
    batch = Batch.of(histories.take(np.arange(12)))
    loss = loss_of(name, encoder, histories, batch)
    loss.backward()
    assert torch.isfinite(loss)
    reached = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in reached)
    assert any(gradient.any() for gradient in reached)
    assert len(reached) == len(list(encoder.parameters()))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_equal_draws_give_equal_losses(name: str, encoder: Encoder, histories: Histories) -> None:
    batch = Batch.of(histories.take(np.arange(12)))
    first, again = (loss_of(name, encoder, histories, batch) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_users_of_one_time_and_single_users_are_no_mistake(
    name: str, encoder: Encoder, histories: Histories
) -> None:
    objective = make_objective(name, encoder, histories)
    at_once = random_histories([1, 3], 6)
    at_once.columns["seconds"][:] = 1_500_000_000
    loss = objective(encoder, Batch.of(at_once), torch.Generator().manual_seed(1))
    assert torch.isfinite(loss.total)
    loss.mean.backward()
    with torch.inference_mode():
        found = objective.measures(encoder.eval(), at_once.take(np.array([0])), 64)
    assert found == {}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_measures_are_finite_and_equal_when_taken_again(
    name: str, encoder: Encoder, histories: Histories
) -> None:
    objective = make_objective(name, encoder, histories)
    with torch.inference_mode():
        found, again = (objective.measures(encoder.eval(), histories, 128) for _ in range(2))
    assert found == again
    assert found
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("name", LATER)
def test_nothing_at_or_after_the_target_is_seen(name: str, encoder: Encoder) -> None:
    # Each user has two times, so what is predicted stands at the second, whatever is drawn.
    histories = two_times(40)
    batch = Batch.of(histories)
    seen: list[Tensor] = []

    def keep(_module: EventInput, _batch: tuple[Batch], vectors: Tensor) -> None:
        vectors.retain_grad()
        seen.append(vectors)

    assert isinstance(encoder.input, EventInput)
    encoder.input.register_forward_hook(keep)
    loss_of(name, encoder, histories, batch).backward()
    gradient = torch.stack([vectors.grad for vectors in seen]).abs().sum((0, 3))
    assert (gradient[(batch.group == 0) & batch.present] > 0).any()
    assert not gradient[(batch.group == 1) & batch.present].any()


@pytest.mark.parametrize("name", LATER)
def test_a_signal_of_the_future_alone_teaches_nothing(name: str, encoder: Encoder) -> None:
    """The vectors that predict are those of histories that end before their targets."""
    histories = two_times(40)
    later = histories.columns["seconds"] > histories.columns["seconds"].min()
    told = {field: values.copy() for field, values in histories.columns.items()}
    for field in ("item", "event_type", "category", "brand", "price"):
        told[field][later] = 2 + told[field][later] % 2
    encoder.eval()
    before, after = (
        predicting(name, encoder, histories, Histories(c, histories.length))
        for c in (histories.columns, told)
    )
    assert len(before) == len(after) > 0
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def predicting(
    name: str, encoder: Encoder, fit_on: Histories, histories: Histories
) -> list[Tensor]:
    """The vectors of first times that a loss reads, one tensor a call of the encoder."""
    objective = make_objective(name, encoder, fit_on)
    batch = Batch.of(histories)
    read: list[Tensor] = []
    kind = type(encoder)
    whole = kind.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "read", lambda e, s: read.append(v := whole(e, s)) or v)
        if issubclass(kind, EventReader):
            at_events = kind.read_at_events
            patch.setattr(
                kind,
                "read_at_events",
                lambda e, s: read.append((v := at_events(e, s))[s.batch.group == 0]) or v,
            )
        with torch.inference_mode():
            objective(encoder, batch, torch.Generator().manual_seed(1))
    return read


def two_times(users: int) -> Histories:
    """Users with some events at a first time and some at a second."""
    histories = random_histories([5] * users, 8)
    first = np.tile(np.arange(5) < 3, users)
    histories.columns["seconds"][:] = np.where(first, 1_500_000_000, 1_500_090_000)
    return histories


@pytest.mark.parametrize(
    "name", [name for name, kind in OBJECTIVES.items() if issubclass(kind, FittedObjective)]
)
def test_what_is_fitted_is_handed_on_whole(
    name: str, encoder: Encoder, histories: Histories
) -> None:
    batch = Batch.of(histories.take(np.arange(12)))
    made, fresh = (make_objective(name, encoder, histories) for _ in range(2))
    assert isinstance(made, FittedObjective)
    assert isinstance(fresh, FittedObjective)
    fresh.fit(lambda _: [histories.take(np.arange(0, len(histories), 2))])
    fresh.take_over(made.state_dict())
    fresh.load_state_dict(made.state_dict())
    with torch.inference_mode():
        one, again = (
            o(encoder.eval(), batch, torch.Generator().manual_seed(2)).mean for o in (made, fresh)
        )
    assert torch.equal(one, again)
