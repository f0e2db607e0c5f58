"""Fits of audiences in the executors, one audience a task."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from kinsight.config import ExpandConfig
from kinsight.errors import KinsightError
from kinsight.expand.admitted import Admitted
from kinsight.expand.collecting import drawn_rows, is_drawn, reading_of
from kinsight.expand.fitting import Expansion, fit_expansion
from kinsight.expand.inputs import Inputs
from kinsight.expand.parallel import HERE
from kinsight.expand.roster import Roster
from kinsight.expand.sample import Drawn
from kinsight.spark import is_running, kept_frames

FITTED = "key INT, expansion BINARY, error BINARY"


def fit_in_executors(
    roster: Roster, inputs: Inputs, admitted: Sequence[Admitted], config: ExpandConfig
) -> list[Expansion]:
    """Evaluate and fit every audience on its sample, as ``fit_expansion`` does in the driver.

    A task fits one audience: its sample goes through one Python worker, and the samples of all
    through one shuffle. Audiences that learn from histories come after the others, who need none.

    Args:
        roster: The users and their roles.
        inputs: What is known of them.
        admitted: The audiences.
        config: Sizes of samples, folds and budget.

    Returns:
        The expansions, in the order of the audiences.

    Raises:
        KinsightError: What the fit of an audience raised.
        RuntimeError: If one failed otherwise; with the audience's name and where it did.
    """
    found: dict[str, Expansion] = {}
    for read_histories in (False, True):
        some = [a for a in admitted if a.definition.reads_histories == read_histories]
        if some:
            found |= {e.audience.name: e for e in _fit_alike(roster, inputs, some, config)}
    return [found[audience.name] for audience in admitted]


def _fit_alike(
    roster: Roster, inputs: Inputs, audiences: Sequence[Admitted], config: ExpandConfig
) -> list[Expansion]:
    """Fits of audiences that read the same columns, all in one job."""
    spark = roster.frame.sparkSession
    keys = keys_apart(spark, len(audiences))
    by_key = dict(zip(keys, audiences, strict=True))
    shipped = spark.sparkContext.broadcast((by_key, roster.names, reading_of(inputs, audiences)))

    def fit(rows: pa.Table) -> pa.Table:
        of_key, names, reading = shipped.value
        key = rows["key"][0].as_py()
        audience = of_key[key]
        fitted = error = None
        try:
            sample = Drawn.of(rows, names, reading).sample(audience, config)
            fitted = pickle.dumps(fit_expansion(audience, sample, config, HERE))
        except KinsightError as known:
            error = pickle.dumps(known)
        except (
            Exception
        ):  # raised in the driver: Spark would try it again, and not say whose it was
            words = f"audience {audience.name}: {traceback.format_exc()}"
            error = pickle.dumps(RuntimeError(words))
        return pa.table(
            {
                "key": pa.array([key], pa.int32()),
                "expansion": pa.array([fitted], pa.binary()),
                "error": pa.array([error], pa.binary()),
            }
        )

    drawn_for = F.array(
        *(F.when(is_drawn(roster, a, config), F.lit(key)) for key, a in by_key.items())
    )
    drawn = roster.frame.withColumn("keys", F.array_compact(drawn_for)).where(F.size("keys") > 0)
    rows = drawn_rows(drawn, inputs, audiences).withColumn("key", F.explode("keys")).drop("keys")
    # A number of partitions that is given is kept: small ones are not put together.
    spread = rows.repartition(len(audiences), "key").groupBy("key")
    try:
        with kept_frames() as keep:
            fitted = keep(spread.applyInArrow(fit, FITTED))
            fitted.count()
            # One after the other, for Spark limits what a job may bring to the driver.
            found = {row["key"]: _fetched(row) for row in fitted.toLocalIterator()}
            return [found[key] for key in keys]
    finally:
        # As after a lost cluster, whose error must not be hidden.
        if is_running(spark.sparkContext):
            shipped.unpersist()


def _fetched(row: Row) -> Expansion:
    """The expansion of one audience, or the error of its fit."""
    if row["error"] is not None:
        raise pickle.loads(row["error"])
    expansion: Expansion = pickle.loads(row["expansion"])
    return expansion


def keys_apart(spark: SparkSession, number: int) -> list[int]:
    """Whole numbers, each of which Spark puts in a partition of its own among so many.

    Consecutive ones share partitions: fits take minutes, and some cores would have two in a row
    while others have none.
    """
    candidates = spark.range(20 * number + 100).select(F.col("id").cast("int").alias("key"))
    partition = F.pmod(F.hash("key"), F.lit(number)).alias("partition")
    rows = candidates.groupBy(partition).agg(F.min("key").alias("key")).collect()
    return sorted(row["key"] for row in rows)
