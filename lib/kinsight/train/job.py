"""Stage `train`: the sequences of a date to one encoder in table `models`."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from contextlib import ExitStack
from functools import partial

import torch

import kinsight
from kinsight.config import TrainConfig
from kinsight.dates import AsOf
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.registry import encoder_type
from kinsight.errors import EnvironmentProblem
from kinsight.models import Model, list_models, model_folder
from kinsight.objectives.registry import check_choices
from kinsight.runs import StageRun, StageSummary, category_learned, category_of
from kinsight.tables import KeyValue, key_predicate, table_schema
from kinsight.train.checkpoint import FOLDER, Checkpoints
from kinsight.train.distributed import Distributed
from kinsight.train.fetching import local_files
from kinsight.train.loader import SequenceLoader
from kinsight.train.reading import read_earlier_model, read_vocabulary
from kinsight.train.training import Trained, learn_here, train_encoder
from kinsight.workspace import Workspace


def run_train(
    workspace: Workspace, as_of: AsOf, *, latest_input: bool = False, restart: bool = False
) -> StageSummary:
    """Train one encoder on the sequences of a date and publish it in `models`.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date whose sequences are learned from.
        latest_input: Begin with the newest earlier model even if an earlier run took another.
        restart: Begin anew even where a run that did not end left a checkpoint.

    Raises:
        ConfigError: If the encoder, an objective or the artifact root is wrong, or the session has
            no room for the processes.
        RefusedError: If there are no sequences, or too few to learn from.
        IntegrityError: If the files hold other rows than their footers say.
        EnvironmentProblem: If a process of training ended before its time, or has no room.
    """
    config = workspace.config.train
    options = check_choices(config).model_dump(mode="json")
    # Refuses a root that cannot be written.
    root = model_folder(workspace.config.tables, FOLDER)
    with workspace.run("train", as_of, config, latest_input) as run, ExitStack() as scratch:
        published = run.require("sequences", as_of=as_of.date, made_by="sequence")
        name = published.record.producer["vocabulary_version"][0]
        category = category_of(published.record)
        with run.step("reading the vocabulary and the earlier model"):
            vocabulary = read_vocabulary(run, name)
            earlier = read_earlier_model(run, workspace.config.tables, as_of, vocabulary, category)
        key: dict[str, KeyValue] = {"as_of": as_of.date, "vocabulary_version": name}
        with run.step("finding the files"):
            files = run.read(published).where(key_predicate(key)).inputFiles()
            several = _several_processes(workspace)
            if several is not None:
                several.require_shared(files)
            files = scratch.enter_context(local_files(workspace.spark, files))
        loader = SequenceLoader.of(files, config)
        with run.step(f"counting {loader.rows:,} sequences"):
            survey = loader.survey()
        run.counts |= {
            "sequences_read": loader.rows,
            "users_trained": survey.users,
            "users_held_out": len(survey.held_out),
            "users_too_short": survey.short,
            "users_left_out": survey.left_out,
        }
        threads = several.threads if several is not None else None
        start = earlier.version if config.warm_start and earlier is not None else None
        identity = training_identity(config, as_of, name, survey.fingerprint, threads, start)
        checkpoints = Checkpoints(root, identity, workspace.progress)
        if restart:
            checkpoints.remove()
        learn = learn_here(config, loader, survey, workspace.progress, checkpoints)
        if several is not None:
            learn = partial(
                several.train,
                sizes=vocabulary.sizes,
                rows=loader.rows,
                files=files,
                checkpoints=checkpoints,
            )
        trained = train_encoder(
            config, vocabulary, loader, survey, workspace.progress, learn, earlier
        )
        artifact = Artifact.of(
            trained.encoder,
            config.encoder.name,
            options,
            name,
            vocabulary.sizes,
            trained.item_basis,
        )
        version = _publish(run, workspace, as_of, artifact, trained, len(survey.held_out))
        run.producer = {
            "model_version": [version],
            "vocabulary_version": [name],
            "category_level": [category],
        }
        run.metrics |= trained.measures | trained.times
        _warn_if_weak(run)
        summary = run.summary()
    # Only now is the run in the log; killed before, it is trained no second time.
    checkpoints.remove()
    return summary


def _publish(
    run: StageRun,
    workspace: Workspace,
    as_of: AsOf,
    artifact: Artifact,
    trained: Trained,
    held_out: int,
) -> str:
    """Write the model's files and its row in `models`; its version.

    Raises:
        EnvironmentProblem: If the files cannot be written.
    """
    config = workspace.config.train
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
        "vocabulary_version": artifact.vocabulary_version,
        "dimension": artifact.dimension,
        "parameters": sum(p.numel() for p in trained.encoder.parameters()),
        "users_trained": trained.users,
        "users_held_out": held_out,
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
    run.write("models", workspace.spark.createDataFrame(values, schema), {"model_version": version})
    return version


def _several_processes(workspace: Workspace) -> Distributed | None:
    """The processes to train in; None where the driver does what there is to do.

    Raises:
        ConfigError: If the session has no room for them.
    """
    config = workspace.config.train
    if config.processes == 1 or not config.epochs or not encoder_type(config.encoder.name).learns:
        return None
    return Distributed.plan(workspace.spark, config, workspace.progress)


def usable_model(workspace: Workspace, as_of: AsOf) -> Model | None:
    """The model that a date can use, or None where training is due.

    Returns:
        The newest model of the date, if it is younger than ``train.refresh_after_days`` and was
        trained with the present settings.
    """
    model = newest_model(workspace, as_of)
    if model is None or not has_present_settings(workspace, model):
        return None
    days = (as_of.date - model.as_of).days
    return model if days < workspace.config.train.refresh_after_days else None


def has_present_settings(workspace: Workspace, model: Model) -> bool:
    """Whether a model was trained as `train` says, on categories as `sequence` writes them."""
    if model.config_hash != workspace.config.train.stable_hash():
        return False
    category = category_learned(workspace.log.records(), model.model_version)
    return category in (None, workspace.config.sequence.category_of_sequences)


def newest_model(workspace: Workspace, as_of: AsOf) -> Model | None:
    """The newest ready model with an as-of not later than the date."""
    published = workspace.log.newest("models", not_after=as_of.date)
    if published is None:
        return None
    models = list_models(workspace.tables.read("models", published.version))
    usable = (m for m in models if m.status == "ready" and m.as_of <= as_of.date)
    return next(usable, None)


def training_identity(
    config: TrainConfig,
    as_of: AsOf,
    vocabulary_version: str,
    fingerprint: str,
    threads: int | None = None,
    start: str | None = None,
) -> dict[str, str]:
    """Everything that decides the weights: a checkpoint of another training is never taken up.

    Threads are among it, for their number decides the order of sums. The sequences stand by their
    content and not by their Delta version: what `kinsight run` writes again after it was killed has
    another version and the same rows.

    Args:
        config: The choices.
        as_of: The date.
        vocabulary_version: The tokens of the sequences.
        fingerprint: Digest of the sequences.
        threads: Torch threads of each of several processes.
        start: The model whose weights it begins with.
    """
    return {
        "config_hash": config.stable_hash(),
        "as_of": as_of.date.isoformat(),
        "vocabulary_version": vocabulary_version,
        "sequences": fingerprint,
        "threads": str(threads or config.threads or os.cpu_count() or 1),
        "kinsight": kinsight.__version__,
        "torch": torch.__version__,
        **({} if start is None else {"start": start}),
    }


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
