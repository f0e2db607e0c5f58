"""Counting, in one pass over user_bags, what each cluster's members do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kinsight.bags import plain_fields
from kinsight.labels import readable
from kinsight.segment.algorithms.shares import UNIT, Bag, ShareSums
from kinsight.segment.lift import Shares, Term, make_terms
from kinsight.segment.members import Parts

# Terms of a cluster and field that reach the driver, the most telling before shrinkage.
CANDIDATES = 300
# What fewer members have does not describe a segment.
LEAST_SUPPORT = 0.02
LEAST_USERS = 5

MEASURES = ("users", "shares", "squares", "held_shares")
SUMS = "cluster INT, field STRING, index INT, " + ", ".join(f"{name} BIGINT" for name in MEASURES)


def count_terms(members: DataFrame, vocabulary: DataFrame, parts: Parts) -> list[list[Term]]:
    """Terms of the vocabulary that members of each cluster over- or under-index on.

    Args:
        members: cluster (0 to k - 1), held_out, of_odd_days (whether only events of odd days
            count) and bags, a row a user.
        vocabulary: Rows of the vocabulary version of the bags.
        parts: Sizes of the clusters.

    Returns:
        One list a cluster, ordered by field and token; at most ``CANDIDATES`` a field, each had
        by at least ``LEAST_SUPPORT`` of the fitting members.
    """
    fields = plain_fields(row[0] for row in vocabulary.select("field").distinct().collect())
    fitting = _by_cluster(parts.fitting)
    least = np.maximum(np.ceil(LEAST_SUPPORT * parts.fitting), LEAST_USERS)
    base = F.sum("shares").over(Window.partitionBy("field", "index"))
    held_base = F.sum("held_shares").over(Window.partitionBy("field", "index"))
    ratio = (F.col("shares") / fitting) / (F.col("base_shares") / F.lit(int(parts.fitting.sum())))
    telling = F.col("users") / fitting * F.log(ratio)
    place = F.row_number().over(
        Window.partitionBy("cluster", "field").orderBy(F.desc("telling"), "index")
    )
    counted = (
        sum_shares(members, fields)
        .withColumns({"base_shares": base, "base_held_shares": held_base})
        .where(F.col("users") >= _by_cluster(least.astype(np.int64)))
        .withColumn("telling", telling)
        .withColumn("place", place)
        .where(F.col("place") <= CANDIDATES)
        .join(vocabulary.select("field", "index", "token", "label"), ["field", "index"])
    )
    return _terms(counted.toPandas(), parts)


def sum_shares(members: DataFrame, fields: Sequence[str]) -> DataFrame:
    """Sums a cluster, field and token of each user's share of events in the field's bag.

    Args:
        members: See :func:`count_terms`.
        fields: Fields of bags.

    Returns:
        Columns of ``SUMS``; see :class:`ShareSums` for what they count.
    """
    bags = [
        F.col("bags")[field][name].alias(f"{name}_{number}")
        for number, field in enumerate(fields)
        for name in ("tokens", "counts", "odd_days")
    ]
    rows = members.select("cluster", "held_out", "of_odd_days", *bags)
    key = ("cluster", "field", "index")
    summed = rows.mapInArrow(_adder(fields), SUMS).groupBy(*key)
    return summed.agg(*(F.sum(name).alias(name) for name in MEASURES))


def _adder(
    fields: Sequence[str],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    names = pa.array(fields)

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums = ShareSums(len(fields))
        for batch in batches:
            cluster = batch.column("cluster").to_numpy().astype(np.int64)
            held_out, of_odd_days = (
                batch.column(name).to_numpy(zero_copy_only=False)
                for name in ("held_out", "of_odd_days")
            )
            for number in range(len(fields)):
                sums.add(number, cluster, held_out, _bag(batch, number, of_odd_days))
        found = {name: pa.array(values) for name, values in sums.result().items()}
        found["field"] = names.take(found["field"])
        found["cluster"], found["index"] = (found[n].cast("int32") for n in ("cluster", "index"))
        yield pa.RecordBatch.from_pydict(found)

    return add


def _bag(batch: pa.RecordBatch, field: int, of_odd_days: npt.NDArray[np.bool_]) -> Bag:
    """The bags of a field: of odd days for some users, of all days for the others."""
    tokens, counts, odd_days = (
        batch.column(f"{name}_{field}") for name in ("tokens", "counts", "odd_days")
    )
    length = pc.fill_null(pc.list_value_length(tokens), 0).to_numpy().astype(np.int64)
    of_all, of_odd = (c.flatten().to_numpy().astype(np.float64) for c in (counts, odd_days))
    return Bag(
        tokens.flatten().to_numpy(),
        np.where(np.repeat(of_odd_days, length), of_odd, of_all),
        length,
    )


def _by_cluster(values: npt.NDArray[np.int64]) -> Column:
    """A column that holds, for each row, the value of its cluster."""
    return F.element_at(F.array(*(F.lit(int(v)) for v in values)), F.col("cluster") + 1)


def _terms(counted: pd.DataFrame, parts: Parts) -> list[list[Term]]:
    counted = counted.sort_values(["cluster", "field", "token"], ignore_index=True)
    cluster = counted["cluster"].to_numpy()

    def column(name: str, unit: float) -> npt.NDArray[np.float64]:
        return counted[name].to_numpy(dtype=np.float64) / unit

    shares = Shares(
        users=column("users", 1),
        shares=column("shares", UNIT),
        squares=column("squares", UNIT),
        base_shares=column("base_shares", UNIT),
        held_shares=column("held_shares", UNIT),
        base_held_shares=column("base_held_shares", UNIT),
        members=parts.fitting[cluster].astype(np.float64),
        held_members=parts.held_out[cluster].astype(np.float64),
        base_members=float(parts.fitting.sum()),
        base_held_members=float(parts.held_out.sum()),
    )
    labels = [readable(label) for label in counted["label"]]
    terms = make_terms(shares, labels, list(counted["token"]), list(counted["field"]))
    edges = np.searchsorted(cluster, np.arange(len(parts.fitting) + 1))
    return [terms[start:end] for start, end in itertools.pairwise(edges)]


def strongest(terms: Sequence[Term], field: str, support: float, count: int) -> list[Term]:
    """The terms of a kind with the highest shrunken lift, where it is sure to lie above 1.

    Terms that the check refutes, with a lift of 1 or less on held-out users, are left out. That
    uses the check to choose, so the held-out lifts of the rest lean upwards; names, whose lifts are
    quoted as evidence, are not chosen this way.

    Args:
        terms: Terms of one segment.
        field: Vocabulary field, or ``category`` for all levels.
        support: Least share of the members who have it.
        count: How many at most.
    """
    chosen = [
        t
        for t in terms
        if t.field.startswith(field)
        and t.support >= support
        and t.sure_lift > 1
        and (t.held_out_lift is None or t.held_out_lift > 1)
    ]
    return sorted(chosen, key=lambda t: (-t.lift, t.field, t.token))[:count]
