"""The loss `event_time`: which times are predicted, and that it learns rhythms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError
from kinsight.objectives.event_time import DAY, TIME_UNIT, EventTime
from tests.histories import SIZES, make_objective, random_histories, train

SMALL = {"width": 16, "hidden": 16, "dropout": 0.0}
HOUR, FIVE_DAYS = 3_600.0, 5 * DAY


def rhythms(users: int, seed: int) -> Histories:
    """Users who come about every hour or about every five days; the types of events alternate."""
    rng = np.random.default_rng(seed)
    histories = random_histories([10] * users, seed)
    period = np.where(rng.random(users) < 0.5, HOUR, FIVE_DAYS)
    gaps = period[:, None] * rng.uniform(0.8, 1.2, (users, 10))
    histories.columns["seconds"][:] = 1_500_000_000 + np.cumsum(gaps, axis=1).ravel()
    histories.columns["event_type"][:] = np.tile(2 + np.arange(10) % 2, users)
    return histories


def event_time(encoder: Encoder, histories: Histories, **options: object) -> EventTime:
    objective = make_objective("event_time", encoder, histories, **options)
    assert isinstance(objective, EventTime)
    return objective


def test_rhythms_of_held_out_users_are_more_likely_than_at_any_constant_rate() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = event_time(encoder, rhythms(300, 1))
    train(encoder, objective, rhythms(300, 1), steps=100)
    with torch.inference_mode():
        found = objective.measures(encoder.eval(), rhythms(100, 2), 4_096)
    assert found["event_times"] == 900
    assert found["event_time_log_likelihood"] > found["constant_rate_log_likelihood"] + 2.0


def test_the_floor_is_the_likelihood_of_the_best_constant_rates() -> None:
    histories = rhythms(50, 3)
    encoder = build_encoder("gru", SMALL, SIZES, seed=1).eval()
    with torch.inference_mode():
        found = event_time(encoder, histories).measures(encoder, histories, 4_096)
    gaps = np.diff(histories.columns["seconds"].reshape(50, 10), axis=1)
    days = gaps.sum() / DAY
    first, second = 50 * 4, 50 * 5  # types of the events after each user's first
    rates = np.array([first, second]) / days
    expected = (first * np.log(rates[0]) + second * np.log(rates[1]) - rates.sum() * days) / 450
    assert found["constant_rate_log_likelihood"] == pytest.approx(expected, rel=1e-5)


def test_the_likelihood_is_that_of_a_density_over_times_and_types() -> None:
    # Over all times up to a late one, the density of the next time and the chance of none by then
    # add up to 1, whatever the weights.
    encoder = build_encoder("gru", SMALL, SIZES, seed=1).eval()
    histories = rhythms(1, 4)
    objective = event_time(encoder, histories, samples=400)
    with torch.inference_mode():
        history, _ = objective._history(encoder.read(encoder.encode(Batch.of(histories)))[:, 0])
        s = torch.linspace(1e-4, 3.0, 600)
        gap = TIME_UNIT * s.expm1()
        draws = torch.Generator().manual_seed(1)
        density = torch.zeros(len(s))
        for kind in range(objective.types):
            types = torch.zeros(len(s), objective.types)
            types[:, kind] = 1.0
            many = history.expand(len(s), -1)
            density += objective._log_likelihood(many, gap, types, draws).exp()
        none = torch.zeros(1, objective.types)
        survival = objective._log_likelihood(history, gap[-1:], none, draws).exp()
        total = float(torch.trapezoid(density, s) + survival)
    assert total == pytest.approx(1.0, abs=0.01)


def test_a_basket_is_one_time_with_all_its_types() -> None:
    histories = random_histories([5], 1)
    histories.columns["seconds"][:] = [100, 400, 400, 400, 1_000]
    histories.columns["event_type"][:] = [2, 3, 2, 3, 1]
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = event_time(encoder, rhythms(20, 1))
    _, gap, types = objective._targets(encoder, Batch.of(histories), torch.Generator())
    # The last time bears an unknown type alone and is no target.
    assert gap.tolist() == [300.0]
    assert types.tolist() == [[1.0, 1.0]]


def test_keys_move_to_histories_and_not_histories_to_keys() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    objective = event_time(encoder, rhythms(20, 1))
    vectors = torch.randn(6, encoder.dimension, requires_grad=True)
    _, cosines = objective._history(vectors)
    cosines.sum().backward()
    assert vectors.grad is None
    assert objective.keys.grad is not None


def test_more_prompts_chosen_than_there_are_is_a_configuration_error() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    with pytest.raises(ConfigError, match="greater than"):
        event_time(encoder, rhythms(20, 1), prompts=3)
