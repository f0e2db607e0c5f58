"""Stage `embed`: the sequences of a date and a model to table `embeddings`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from kinsight.dates import AsOf
from kinsight.embed.inference import INPUT_COLUMNS, OUTPUT_SCHEMA, encode_batches
from kinsight.embed.model import choose_model, read_model
from kinsight.encoders.artifact import TRAIN_AGAIN
from kinsight.encoders.encoding import NOT_FINITE
from kinsight.errors import IntegrityError, RefusedError
from kinsight.models import Model, list_models
from kinsight.runs import Publication, StageRun, StageSummary, category_learned, category_of
from kinsight.spread import rows_by_task, spread
from kinsight.tables import KeyValue, key_predicate
from kinsight.workspace import Workspace


def run_embed(workspace: Workspace, as_of: AsOf, *, latest_input: bool = False) -> StageSummary:
    """Encode the sequences of a date with a model.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date.
        latest_input: As for all stages; this one reads the newest sequences and model of the date
            anyway, and what they rest on is pinned by the runs that made them.

    Raises:
        RefusedError: If there is no model or no sequences that fit each other and the date.
        IntegrityError: If the model's files are not what was trained, or a vector is no number.
    """
    config = workspace.config.embed
    with workspace.run("embed", as_of, config, latest_input) as run:
        model = model_for(run, as_of, config.model_version)
        artifact = read_model(workspace.config.tables, model)
        sequences = fitting_sequences(run, as_of, model)
        version = model.model_version
        key: dict[str, KeyValue] = {
            "as_of": as_of.date,
            "vocabulary_version": model.vocabulary_version,
        }
        rows = run.read(sequences).where(key_predicate(key)).select(*INPUT_COLUMNS)
        shipped = workspace.spark.sparkContext.broadcast(artifact)
        tokens, bfloat16 = config.batch_tokens, config.precision == "bfloat16"

        # Arrow buffers and not the pandas UDF: that takes longer (benchmarks/RESULTS.md).
        def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return encode_batches(batches, shipped.value, tokens, bfloat16)

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
        if artifact.interests > 1:
            run.counts["interests"] = artifact.interests
        run.producer = {"model_version": [version]}
        return run.summary()


def model_for(run: StageRun, as_of: AsOf, wanted: str | None) -> Model:
    """The model asked for, or the newest of the date.

    Raises:
        RefusedError: If there is none, or it has seen events after the date.
    """
    asked = {} if wanted is None else {"model_version": wanted}
    newest = as_of.date if wanted is None else None
    models = run.require("models", not_after=newest, producer=asked, made_by="train")
    return choose_model(list_models(run.read(models)), as_of.date, wanted)


def fitting_sequences(run: StageRun, as_of: AsOf, model: Model) -> Publication:
    """The sequences of the date in the model's vocabulary, of the category that it learned.

    Raises:
        RefusedError: If there are none of the date, or only in another vocabulary.
    """
    wanted = {"vocabulary_version": model.vocabulary_version}
    found = run.log.newest("sequences", as_of=as_of.date, producer=wanted)
    category = category_learned(run.log.records(), model.model_version)
    if found is not None and category in (None, category_of(found.record)):
        return found
    other = run.require("sequences", as_of=as_of.date, made_by="sequence").record
    vocabularies = ", ".join(other.producer.get("vocabulary_version", []))
    raise RefusedError(
        f"Model {model.model_version} cannot read the sequences of {as_of.date}.",
        expected="sequences in the model's vocabulary "
        f"{model.vocabulary_version} (category: {category or 'any'})",
        found=f"vocabulary {vocabularies} (category: {category_of(other)})",
        to_do=f"run `kinsight train --as-of {as_of.date}` for a model of that vocabulary, or "
        "set embed.model_version to one",
    )
