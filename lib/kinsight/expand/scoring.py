"""Scores of all users for all audiences, in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.expand.collecting import readable_columns, with_history
from kinsight.expand.executor import SCORED, Task, score_batch
from kinsight.expand.fitting import Expansion
from kinsight.expand.inputs import Inputs
from kinsight.expand.roles import ELIGIBLE, SUPPRESSED
from kinsight.expand.roster import Roster
from kinsight.expand.scorers.many import stack_parts
from kinsight.expand.scorers.users import Reading
from kinsight.spread import LEAST_ROWS_A_TASK, TASKS


def score_users(
    roster: Roster, inputs: Inputs, expansions: Sequence[Expansion], *, everybody: bool = False
) -> DataFrame:
    """Score every user for every audience that he is ranked in.

    Args:
        roster: The users and their roles.
        inputs: Bags and vectors.
        expansions: The fitted audiences.
        everybody: Keep scores below the thresholds too. Audiences with a hidden truth always do.

    Returns:
        Rows of executor.SCORED: one user in one audience.
    """
    tasks = [
        Task(
            name=e.audience.name,
            place=roster.names.index(e.audience.name),
            centre=e.centre,
            threshold=-np.inf if everybody or e.audience.definition.truth else e.threshold,
            keep_seeds=e.audience.definition.keep_seeds,
        )
        for e in expansions
    ]
    models = stack_parts([e.models for e in expansions])
    basis = inputs.basis if any(part.reads_components for part in models) else None
    fields = {*(basis.directions if basis else ()), *(f for part in models for f in part.bags)}
    weights = {field: inputs.token_weights[field] for field in sorted(fields)}
    columns = readable_columns() if any(part.reads_features for part in models) else []
    readable = len(columns) if columns else None
    reading = Reading(weights, inputs.dimension, inputs.interests, readable, basis)
    histories = inputs.histories if any(part.reads_histories for part in models) else None
    context = roster.frame.sparkSession.sparkContext
    shipped = context.broadcast(None if histories is None else inputs.model)
    audiences = len(roster.names)

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        seen = dataclasses.replace(reading, model=shipped.value)
        for batch in batches:
            yield from score_batch(batch, tasks, models, seen, audiences)

    admissible = F.exists("roles", lambda role: role.bitwiseAND(ELIGIBLE | SUPPRESSED) == ELIGIBLE)
    ranked = roster.frame.where(admissible)
    read = with_history(ranked, inputs, weights, *columns, histories=histories)
    if histories is not None:
        # Who shares a batch decides the last bits of what an encoder finds: it hangs on the users.
        read = read.repartition(min(TASKS, 1 + roster.users // LEAST_ROWS_A_TASK), "user_id")
        read = read.sortWithinPartitions("user_id")
    return read.mapInArrow(score, SCORED)
