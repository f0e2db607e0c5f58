"""The training loop: AdamW, early stopping on held-out users, the best weights kept.

Several processes (``ranks``) run the same loop, each over its own users. A step takes one batch of
each and the gradient of the loss over all their targets: that of one process with the union of the
batches, but for draws and for negatives, which an objective takes from its own batch alone. So N
processes take batches N times as large, and a rank whose users are all read adds none to the last
steps of an epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from kinsight.config import TrainConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch, batches_by_length
from kinsight.encoders.histories import Histories
from kinsight.errors import EnvironmentProblem, IntegrityError, RefusedError
from kinsight.objectives.base import ItemObjective, Objective
from kinsight.objectives.ranking import RANKED_SCORES, reciprocal_ranks
from kinsight.progress import Progress
from kinsight.train.checkpoint import Checkpoints, HeldOut, Learner, State
from kinsight.train.ranks import ALONE, Ranks

WeightedObjectives = Sequence[tuple[float, Objective]]

GRADIENT_NORM = 1.0
"""Longer gradients are cut to this: one odd batch must not throw the weights away."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """How training went; the encoder holds the best weights.

    Attributes:
        held_out: What held-out users gave with those weights.
        best_epoch: The epoch that made them, from 1; 0 for the first weights.
        epochs: Epochs run.
        seconds: Wall time.
        users_per_second: Users of all training epochs over the time spent on them.
    """

    held_out: HeldOut
    best_epoch: int
    epochs: int
    seconds: float
    users_per_second: float


@contextlib.contextmanager
def repeatable(seed: int, threads: int | None) -> Iterator[None]:
    """Seed every generator and fix the number of threads, which decides the order of sums.

    Args:
        seed: For python, numpy and torch.
        threads: Torch threads; all cores by default.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # for what libraries draw from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    torch.use_deterministic_algorithms(True)
    # A debugging aid that comes with it and fills fresh memory with NaN: a sixth of a step's time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch leaves it untyped
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]  # as above


def new_learner(encoder: Encoder, objectives: WeightedObjectives, config: TrainConfig) -> Learner:
    """Encoder and objectives with a fresh optimiser and source of draws."""
    learned = nn.ModuleList([encoder, *(objective for _, objective in objectives)])
    optimiser = torch.optim.AdamW(
        learned.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    return Learner(learned, optimiser, torch.Generator().manual_seed(config.seed))


def is_over(state: State, config: TrainConfig) -> bool:
    """Whether training ends here: all epochs are run, or the last few brought nothing."""
    return state.epoch >= config.epochs or state.epoch - state.best_epoch >= config.patience


def fit(
    encoder: Encoder,
    objectives: WeightedObjectives,
    epoch_batches: Callable[[int], Iterator[Batch]],
    users: int,
    held_out: Histories,
    config: TrainConfig,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    ranks: Ranks = ALONE,
) -> Fit:
    """Train in place; encoder and objectives are left with what did best on held-out users.

    Args:
        encoder: The encoder.
        objectives: Weights and losses; their sum is minimised.
        epoch_batches: Epoch number, from 1, to its batches; those of this rank.
        users: Users an epoch, of all ranks.
        held_out: Histories of users that ``epoch_batches`` leaves out; those of this rank.
        config: Epochs, patience, learning rate, seed.
        progress: Where a person sees it.
        checkpoints: Where each epoch's end is kept, and where an earlier run may have left one:
            then training goes on from there, to the same weights. Rank 0 writes them.
        ranks: The processes that train together.

    Raises:
        RefusedError: If nothing can be predicted for held-out users.
        EnvironmentProblem: If the ranks find different checkpoints.
        IntegrityError: If an epoch did not see every user once.
    """
    learner = new_learner(encoder, objectives, config)
    clock = time.monotonic()
    state = checkpoints.load(learner) if checkpoints else None
    _require_one_checkpoint(state, ranks)
    if state is not None:
        progress.say(f"resuming after epoch {state.epoch} of {config.epochs}")
    else:
        first = on_held_out(encoder, objectives, held_out, config, ranks)
        state = State(0, first, 0, _copy(learner.weights))
    with progress.bar("training", total=users * config.epochs) as bar:
        while not is_over(state, config):
            epoch = state.epoch + 1
            begun = time.monotonic()
            total, steps, before = 0.0, 0, state.seen
            ranks.reseed(config.seed, epoch, learner.draws)
            encoder.train()
            for batch in ranks.in_step(epoch_batches(epoch)):
                loss, taken = _step(learner, encoder, objectives, batch, ranks)
                total, steps = total + loss, steps + 1
                state.seen += taken
                rate = state.seen / (state.training_seconds + time.monotonic() - begun)
                if bar is not None:
                    detail = f"epoch {epoch} of {config.epochs}, loss {total / steps:.3f}"
                    left = (users * config.epochs - state.seen) / rate
                    bar.update(
                        bar.task_ids[0],
                        completed=state.seen,
                        detail=f"{detail}, {rate:,.0f} users/s, at most {left:,.0f} s left",
                    )
            _require_users(state.seen - before, users)
            state.training_seconds += time.monotonic() - begun
            state.epoch = epoch
            found = on_held_out(encoder, objectives, held_out, config, ranks)
            [total] = ranks.sums([total])
            rate = state.seen / state.training_seconds
            left = (users * config.epochs - state.seen) / rate
            progress.say(
                f"epoch {epoch} of {config.epochs}: loss {total / max(1, steps):.4f}, "
                f"held-out {found}, {rate:,.0f} users/s, at most {left:,.0f} s left"
            )
            if found.is_better(state.best):
                state.best, state.best_epoch, state.kept = found, epoch, _copy(learner.weights)
            if checkpoints and ranks.rank == 0:
                checkpoints.save(learner, state)
    return finish(learner, state, encoder, time.monotonic() - clock)


def finish(learner: Learner, state: State, encoder: Encoder, seconds: float) -> Fit:
    """Leave encoder and objectives with the best weights of a training that is over."""
    learner.weights.load_state_dict(state.kept)
    encoder.eval()
    return Fit(
        held_out=state.best,
        best_epoch=state.best_epoch,
        epochs=state.epoch,
        seconds=seconds,
        users_per_second=state.seen / state.training_seconds if state.seen else 0.0,
    )


def _step(
    learner: Learner,
    encoder: Encoder,
    objectives: WeightedObjectives,
    batch: Batch | None,
    ranks: Ranks,
) -> tuple[float, int]:
    """One step of all ranks.

    Returns:
        This rank's part of the loss, whose sum over the ranks is that of all their targets, and
        the users of all ranks.
    """
    weights = list(learner.weights.parameters())
    losses = (
        [one(encoder, batch, learner.draws) for _, one in objectives] if batch is not None else []
    )
    targets = [loss.targets for loss in losses] or [0] * len(objectives)
    users, *counted = ranks.sums([0 if batch is None else len(batch.length), *targets])
    learner.optimiser.zero_grad(set_to_none=True)
    part = 0.0
    if losses:
        loss = torch.stack(
            [
                weight * one.over(int(number))
                for (weight, _), one, number in zip(objectives, losses, counted, strict=True)
            ]
        ).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        part = loss.item()
    ranks.add_gradients(weights)
    torch.nn.utils.clip_grad_norm_(weights, GRADIENT_NORM)
    learner.optimiser.step()
    return part, int(users)


def _require_one_checkpoint(state: State | None, ranks: Ranks) -> None:
    """Refuse to go on from different places.

    Raises:
        EnvironmentProblem: On all ranks.
    """
    epoch = state.epoch if state else 0
    if not ranks.agree(epoch):
        raise EnvironmentProblem(
            "The processes of training do not see the same checkpoints.",
            expected="one folder that all of them reach (tables.artifacts), sound in all of them",
            found=f"epoch {epoch} in process {ranks.rank}, another one elsewhere",
            to_do="put tables.artifacts on a file system that all nodes mount, or begin anew with "
            "`kinsight train --restart`",
        )


def _require_users(seen: int, users: int) -> None:
    """Refuse an epoch that lost a user or took one twice.

    Raises:
        IntegrityError: On all ranks.
    """
    if seen != users:
        raise IntegrityError(
            "An epoch did not train on every user once.",
            expected=f"{users} users",
            found=f"{seen}",
            to_do="run again; if it happens twice, report it",
        )


def on_held_out(
    encoder: Encoder,
    objectives: WeightedObjectives,
    held_out: Histories,
    config: TrainConfig,
    ranks: Ranks = ALONE,
) -> HeldOut:
    """What the held-out users of all ranks give, with the same draws every time.

    Raises:
        RefusedError: If there is nothing to predict.
    """
    encoder.eval()
    value = 0.0
    with torch.inference_mode():
        for weight, objective in objectives:
            draws = torch.Generator().manual_seed(config.seed)
            total, targets = 0.0, 0
            for batch in batches_by_length(held_out, config.batch_tokens):
                loss = objective(encoder, batch, draws)
                total, targets = total + float(loss.total), targets + loss.targets
            total, counted = ranks.sums([total, targets])
            if not counted:
                raise RefusedError(
                    "There is nothing to predict for the held-out users.",
                    expected="held-out users with events at two or more distinct times",
                    found=f"0 of {len(held_out)} held-out users",
                    to_do="raise train.holdout_share, or bring more users",
                )
            value += weight * total / counted
        if config.stop_by == "loss":
            return HeldOut(value)
        return HeldOut(value, _reciprocal_rank(encoder, objectives, held_out, config, ranks))


def _reciprocal_rank(
    encoder: Encoder,
    objectives: WeightedObjectives,
    held_out: Histories,
    config: TrainConfig,
    ranks: Ranks,
) -> float | None:
    """How the weightiest of the objectives that predict items ranks them; None without any."""
    of_items = [(w, one) for w, one in objectives if isinstance(one, ItemObjective)]
    if not of_items:
        return None
    _, ranking = max(of_items, key=lambda pair: pair[0])
    total, times = reciprocal_ranks(
        lambda batch: ranking.scores(encoder, batch),
        len(encoder.item_vectors()),
        held_out,
        config.batch_tokens,
        RANKED_SCORES // ranks.count,
    )
    total, counted = ranks.sums([total, times])
    return total / counted if counted else None


def _copy(learned: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learned.state_dict().items()}
