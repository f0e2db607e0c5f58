"""A sample of customers of a segmentation, placed on a map."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kinsight.columns import hash_fraction
from kinsight.report.neighbours import Truth, arrange, truth_of, weigh
from kinsight.report.sources import Sources, empty, only, small
from kinsight.report.words import FEATURES

MAP_USERS = 800


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a sample of customers lies.

    Attributes:
        points: user_id, segment_id, x, y of at most ``MAP_USERS`` customers.
        truth: How far the map can be believed; None where there are too few customers.
        directions: axis (x or y), feature, correlation (Spearman) of readable numbers with the
            place along the axis; strongest first.
    """

    points: pd.DataFrame
    truth: Truth | None
    directions: pd.DataFrame


def place_by_vectors(sources: Sources, members: DataFrame, model_version: str) -> Places | None:
    """Places by the encoder's vectors.

    Args:
        sources: Where to read.
        members: user_id, segment_id of one segmentation, cold customers left out.
        model_version: Encoder of the vectors.

    Returns:
        The places; None where there are no vectors.
    """
    date = sources.as_of.date
    found = sources.newest("embeddings", as_of=date, producer={"model_version": model_version})
    if found is None:
        return None
    keys = {"as_of": date, "model_version": model_version, "interest": 0}
    vectors = only(sources.run.read(found), keys).select("user_id", "vector")
    drawn = small(_of_sample(vectors, members).select("user_id", "segment_id", "vector"))
    if drawn.empty:
        return None
    return _placed(sources, members, drawn, np.stack(drawn["vector"].to_list()))


def place_by_bags(sources: Sources, members: DataFrame, vocabulary_version: str) -> Places | None:
    """Places by what customers took, at the deepest level of the categories.

    Args:
        sources: Where to read.
        members: user_id, segment_id of one segmentation, cold customers left out.
        vocabulary_version: Vocabulary of the bags; a date may have bags by several.

    Returns:
        The places; None where there are no bags.
    """
    date, vocabulary = sources.as_of.date, {"vocabulary_version": vocabulary_version}
    found = sources.newest("user_bags", as_of=date, producer=vocabulary)
    if found is None:
        return None
    bags = only(sources.run.read(found), {"as_of": date, **vocabulary})
    level = F.expr(
        "array_max(transform(filter(map_keys(bags), field -> field LIKE 'category_%'), "
        "field -> int(substring(field, 10))))"
    )
    deepest = F.max(level).over(Window.partitionBy())
    field = F.coalesce(F.concat(F.lit("category_"), deepest.cast("string")), F.lit("item"))
    bag = _of_sample(bags, members).withColumn("bag", F.col("bags")[field])
    columns = ("user_id", "segment_id", "bag.tokens", "bag.counts")
    drawn = small(bag.orderBy("place", "user_id").select(*columns)).dropna(ignore_index=True)
    if drawn.empty:
        return None
    weighed = weigh(drawn["tokens"].to_list(), drawn["counts"].to_list())
    return _placed(sources, members, drawn, weighed)


def _of_sample(rows: DataFrame, members: DataFrame) -> DataFrame:
    """Rows of a sample of the members, drawn and ordered by a hash of their id."""
    sample = (
        members.select("user_id", "segment_id")
        .withColumn("place", hash_fraction(F.col("user_id"), "map"))
        .orderBy("place", "user_id")
        .limit(MAP_USERS)
    )
    return rows.join(F.broadcast(sample), "user_id").orderBy("place", "user_id")


def _placed(
    sources: Sources, members: DataFrame, drawn: pd.DataFrame, vectors: npt.NDArray[Any]
) -> Places:
    places = arrange(vectors, drawn["segment_id"])
    points = drawn[["user_id", "segment_id"]].assign(x=places[:, 0], y=places[:, 1])
    features = sources.published("user_features")
    directions = empty("axis", "feature", "correlation")
    if features is not None:
        names = [name for name in FEATURES if name in features.columns]
        known = small(_of_sample(features, members).select("user_id", *names))
        directions = directions_of(points, known)
    return Places(points, truth_of(vectors, places, drawn["segment_id"]), directions)


def directions_of(points: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Which readable numbers rise or fall along the axes of a map.

    Args:
        points: user_id, x, y.
        features: user_id and one column a number.

    Returns:
        axis, feature, correlation (Spearman's); numbers that are the same for all are left out.
    """
    joined = points.merge(features, on="user_id")
    ranks = joined.drop(columns=["user_id", "segment_id"], errors="ignore").rank()
    found = [
        {"axis": axis, "feature": name, "correlation": float(ranks[axis].corr(ranks[name]))}
        for axis in ("x", "y")
        for name in ranks.columns.drop(["x", "y"])
        if ranks[name].nunique() > 1
    ]
    frame = pd.DataFrame(found, columns=["axis", "feature", "correlation"])
    strength = frame["correlation"].abs().rename("strength")
    order = strength.sort_values(ascending=False, kind="stable").index
    ordered: pd.DataFrame = frame.loc[order].reset_index(drop=True)
    return ordered
