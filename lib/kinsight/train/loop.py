"""The training loop: AdamW, early stopping on held-out users, the best weights kept."""

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
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories, cut_by_tokens
from kinsight.errors import RefusedError
from kinsight.objectives.base import Objective
from kinsight.progress import Progress
from kinsight.train.checkpoint import Checkpoints, Learner, State

WeightedObjectives = Sequence[tuple[float, Objective]]

GRADIENT_NORM = 1.0
"""Longer gradients are cut to this: one odd batch must not throw the weights away."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """How training went; the encoder holds the best weights.

    Attributes:
        held_out_loss: Weighted loss on held-out users with those weights.
        best_epoch: The epoch that made them, from 1; 0 for the first weights.
        epochs: Epochs run.
        seconds: Wall time.
        users_per_second: Users of all training epochs over the time spent on them.
    """

    held_out_loss: float
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


def fit(
    encoder: Encoder,
    objectives: WeightedObjectives,
    epoch_batches: Callable[[int], Iterator[Batch]],
    users: int,
    held_out: Histories,
    config: TrainConfig,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> Fit:
    """Train in place; encoder and objectives are left with what did best on held-out users.

    Args:
        encoder: The encoder.
        objectives: Weights and losses; their sum is minimised.
        epoch_batches: Epoch number, from 1, to its batches.
        users: Users an epoch, for the progress bar.
        held_out: Histories of users that ``epoch_batches`` leaves out.
        config: Epochs, patience, learning rate, seed.
        progress: Where a person sees it.
        checkpoints: Where each epoch's end is kept, and where an earlier run may have left one:
            then training goes on from there, to the same weights.

    Raises:
        RefusedError: If nothing can be predicted for held-out users, or the loss is never finite.
    """
    learned = nn.ModuleList([encoder, *(objective for _, objective in objectives)])
    weights = list(learned.parameters())
    optimiser = torch.optim.AdamW(
        weights, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    draws = torch.Generator().manual_seed(config.seed)
    learner = Learner(learned, optimiser, draws)
    clock = time.monotonic()
    state = checkpoints.load(learner) if checkpoints else None
    if state is not None:
        progress.say(f"resuming after epoch {state.epoch} of {config.epochs}")
    else:
        state = State(0, held_out_loss(encoder, objectives, held_out, config), 0, _copy(learned))
    with progress.bar("training", total=users * config.epochs) as bar:
        while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
            epoch = state.epoch + 1
            begun = time.monotonic()
            total, steps = 0.0, 0
            encoder.train()
            for batch in epoch_batches(epoch):
                loss = torch.stack(
                    [weight * one(encoder, batch, draws).mean for weight, one in objectives]
                ).sum()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                torch.nn.utils.clip_grad_norm_(weights, GRADIENT_NORM)
                optimiser.step()
                total, steps = total + loss.item(), steps + 1
                state.seen += len(batch.length)
                rate = state.seen / (state.training_seconds + time.monotonic() - begun)
                if bar is not None:
                    detail = f"epoch {epoch} of {config.epochs}, loss {total / steps:.3f}"
                    left = (users * config.epochs - state.seen) / rate
                    bar.update(
                        bar.task_ids[0],
                        completed=state.seen,
                        detail=f"{detail}, {rate:,.0f} users/s, at most {left:,.0f} s left",
                    )
            state.training_seconds += time.monotonic() - begun
            state.epoch = epoch
            found = held_out_loss(encoder, objectives, held_out, config)
            rate = state.seen / state.training_seconds
            left = (users * config.epochs - state.seen) / rate
            progress.say(
                f"epoch {epoch} of {config.epochs}: loss {total / max(1, steps):.4f}, "
                f"held-out {found:.4f}, {rate:,.0f} users/s, at most {left:,.0f} s left"
            )
            if found < state.best:  # false where the loss is no number
                state.best, state.best_epoch, state.kept = found, epoch, _copy(learned)
            if checkpoints:
                checkpoints.save(learner, state)
    learned.load_state_dict(state.kept)
    encoder.eval()
    return Fit(
        held_out_loss=state.best,
        best_epoch=state.best_epoch,
        epochs=state.epoch,
        seconds=time.monotonic() - clock,
        users_per_second=state.seen / state.training_seconds if state.seen else 0.0,
    )


def held_out_loss(
    encoder: Encoder, objectives: WeightedObjectives, held_out: Histories, config: TrainConfig
) -> float:
    """The weighted loss on held-out users, with the same random draws every time.

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
            if not targets:
                raise RefusedError(
                    "There is nothing to predict for the held-out users.",
                    expected="held-out users with events at two or more distinct times",
                    found=f"0 of {len(held_out)} held-out users",
                    to_do="raise train.holdout_share, or bring more users",
                )
            value += weight * total / targets
    return value


def batches_by_length(histories: Histories, tokens: int) -> Iterator[Batch]:
    """All users in batches of similar lengths, shortest first."""
    ordered = histories.take(np.argsort(histories.length, kind="stable"))
    for part in cut_by_tokens(ordered.length, tokens):
        yield Batch.of(ordered.take(np.arange(part.start, part.stop)))


def _copy(learned: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learned.state_dict().items()}
