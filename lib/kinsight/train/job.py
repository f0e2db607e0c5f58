"""Stage `train`: the sequences of a date to one encoder in table `models`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json

import numpy as np
import torch
from pyspark.sql import functions as F

from kinsight.config import TrainConfig
from kinsight.dates import AsOf
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.base import Encoder
from kinsight.encoders.registry import build_encoder, encoder_options, encoder_type
from kinsight.errors import ConfigError, EnvironmentProblem, RefusedError
from kinsight.models import Model, list_models, model_folder
from kinsight.objectives.base import TrainingSet
from kinsight.objectives.registry import build_objectives, objective_options
from kinsight.progress import Progress
from kinsight.runs import StageRun, StageSummary
from kinsight.tables import KeyValue, key_predicate, table_schema
from kinsight.train.loader import SequenceLoader, Survey
from kinsight.train.loop import fit, repeatable
from kinsight.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What training needs of a vocabulary version; its size is bounded by the configuration.

    Attributes:
        version: Its name.
        sizes: Rows of the embedding tables.
        item_frequency: Events with each item index, [items], float64.
    """

    version: str
    sizes: dict[str, int]
    item_frequency: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Trained:
    """An encoder and how it came about; measures without run times are equal on a re-run."""

    encoder: Encoder
    measures: dict[str, float]
    times: dict[str, float]


def run_train(workspace: Workspace, as_of: AsOf, *, latest_input: bool = False) -> StageSummary:
    """Train one encoder on the sequences of a date and publish it in `models`.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date whose sequences are learned from.
        latest_input: Read the newest sequences of the date even if an earlier run read others.

    Raises:
        ConfigError: If the encoder, an objective or the artifact root is wrong.
        RefusedError: If there are no sequences, or too few to learn from.
        IntegrityError: If the files hold other rows than their footers say.
    """
    config = workspace.config.train
    options = _check(config)
    model_folder(workspace.config.tables, "any")  # refuses a root that cannot be written
    with workspace.run("train", as_of, config, latest_input) as run:
        published = run.require("sequences", as_of=as_of.date, made_by="sequence")
        name = published.record.producer["vocabulary_version"][0]
        with run.step("reading the vocabulary"):
            vocabulary = read_vocabulary(run, name)
        key: dict[str, KeyValue] = {"as_of": as_of.date, "vocabulary_version": name}
        pinned = run.earlier_version("sequences", {"vocabulary_version": name})
        sequences = run.read("sequences", published.version if pinned is None else pinned)
        loader = SequenceLoader(
            sequences.where(key_predicate(key)).inputFiles(),
            config.minimum_length,
            config.holdout_share,
            config.seed,
            config.batch_tokens,
        )
        with run.step(f"counting {loader.rows:,} sequences"):
            survey = loader.survey()
        run.counts |= {
            "sequences_read": loader.rows,
            "users_trained": survey.users,
            "users_held_out": len(survey.held_out),
            "users_too_short": survey.short,
        }
        trained = train_encoder(config, vocabulary, loader, survey, workspace.progress)
        artifact = Artifact.of(
            trained.encoder, config.encoder.name, options, name, vocabulary.sizes
        )
        version = _model_version(config, as_of, artifact)
        folder = model_folder(workspace.config.tables, version)
        try:
            artifact.write(folder)
        except OSError as error:
            raise EnvironmentProblem(
                "The model's files cannot be written.",
                expected=f"a folder {folder}",
                found=str(error),
                to_do="give the right to write there, or set tables.artifacts",
            ) from None
        learns = trained.encoder.learns
        row = {
            "model_version": version,
            "as_of": as_of.date,
            "encoder": config.encoder.name,
            "objective": _objective_names(config) if learns else "none",
            "config": json.dumps(config.model_dump(mode="json"), sort_keys=True),
            "config_hash": config.stable_hash(),
            "vocabulary_version": name,
            "dimension": artifact.dimension,
            "parameters": sum(p.numel() for p in trained.encoder.parameters()),
            "users_trained": survey.users if learns else 0,
            "users_held_out": len(survey.held_out),
            "training_table_version": run.inputs["sequences"],
            "metrics": trained.measures,
            "artifact_path": str(folder),
            "sha256": artifact.sha256,
            "status": "ready",
            "created_at": dt.datetime.now(dt.timezone.utc),
            "run_id": run.run_id,
        }
        schema = table_schema("models")
        values = [tuple(row[column] for column in schema.names)]
        run.write(
            "models", workspace.spark.createDataFrame(values, schema), {"model_version": version}
        )
        run.producer = {"model_version": [version], "vocabulary_version": [name]}
        run.metrics |= trained.measures | trained.times
        _warn_if_weak(run)
        return run.summary()


def usable_model(workspace: Workspace, as_of: AsOf) -> Model | None:
    """The model that a date can use, or None where training is due.

    Returns:
        The newest model of the date, if it is younger than ``train.refresh_after_days`` and was
        trained with the present settings.
    """
    config = workspace.config.train
    model = newest_model(workspace, as_of)
    if model is None or model.config_hash != config.stable_hash():
        return None
    return model if (as_of.date - model.as_of).days < config.refresh_after_days else None


def newest_model(workspace: Workspace, as_of: AsOf) -> Model | None:
    """The newest ready model with an as-of not later than the date."""
    published = workspace.log.newest("models", not_after=as_of.date)
    if published is None:
        return None
    models = list_models(workspace.tables.read("models", published.version))
    usable = (m for m in models if m.status == "ready" and m.as_of <= as_of.date)
    return next(usable, None)


def train_encoder(
    config: TrainConfig,
    vocabulary: Vocabulary,
    loader: SequenceLoader,
    survey: Survey,
    progress: Progress,
) -> Trained:
    """Build an encoder and, if it learns, train it and measure it on held-out users.

    Raises:
        RefusedError: If there is too little to learn from.
    """
    with repeatable(config.seed, config.threads):
        encoder = build_encoder(
            config.encoder.name, config.encoder.options, vocabulary.sizes, config.seed
        )
        if not encoder.learns:
            return Trained(encoder, {"epochs": 0.0}, {})
        _require_users(survey, config)
        data = TrainingSet(vocabulary.item_frequency, survey.users, survey.users_with_order)
        objectives = build_objectives(config.objective, encoder, data)
        found = fit(
            encoder, objectives, loader.batches, survey.users, survey.held_out, config, progress
        )
        measures = {
            "held_out_loss": found.held_out_loss,
            "epochs": float(found.epochs),
            "best_epoch": float(found.best_epoch),
        }
        with torch.inference_mode():
            for _, objective in objectives:
                measures |= objective.measures(encoder, survey.held_out, config.batch_tokens)
        times = {"seconds": found.seconds, "users_per_second": found.users_per_second}
        return Trained(encoder, measures, times)


def read_vocabulary(run: StageRun, version: str) -> Vocabulary:
    """Sizes and item frequencies of a vocabulary version."""
    key = {"vocabulary_version": version}
    published = run.require("vocabularies", producer=key, made_by="sequence")
    tokens = run.read(published).where(key_predicate(key))
    # Whatever category level the sequences carry, the widest table holds it.
    field = F.when(F.col("field").startswith("category_"), "category").otherwise(F.col("field"))
    largest = tokens.groupBy(field.alias("field")).agg(F.max("index").alias("largest")).collect()
    found = {row["field"]: row["largest"] + 1 for row in largest}
    fields = ("item", "event_type", "category", "brand", "price")
    sizes = {name: found.get(name, 2) for name in fields}
    items = tokens.where("field = 'item'").select("index", "frequency").toPandas()
    frequency = np.zeros(sizes["item"])
    frequency[items["index"].to_numpy()] = items["frequency"].to_numpy()
    return Vocabulary(version, sizes, torch.from_numpy(frequency))


def _check(config: TrainConfig) -> dict[str, object]:
    """The encoder's options with its defaults; names and options are checked before any work."""
    options = encoder_options(config.encoder.name, config.encoder.options)
    if encoder_type(config.encoder.name).learns and not config.objective:
        raise ConfigError(
            "Nothing says what the encoder is trained for.",
            expected="at least one entry in train.objective",
            found="an empty list",
            to_do="add `objective: [{name: next_item}]`, or use `encoder: {name: random}`",
        )
    for objective in config.objective:
        objective_options(objective)
    return options.model_dump(mode="json")


def _require_users(survey: Survey, config: TrainConfig) -> None:
    trainable = survey.users + len(survey.held_out)
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


def _model_version(config: TrainConfig, as_of: AsOf, artifact: Artifact) -> str:
    """A name that rests on the content alone, so that a re-run gives the same one."""
    content = f"{config.stable_hash()}:{artifact.vocabulary_version}:{artifact.sha256}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return f"{config.encoder.name}-{as_of.date.isoformat()}-{digest}"


def _objective_names(config: TrainConfig) -> str:
    return ", ".join(f"{o.name} x {o.weight:g}" for o in config.objective)


def _warn_if_weak(run: StageRun) -> None:
    found, floor = run.metrics.get("hit_rate_10"), run.metrics.get("popularity_hit_rate_10")
    if found is not None and floor is not None and found <= floor:
        run.warn(
            f"the encoder finds next items no better than popularity does: hit rate at 10 "
            f"{found:.3f} against {floor:.3f} on held-out users"
        )
