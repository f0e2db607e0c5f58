"""From sequences to a trained, measured encoder. No Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch

from kinsight.config import TrainConfig
from kinsight.encoders.base import Encoder, FittedEncoder
from kinsight.encoders.basis import bags_of
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import RefusedError
from kinsight.objectives.base import TrainingSet
from kinsight.objectives.registry import build_objectives, fitted_objectives
from kinsight.progress import Progress
from kinsight.train.checkpoint import Checkpoints
from kinsight.train.earlier import EarlierModel, drift
from kinsight.train.loader import SequenceLoader, Survey
from kinsight.train.loop import Fit, WeightedObjectives, fit, repeatable

Learn = Callable[[Encoder, WeightedObjectives, TrainingSet], Fit]
"""Trains, in this process or in others; leaves encoder and objectives as ``fit`` does."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What training needs of a vocabulary version; its size is bounded by the configuration.

    Attributes:
        version: Its name.
        sizes: Rows of the embedding tables.
        item_frequency: Events with each item index, [items], float64.
        type_frequency: Events of each type index, [types], float64.
        purchase: Index of the event type purchase, where there is one.
    """

    version: str
    sizes: dict[str, int]
    item_frequency: torch.Tensor
    type_frequency: torch.Tensor
    purchase: int | None


@dataclasses.dataclass(frozen=True)
class Trained:
    """An encoder and how it came about; measures without run times are equal on a re-run.

    Attributes:
        encoder: The encoder.
        item_basis: The space that an objective had it place users in, [items, d], if one had.
        users: Users that it learned from; 0 if from none.
        measures: What it is worth.
        times: How long it took.
    """

    encoder: Encoder
    item_basis: torch.Tensor | None
    users: int
    measures: dict[str, float]
    times: dict[str, float]


def train_encoder(
    config: TrainConfig,
    vocabulary: Vocabulary,
    loader: SequenceLoader,
    survey: Survey,
    progress: Progress,
    learn: Learn,
    earlier: EarlierModel | None = None,
) -> Trained:
    """Build an encoder and, if it learns, train it and measure it on held-out users.

    Args:
        config: The choices.
        vocabulary: The tokens that the sequences are written in.
        loader: The sequences.
        survey: What one pass over them found.
        progress: Where a person sees it.
        learn: How an encoder that learns is trained.
        earlier: The model of an earlier date, where there is one.

    Raises:
        RefusedError: If there is too little to learn from.
    """
    with repeatable(config.seed, config.threads):
        encoder = build_encoder(
            config.encoder.name, config.encoder.options, vocabulary.sizes, config.seed
        )
        fitted_on, fitted = 0, {}
        if isinstance(encoder, FittedEncoder):
            _require_users(survey, config)
            sizes = {field: vocabulary.sizes[field] for field in encoder.frozen_fields}
            bags = bags_of(loader.sample(encoder.fitting_users), sizes)
            fitted_on = bags.shape[0]
            with progress.step(f"fitting vectors of tokens on {fitted_on:,} users"):
                before = earlier.frozen_tokens() if earlier and earlier.is_like(config) else None
                fitted = encoder.fit_tokens(bags, config.seed, before)
        if not encoder.learns:
            if fitted:
                fitted |= _drift(encoder.eval(), earlier, survey, config)
            return Trained(encoder.eval(), None, fitted_on, {"epochs": 0.0} | fitted, {})
        _require_users(survey, config)
        if config.warm_start:
            _start_warm(encoder, earlier, config, progress)
        data = TrainingSet(
            item_frequency=vocabulary.item_frequency,
            users=survey.users,
            users_with_order=survey.users_with_order,
            longest=survey.longest,
            batch_tokens=config.batch_tokens,
            type_frequency=vocabulary.type_frequency,
            purchase=vocabulary.purchase,
            sizes=vocabulary.sizes,
        )
        objectives = build_objectives(config.objective, encoder, data)
        measures = _fit_objectives(objectives, loader, progress, earlier)
        found = learn(encoder, objectives, data)
        measures |= fitted | {
            "held_out_loss": found.held_out.loss,
            "epochs": float(found.epochs),
            "best_epoch": float(found.best_epoch),
        }
        if found.held_out.reciprocal_rank is not None:
            measures["held_out_reciprocal_rank"] = found.held_out.reciprocal_rank
        names = [objective.name for objective in config.objective]
        measures |= measure(encoder, objectives, names, survey.held_out, config.batch_tokens)
        measures |= _drift(encoder, earlier, survey, config)
        times = {"seconds": found.seconds, "users_per_second": found.users_per_second}
        spaces = (one.item_basis for one in fitted_objectives(objectives))
        basis = next((space for space in spaces if space is not None), None)
        return Trained(encoder, basis, survey.users, measures, times)


def learn_here(
    config: TrainConfig,
    loader: SequenceLoader,
    survey: Survey,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> Learn:
    """Training in this process.

    Args:
        config: The choices.
        loader: The sequences.
        survey: What one pass over them found.
        progress: Where a person sees it.
        checkpoints: Where the end of each epoch is kept.
    """

    def learn(encoder: Encoder, objectives: WeightedObjectives, data: TrainingSet) -> Fit:
        return fit(
            encoder,
            objectives,
            loader.batches,
            data.users,
            survey.held_out,
            config,
            progress,
            checkpoints,
        )

    return learn


def measure(
    encoder: Encoder,
    objectives: WeightedObjectives,
    names: Sequence[str],
    held_out: Histories,
    tokens: int,
) -> dict[str, float]:
    """The measures of all objectives.

    Where two share a name, that of the later one bears the name of its objective in front.
    """
    found: dict[str, float] = {}
    with torch.inference_mode():
        for name, (_, objective) in zip(names, objectives, strict=True):
            for key, value in objective.measures(encoder, held_out, tokens).items():
                found[f"{name}_{key}" if key in found else key] = value
    return found


def _fit_objectives(
    objectives: WeightedObjectives,
    loader: SequenceLoader,
    progress: Progress,
    earlier: EarlierModel | None,
) -> dict[str, float]:
    """Fit what objectives hold frozen; measures of the fits."""
    measures: dict[str, float] = {}
    before = earlier.basis_of_items() if earlier else None
    for objective in fitted_objectives(objectives):
        with progress.step("fitting what the objective holds frozen"):
            measures |= objective.fit(loader.sample, before)
    return measures


def _start_warm(
    encoder: Encoder, earlier: EarlierModel | None, config: TrainConfig, progress: Progress
) -> None:
    """Begin with the weights of the earlier model, or say why not."""
    if earlier is None:
        progress.say("beginning anew: there is no model of an earlier date")
    elif not earlier.is_like(config):
        progress.say(f"beginning anew: {earlier.version} has another encoder or other options")
    elif earlier.has_seen_held_out(config):
        progress.say(
            f"beginning anew: {earlier.version} learned from users who are held out now, as "
            "train.seed or train.holdout_share changed"
        )
    else:
        earlier.start(encoder)
        progress.say(f"beginning with the weights of {earlier.version}")


def _drift(
    encoder: Encoder, earlier: EarlierModel | None, survey: Survey, config: TrainConfig
) -> dict[str, float]:
    if earlier is None:
        return {}
    return drift(encoder, earlier, survey.held_out, config.batch_tokens)


def _require_users(survey: Survey, config: TrainConfig) -> None:
    trainable = survey.users + len(survey.held_out) + survey.left_out
    other = "or use `train.encoder: {name: random}`, which needs no training"
    if trainable < config.minimum_users:
        raise RefusedError(
            "There are too few users to train an encoder.",
            expected=f"at least {config.minimum_users} users with {config.minimum_length} or more "
            "events (train.minimum_users, train.minimum_length)",
            found=f"{trainable}, and {survey.short} with shorter histories",
            to_do=f"bring more data, lower these settings, {other}",
        )
    if not survey.users or not len(survey.held_out):
        raise RefusedError(
            "The split leaves nobody to train on, or nobody to check on.",
            expected="users on both sides of train.holdout_share",
            found=f"{survey.users} to train on, {len(survey.held_out)} held out",
            to_do=f"change train.holdout_share, {other}",
        )
