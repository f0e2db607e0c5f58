"""Stage `embed`: the sequences of a date and a model to table `embeddings`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from kinsight.dates import AsOf
from kinsight.embed.inference import INPUT_COLUMNS, NOT_FINITE, OUTPUT_SCHEMA, encode_batches
from kinsight.encoders.artifact import TRAIN_AGAIN, Artifact, read_artifact
from kinsight.errors import IntegrityError, RefusedError
from kinsight.models import Model, list_models, model_folder
from kinsight.runs import Publication, StageRun, StageSummary
from kinsight.spread import rows_by_task, spread
from kinsight.tables import KeyValue, key_predicate
from kinsight.workspace import Workspace


def run_embed(workspace: Workspace, as_of: AsOf, *, latest_input: bool = False) -> StageSummary:
    """Encode the sequences of a date with a model.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date.
        latest_input: Read the newest model and sequences even if an earlier run read others.

    Raises:
        RefusedError: If there is no model or no sequences that fit each other and the date.
        IntegrityError: If the model's files are not what was trained, or a vector is no number.
    """
    config = workspace.config.embed
    with workspace.run("embed", as_of, config, latest_input) as run:
        model = choose_model(run, as_of, config.model_version)
        artifact = read_model(workspace, model)
        sequences = fitting_sequences(run, as_of, model)
        version = model.model_version
        pinned = run.earlier_version("sequences", {"model_version": version})
        key: dict[str, KeyValue] = {
            "as_of": as_of.date,
            "vocabulary_version": model.vocabulary_version,
        }
        rows = run.read("sequences", sequences.version if pinned is None else pinned)
        rows = rows.where(key_predicate(key)).select(*INPUT_COLUMNS)
        shipped = workspace.spark.sparkContext.broadcast(artifact)
        tokens = config.batch_tokens

        def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return encode_batches(batches, shipped.value, tokens)

        with run.step(f"encoding with {version}"):
            [by_task] = rows_by_task(rows)
            users = sum(by_task)
            spread_rows = spread(rows, "user_id", by_task)
            try:
                written = run.write(
                    "embeddings",
                    spread_rows.mapInArrow(encode, from_arrow_schema(OUTPUT_SCHEMA)),
                    {"as_of": as_of.date, "model_version": version},
                )
            except Exception as error:
                # Python errors of executors reach the driver as text inside Spark's own.
                if NOT_FINITE not in str(error):
                    raise
                raise IntegrityError(
                    "Some users' vectors are no numbers; nothing was written.",
                    expected="finite vectors",
                    found=f"NaN or infinity from model {version}",
                    to_do=TRAIN_AGAIN,
                ) from None
            finally:
                shipped.unpersist()
        expected = users * artifact.interests
        if written.rows != expected:
            raise IntegrityError(
                "Some users have no vector, or more than they should.",
                expected=f"{expected} rows, {artifact.interests} a user of table sequences",
                found=f"{written.rows} rows in table embeddings",
                to_do="run again; if it happens twice, report it",
            )
        run.counts["sequences_read"] = users
        run.producer = {"model_version": [version]}
        return run.summary()


def choose_model(run: StageRun, as_of: AsOf, wanted: str | None) -> Model:
    """The model asked for, or the newest ready one whose as-of is not later than the date.

    Raises:
        RefusedError: If there is none, or the one asked for knows what came after the date.
    """
    if wanted is None:
        published = run.require("models", not_after=as_of.date, made_by="train")
    else:
        published = run.require("models", producer={"model_version": wanted}, made_by="train")
    models = list_models(run.read(published))
    if wanted is None:
        models = [m for m in models if m.status == "ready" and m.as_of <= as_of.date]
    else:
        models = [m for m in models if m.model_version == wanted]
    if not models or models[0].status != "ready":
        raise RefusedError(
            "There is no model to encode with.",
            expected="a model with status ready" + (f" named {wanted}" if wanted else ""),
            found=f"status {models[0].status}" if models else "retired models only",
            to_do=f"run `kinsight train --as-of {as_of.date}`, or change embed.model_version",
        )
    if models[0].as_of > as_of.date:
        raise RefusedError(
            f"Model {wanted} has seen events after {as_of.date}.",
            expected=f"a model with an as-of up to {as_of.date}",
            found=f"as-of {models[0].as_of}",
            to_do="leave embed.model_version out, which takes the newest model of the time",
        )
    return models[0]


def read_model(workspace: Workspace, model: Model) -> Artifact:
    """The files of a model, checked before any executor sees them.

    Raises:
        IntegrityError: If they are missing, damaged, or those of another model.
    """
    folder = model_folder(workspace.config.tables, model.model_version)
    artifact = read_artifact(folder)
    if (artifact.sha256, artifact.vocabulary_version) != (model.sha256, model.vocabulary_version):
        raise IntegrityError(
            f"{folder} holds another model than table models says.",
            expected=f"sha256 {model.sha256}, vocabulary {model.vocabulary_version}",
            found=f"sha256 {artifact.sha256}, vocabulary {artifact.vocabulary_version}",
            to_do=TRAIN_AGAIN,
        )
    artifact.build()
    return artifact


def fitting_sequences(run: StageRun, as_of: AsOf, model: Model) -> Publication:
    """The sequences of the date in the model's vocabulary.

    Raises:
        RefusedError: If there are none of the date, or only in another vocabulary.
    """
    wanted = model.vocabulary_version
    found = run.log.newest("sequences", as_of=as_of.date, producer={"vocabulary_version": wanted})
    if found is not None:
        return found
    other = run.require("sequences", as_of=as_of.date, made_by="sequence")
    raise RefusedError(
        f"Model {model.model_version} cannot read the sequences of {as_of.date}.",
        expected=f"sequences in the model's vocabulary {wanted}",
        found=f"vocabulary {', '.join(other.record.producer.get('vocabulary_version', []))}",
        to_do=f"run `kinsight train --as-of {as_of.date}` for a model of that vocabulary, or "
        "set embed.model_version to one",
    )
