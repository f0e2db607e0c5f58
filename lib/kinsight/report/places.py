"""Where a sample of customers lies on the map of a segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from kinsight.columns import hash_fraction
from kinsight.report.sources import Sources, empty, only, small

MAP_USERS = 1_000
MAP_TOKENS = 4_000
COLUMNS = ("segment_id", "x", "y")


def place_by_vectors(sources: Sources, members: DataFrame, model_version: str) -> pd.DataFrame:
    """Places in the space of the encoder's vectors.

    Args:
        sources: Where to read.
        members: user_id, segment_id of one segmentation, cold customers left out.
        model_version: Encoder of the vectors.

    Returns:
        segment_id, x, y of at most ``MAP_USERS`` customers; empty where there are no vectors.
    """
    date = sources.as_of.date
    found = sources.newest("embeddings", as_of=date, producer={"model_version": model_version})
    if found is None:
        return empty(*COLUMNS)
    keys = {"as_of": date, "model_version": model_version, "interest": 0}
    vectors = only(sources.run.read(found), keys).select("user_id", "vector")
    drawn = small(_of_sample(vectors, members).select("segment_id", "vector"))
    if drawn.empty:
        return empty(*COLUMNS)
    return _placed(drawn["segment_id"], np.stack(drawn["vector"].to_list()))


def place_by_bags(sources: Sources, members: DataFrame) -> pd.DataFrame:
    """Places in the space of what customers took, at the deepest level of the categories.

    Args:
        sources: Where to read.
        members: user_id, segment_id of one segmentation, cold customers left out.

    Returns:
        segment_id, x, y of at most ``MAP_USERS`` customers; empty where there are no bags.
    """
    bags = sources.published("user_bags")
    if bags is None:
        return empty(*COLUMNS)
    level = F.expr(
        "array_max(transform(filter(map_keys(bags), field -> field LIKE 'category_%'), "
        "field -> int(substring(field, 10))))"
    )
    deepest = F.max(level).over(Window.partitionBy())
    field = F.coalesce(F.concat(F.lit("category_"), deepest.cast("string")), F.lit("item"))
    bag = _of_sample(bags, members).withColumn("bag", F.col("bags")[field])
    drawn = small(
        bag.orderBy("place", "user_id").select("segment_id", "bag.tokens", "bag.counts")
    ).dropna()
    if drawn.empty:
        return empty(*COLUMNS)
    return _placed(drawn["segment_id"], weigh(drawn["tokens"].to_list(), drawn["counts"].to_list()))


def _of_sample(rows: DataFrame, members: DataFrame) -> DataFrame:
    """Rows of a sample of the members, drawn and ordered by a hash of their id."""
    sample = (
        members.select("user_id", "segment_id")
        .withColumn("place", hash_fraction(F.col("user_id"), "map"))
        .orderBy("place", "user_id")
        .limit(MAP_USERS)
    )
    return rows.join(F.broadcast(sample), "user_id").orderBy("place", "user_id")


def weigh(
    tokens: Sequence[npt.NDArray[np.int32]], counts: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float64]:
    """Bags as rows of log counts times inverse document frequency.

    Args:
        tokens: Token indices of each user.
        counts: Events with each, of the same lengths.

    Returns:
        Array [users, tokens]: the ``MAP_TOKENS`` tokens that most users have.
    """
    users = np.repeat(np.arange(len(tokens)), [len(bag) for bag in tokens])
    known, columns = np.unique(np.concatenate(tokens), return_inverse=True)
    frequency = np.bincount(columns)
    kept = np.argsort(-frequency, kind="stable")[:MAP_TOKENS]
    column_of = np.full(len(known), -1)
    column_of[kept] = np.arange(len(kept))
    held = column_of[columns] >= 0
    weights = np.log1p(np.concatenate(counts)) * np.log(len(tokens) / frequency)[columns]
    matrix = np.zeros((len(tokens), len(kept)))
    matrix[users[held], column_of[columns[held]]] = weights[held]
    return matrix


def _placed(segment_ids: pd.Series[str], points: npt.NDArray[Any]) -> pd.DataFrame:
    places = discriminating_plane(points, segment_ids)
    frame = empty(*COLUMNS)
    frame["segment_id"], frame["x"], frame["y"] = segment_ids.to_numpy(), places[:, 0], places[:, 1]
    return frame


def discriminating_plane(
    vectors: npt.NDArray[np.floating[Any]], groups: pd.Series[str]
) -> npt.NDArray[np.float64]:
    """Project unit vectors on the plane in which the groups' means differ most.

    Plain principal components spend their two axes on what splits customers most; these spend
    them on what splits the segments. With fewer than three groups the components are used.

    Args:
        vectors: Array [n, d].
        groups: Group of each row, [n].

    Returns:
        Array [n, 2]; the sign of each axis is fixed by its largest loading.
    """
    points = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(norms > 0, norms, 1.0)
    points = points - points.mean(axis=0)
    spread = points
    if groups.nunique() > 2:
        means = pd.DataFrame(points).groupby(groups.to_numpy()).mean()
        weights = groups.value_counts().loc[means.index].to_numpy()
        spread = means.to_numpy() * np.sqrt(weights)[:, None]
    axes = np.linalg.svd(spread, full_matrices=False)[2][:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    places = np.zeros((len(points), 2))
    places[:, : len(axes)] = points @ (axes * signs[:, None]).T
    return places
