"""What training reads besides sequences: the vocabulary, and the model of an earlier date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pyspark.sql import functions as F

from kinsight.config import LEAF, TablesConfig
from kinsight.dates import AsOf
from kinsight.encoders.artifact import read_recorded
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import TOKEN_FIELDS, IntArray
from kinsight.errors import IntegrityError
from kinsight.models import list_models, model_folder
from kinsight.runs import StageRun, category_learned, newest_publication
from kinsight.tables import key_predicate
from kinsight.train.earlier import EarlierModel
from kinsight.train.training import Vocabulary


def read_vocabulary(run: StageRun, version: str) -> Vocabulary:
    """Sizes and item frequencies of a vocabulary version."""
    key = {"vocabulary_version": version}
    published = run.require("vocabularies", producer=key, made_by="sequence")
    tokens = run.read(published).where(key_predicate(key))
    # Whatever category level the sequences carry, the widest table holds it.
    field = F.when(F.col("field").startswith("category_"), "category").otherwise(F.col("field"))
    largest = tokens.groupBy(field.alias("field")).agg(F.max("index").alias("largest")).collect()
    found = {row["field"]: row["largest"] + 1 for row in largest}
    sizes = {name: found.get(name, 2) for name in TOKEN_FIELDS}
    frequency = {}
    for name in ("item", "event_type"):
        counts = tokens.where(F.col("field") == name).select("index", "frequency").toPandas()
        frequency[name] = np.zeros(sizes[name])
        frequency[name][counts["index"].to_numpy()] = counts["frequency"].to_numpy()
    purchase = tokens.where("field = 'event_type' AND token = 'purchase'").select("index").first()
    return Vocabulary(
        version,
        sizes,
        item_frequency=torch.from_numpy(frequency["item"]),
        type_frequency=torch.from_numpy(frequency["event_type"]),
        purchase=None if purchase is None else purchase["index"],
    )


def read_earlier_model(
    run: StageRun, tables: TablesConfig, as_of: AsOf, vocabulary: Vocabulary, category: str
) -> EarlierModel | None:
    """The newest ready model of an earlier date, readable in today's vocabulary.

    A re-run of a date takes the one that its first run took. A model whose files are gone or
    damaged is named and passed over: it is of help, not needed.

    Args:
        run: The run.
        tables: Where models lie.
        as_of: The date.
        vocabulary: Today's.
        category: Level of today's categories, or `leaf`.
    """
    version = run.earlier_version("models")
    if version is None and run.earlier_version("vocabularies") is None:
        published = newest_publication(run.records(), "models", not_after=as_of.date)
        version = published.version if published else None
    if version is None:
        return None
    known = list_models(run.read("models", version))
    model = next((m for m in known if m.status == "ready" and m.as_of < as_of.date), None)
    if model is None:
        return None
    try:
        folder = model_folder(tables, model.model_version)
        artifact = read_recorded(folder, model.sha256, model.vocabulary_version)
        encoder = artifact.build()
    except IntegrityError as error:
        run.warn(f"the earlier model {model.model_version} cannot be compared with: {error}")
        return None
    trained_by = json.loads(model.config)
    categories = category, category_learned(run.records(), model.model_version) or category
    now, then = _indices(run, (vocabulary.version, model.vocabulary_version), categories)
    return EarlierModel(
        version=model.model_version,
        name=artifact.encoder,
        options=artifact.options,
        encoder=encoder,
        item_basis=artifact.item_basis(),
        sizes=artifact.vocabulary_sizes,
        rows={
            field: rows_by_token(now[field], then[field], vocabulary.sizes[field])
            for field in TOKEN_FIELDS
        },
        held_out_by=(trained_by["seed"], trained_by["holdout_share"]) if trained_by else None,
    )


def rows_by_token(now: Mapping[str, int], then: Mapping[str, int], size: int) -> IntArray:
    """The index that each of today's tokens had then.

    Args:
        now: Index of each token in today's vocabulary.
        then: The same of an earlier one.
        size: Rows of the field's table today: of categories it holds the widest level.

    Returns:
        By today's index, [size]; padding stays, unknown where there was none.
    """
    rows = np.full(size, UNKNOWN, dtype=np.int64)
    rows[0] = 0
    for token, index in now.items():
        rows[index] = then.get(token, UNKNOWN)
    return rows


def _indices(
    run: StageRun, versions: Sequence[str], categories: Sequence[str]
) -> list[dict[str, dict[str, int]]]:
    """Index of each token of the fields of sequences, in vocabularies with levels of category."""
    published = run.require(
        "vocabularies", producer={"vocabulary_version": versions[0]}, made_by="sequence"
    )
    columns = ["vocabulary_version", "field", "token", "index"]
    of_sequences = F.col("field").isin(*TOKEN_FIELDS) | F.col("field").startswith("category_")
    rows = run.read(published).where(F.col("vocabulary_version").isin(*versions) & of_sequences)
    found: dict[str, dict[str, dict[str, int]]] = {version: {} for version in versions}
    for version, field, token, index in rows.select(*columns).toPandas().itertuples(index=False):
        found[version].setdefault(field, {})[token] = index
    indices = []
    for version, level in zip(versions, categories, strict=True):
        tables = found[version]
        levels = sum(field.startswith("category_") for field in tables)
        category = f"category_{levels if level == LEAF else min(int(level), levels)}"
        names = {field: category if field == "category" else field for field in TOKEN_FIELDS}
        indices.append({field: tables.get(name, {}) for field, name in names.items()})
    return indices
