"""Names of reasons, looked up for all audiences at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight.expand.fitting import Expansion
from kinsight.expand.inputs import Inputs
from kinsight.expand.reasons import Reason, choose_reasons
from kinsight.labels import readable
from kinsight.traits import TRAIT_FIELD

ITEM = "item"

Names = Mapping[tuple[str, int], tuple[str, str]]
"""Field and index of a token to the token and its label."""


def reasons_of(
    spark: SparkSession, inputs: Inputs, expansions: Sequence[Expansion]
) -> dict[str, list[Reason]]:
    """The reasons of each audience, named and chosen, by its name."""
    names = _names(spark, inputs, [r for e in expansions for r in e.candidates])
    return {
        e.audience.name: choose_reasons(_named(reason, names) for reason in e.candidates)
        for e in expansions
    }


def _named(reason: Reason, names: Names) -> Reason:
    if reason.field == TRAIT_FIELD:
        return reason
    token, label = names[reason.field, reason.index]
    return dataclasses.replace(reason, token=token, label=label)


def _names(spark: SparkSession, inputs: Inputs, reasons: Iterable[Reason]) -> Names:
    """Tokens and labels; items by the title known at the date, else by the vocabulary's label."""
    wanted = sorted({(r.field, r.index) for r in reasons if r.field != TRAIT_FIELD})
    if not wanted:
        return {}
    few = F.broadcast(spark.createDataFrame(wanted, "field STRING, index INT"))
    tokens = inputs.vocabulary.join(few, ["field", "index"]).persist()
    items = tokens.where(F.col("field") == ITEM).select(F.col("token").alias("item_id"))
    titles: dict[str, str] = dict(inputs.titles.join(F.broadcast(items), "item_id").collect())
    names = {
        (field, index): (token, _label(field, token, label, titles))
        for field, index, token, label in tokens.collect()
    }
    tokens.unpersist()
    return names


def _label(field: str, token: str, label: str, titles: Mapping[str, str]) -> str:
    if field != ITEM:
        return readable(label)
    title = titles.get(token, label)
    return f"Item {token}" if title == token else readable(title)
