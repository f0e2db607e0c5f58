"""The published tables that an expansion reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.bags import bag_fields
from kinsight.dates import AsOf
from kinsight.encoders.histories import COLUMNS
from kinsight.errors import RefusedError
from kinsight.expand.definition import AudienceDefinition
from kinsight.expand.linked import Identities, with_refusals
from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.bag_basis import BagBasis
from kinsight.expand.scorers.users import inverse_document_frequency
from kinsight.models import list_models, model_folder
from kinsight.runs import StageRun, newest_publication
from kinsight.tables import KeyValue, key_predicate, table_schema

if TYPE_CHECKING:
    from kinsight.encoders.artifact import Artifact


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is known of users at the date.

    Attributes:
        features: Rows of user_features of the date: the users with history.
        attributes: user_id, attributes, consent as known at the instant.
        bags: user_id, bags.
        vectors: user_id, vector: the vector of each user; of several all, one after another.
        segment_members: By segmentation: user_id, segment_id (the main segment); or why there are
            none, which refuses the audiences that ask for it and no others.
        vocabulary: field, index, token, label of the bags.
        titles: item_id, title as known at the instant, of the items that have one.
        token_weights: By field of the bags, the inverse document frequency of each index.
        dimension: Width of a vector.
        interests: Vectors a user.
        model_version: The encoder of the vectors.
        identities: What links anonymous ids to users; None where nothing was ever ingested.
        basis: What makes components of bags; None where no audience needs them.
        model: The encoder itself, checked; None where no audience needs it.
        histories: user_id and one column ``history_COLUMN`` for each of a history; None as model.
    """

    features: DataFrame
    attributes: DataFrame
    bags: DataFrame
    vectors: DataFrame
    segment_members: dict[str, DataFrame | RefusedError]
    vocabulary: DataFrame
    titles: DataFrame
    token_weights: dict[str, FloatArray]
    dimension: int
    interests: int
    model_version: str
    identities: Identities | None
    basis: BagBasis | None = None
    model: Artifact | None = None
    histories: DataFrame | None = None


def read_inputs(run: StageRun, as_of: AsOf, audiences: Iterable[AudienceDefinition]) -> Inputs:
    """Find and read the inputs of a date.

    Raises:
        RefusedError: If an earlier stage published nothing for the date.
        IntegrityError: If the encoder's files are needed, and are not what was trained.
    """
    audiences = list(audiences)
    date = as_of.date
    embeddings = run.require("embeddings", as_of=date, made_by="embed")
    model_version = embeddings.record.producer["model_version"][0]
    bags = run.require("user_bags", as_of=date, made_by="sequence")
    vocabulary = bags.record.producer["vocabulary_version"][0]
    features = run.require("user_features", as_of=date, made_by="sequence")
    segmentations = {a.seeds.segmentation for a in audiences if a.seeds.segment is not None}
    of_date = F.col("as_of") == F.lit(date)
    rows = run.read(embeddings).where(of_date & (F.col("model_version") == model_version))
    width = rows.select(F.size("vector")).first()
    interests = embeddings.record.counts.get("interests", 1)
    tokens = _vocabulary(run, as_of, vocabulary)
    identities = _identities(run, as_of)
    attributes = _attributes(run, as_of)
    if identities is not None:
        attributes = with_refusals(attributes, identities)
    model = histories = None
    if any(audience.reads_histories for audience in audiences):
        read = embeddings.record.inputs
        model = _model(run, model_version, read["models"])
        histories = _histories(run, as_of, model, read["sequences"])
    return Inputs(
        features=run.read(features).where(of_date),
        attributes=attributes,
        bags=run.read(bags)
        .where(of_date & (F.col("vocabulary_version") == vocabulary))
        .select("user_id", "bags"),
        vectors=user_vectors(rows, interests),
        segment_members={name: _members(run, as_of, name) for name in sorted(segmentations)},
        vocabulary=tokens.select("field", "index", "token", "label"),
        titles=_titles(run, as_of),
        token_weights=_token_weights(tokens),
        dimension=0 if width is None else int(width[0]),
        interests=interests,
        model_version=model_version,
        identities=identities,
        model=model,
        histories=histories,
    )


def _model(run: StageRun, model_version: str, version: int) -> Artifact:
    """The encoder that made the date's vectors, by the version of `models` that named it."""
    # Here, as few audiences need it: torch takes seconds to load.
    from kinsight.encoders.artifact import read_recorded

    models = list_models(run.read("models", version))
    model = next(one for one in models if one.model_version == model_version)
    folder = model_folder(run.tables.config, model_version)
    return read_recorded(folder, model.sha256, model.vocabulary_version)


def _histories(run: StageRun, as_of: AsOf, model: Artifact, version: int) -> DataFrame:
    """What the encoder read of the date's histories, of the version that its vectors come from."""
    from kinsight.encoders.registry import encoder_options, latest_events

    key: dict[str, KeyValue] = {
        "as_of": as_of.date,
        "vocabulary_version": model.vocabulary_version,
    }
    rows = run.read("sequences", version).where(key_predicate(key))
    most = latest_events(encoder_options(model.encoder, model.options))

    def latest(name: str) -> Column:
        events = F.col(name)
        if most is not None:
            events = F.slice(events, F.greatest(F.size(name) - most, F.lit(0)) + 1, F.lit(most))
        return events.alias(f"history_{name}")

    return rows.select("user_id", *(latest(name) for name in COLUMNS))


def user_vectors(rows: DataFrame, interests: int) -> DataFrame:
    """user_id and vector: the vectors of a user one after another in one array.

    Args:
        rows: Rows of embeddings of one date and model.
        interests: Vectors a user.
    """
    if interests == 1:
        return rows.select("user_id", "vector")
    ordered = F.array_sort(F.collect_list(F.struct("interest", "vector")))
    joined = F.flatten(F.transform(ordered, lambda row: row["vector"]))
    return rows.groupBy("user_id").agg(joined.alias("vector"))


def _attributes(run: StageRun, as_of: AsOf) -> DataFrame:
    """What each user's attributes and consent were just before the instant."""
    known = _rows_of(run, "users").where(F.col("valid_from") < F.lit(as_of.instant))
    return newest_values(known)


def newest_values(users: DataFrame) -> DataFrame:
    """user_id, attributes, consent: the newest value of each attribute and of each consent.

    One file may bring the attributes and another the consent, so a row says nothing of what it
    does not hold. Of values of one file and time the greatest wins, a refusal over a consent.

    Args:
        users: Rows of users.
    """
    attributes = _newest_entries(users, "attributes", F.col("value"))
    return attributes.join(_newest_entries(users, "consent", ~F.col("value")), "user_id", "full")


def _newest_entries(users: DataFrame, column: str, preferred: Column) -> DataFrame:
    """user_id and one map column with the newest value of each of its keys."""
    entries = users.select(
        "user_id", "valid_from", "source_file_id", F.explode(column).alias("key", "value")
    )
    newest = F.max_by("value", F.struct("valid_from", "source_file_id", preferred)).alias("value")
    values = entries.groupBy("user_id", "key").agg(newest)
    together = F.map_from_entries(F.collect_list(F.struct("key", "value")))
    return values.groupBy("user_id").agg(together.alias(column))


def _identities(run: StageRun, as_of: AsOf) -> Identities | None:
    """Table identities, unless there are none or the date's earlier run read none."""
    found = newest_publication(run.records(), "identities")
    version = found.version if found is not None else 0
    if run.earlier_version("user_features") is not None:
        version = run.earlier_version("identities") or 0
    # Version 0 only created the table.
    return Identities(run.read("identities", version), as_of.instant) if version else None


def _members(run: StageRun, as_of: AsOf, segmentation: str) -> DataFrame | RefusedError:
    """user_id and main segment of a segmentation of the date, or that it was not made."""
    wanted = {"segmentation": segmentation}
    try:
        found = run.require("segment_members", as_of=as_of.date, producer=wanted, made_by="segment")
    except RefusedError as error:
        return error
    rows = run.read(found).where(F.col("as_of") == F.lit(as_of.date))
    rows = rows.where((F.col("segmentation") == segmentation) & (F.col("membership_rank") == 0))
    return rows.select("user_id", "segment_id")


def _titles(run: StageRun, as_of: AsOf) -> DataFrame:
    """The newest title of each item from before the instant."""
    return newest_titles(_rows_of(run, "items"), as_of)


def newest_titles(items: DataFrame, as_of: AsOf) -> DataFrame:
    """item_id, title: the newest title of each of these items from before a date's instant."""
    known = items.where(F.col("title").isNotNull())
    known = known.where(F.col("valid_from") < F.lit(as_of.instant))
    newest = F.max_by("title", F.struct("valid_from", "source_file_id", "title")).alias("title")
    return known.groupBy("item_id").agg(newest)


def _rows_of(run: StageRun, table: str) -> DataFrame:
    """A table that `ingest` may have written, as the date's earlier run read it, or the newest."""
    found = newest_publication(run.records(), table)
    if found is None:
        return run.tables.spark.createDataFrame([], table_schema(table))
    version = run.earlier_version(table)
    return run.read(table, found.version if version is None else version)


def _vocabulary(run: StageRun, as_of: AsOf, vocabulary: str) -> DataFrame:
    """The rows of a vocabulary version."""
    found = run.require(
        "vocabularies",
        not_after=as_of.date,
        producer={"vocabulary_version": vocabulary},
        made_by="sequence",
    )
    return run.read(found).where(F.col("vocabulary_version") == vocabulary)


def _token_weights(vocabulary: DataFrame) -> dict[str, FloatArray]:
    """The inverse document frequency of each token of each field of the bags."""
    table = vocabulary.select("field", "index", "users").toArrow()
    fields = table["field"].to_numpy()
    index, users = table["index"].to_numpy(), table["users"].to_numpy()
    # The commonest token of any field, such as the one event type, stands for all users.
    everybody = int(users.max(initial=1))
    weights = {}
    for field in bag_fields(fields):
        own = fields == field
        # Indices 0 and 1, padding and unknown, weigh nothing.
        weight = np.zeros(int(index[own].max()) + 1)
        weight[index[own]] = inverse_document_frequency(users[own], everybody)
        weights[field] = weight
    return weights
