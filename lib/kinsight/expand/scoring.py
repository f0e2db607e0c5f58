"""Scores of all users for all audiences, in one pass, in the executors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.expand.fitting import Expansion
from kinsight.expand.inputs import Inputs
from kinsight.expand.measures import FloatArray
from kinsight.expand.roster import (
    ELIGIBLE,
    MATCHED,
    RANKED,
    STANDING,
    SUPPRESSED,
    TRUTH,
    Roster,
)
from kinsight.expand.sample import role_matrix, with_history
from kinsight.expand.scorers.base import CrossFit, by_part
from kinsight.expand.scorers.centroid import CentroidModel
from kinsight.expand.scorers.users import decode

DECIMALS = 9
"""Scores are rounded, so that the order of rows in a batch cannot change one by its last bit."""

SCORED = (
    "audience STRING, user_id STRING, score DOUBLE, tie DOUBLE, similarity DOUBLE, "
    "is_seed BOOLEAN, is_truth BOOLEAN"
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What executors need to score one audience.

    Attributes:
        name: Name of the audience.
        place: Its place in ``roles``.
        models: The fitted scorer.
        centre: Centre of the seeds.
        threshold: Lower scores are left out, except of hidden truths.
        keep_seeds: Whether seeds are scored too.
    """

    name: str
    place: int
    models: CrossFit
    centre: CentroidModel
    threshold: float
    keep_seeds: bool


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
        Rows of SCORED: one user in one audience.
    """
    tasks = [
        Task(
            name=e.audience.name,
            place=roster.names.index(e.audience.name),
            models=e.models,
            centre=e.centre,
            threshold=-np.inf if everybody or e.audience.definition.truth else e.threshold,
            keep_seeds=e.audience.definition.keep_seeds,
        )
        for e in expansions
    ]
    weights, width, audiences = inputs.token_weights, inputs.dimension, len(roster.names)

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from score_batch(batch, tasks, weights, width, audiences)

    admissible = F.exists("roles", lambda role: role.bitwiseAND(ELIGIBLE | SUPPRESSED) == ELIGIBLE)
    return with_history(roster.frame.where(admissible), inputs).mapInArrow(score, SCORED)


def score_batch(
    batch: pa.RecordBatch,
    tasks: Sequence[Task],
    token_weights: Mapping[str, FloatArray],
    width: int,
    audiences: int,
) -> Iterator[pa.RecordBatch]:
    """The scores of some users, one batch an audience.

    Args:
        batch: Rows of the roster with bags and vectors.
        tasks: The audiences to score.
        token_weights: By field, inverse document frequencies.
        width: Width of the vectors.
        audiences: Number of audiences in ``roles``.
    """
    users = decode(batch, token_weights, width)
    parts = by_part(users)
    roles = role_matrix(batch.column("roles").flatten().to_numpy(), audiences)
    for task in tasks:
        role = roles[:, task.place]
        scores = np.round(task.models.score_parts(users.part, parts), DECIMALS)
        is_seed = (role & STANDING) == MATCHED
        kept = ((role & STANDING) == RANKED) & (scores >= task.threshold)
        kept |= is_seed & task.keep_seeds
        similarity = np.round(task.centre.cosine(users), DECIMALS)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([task.name] * int(kept.sum()), pa.string()),
                batch.column("user_id").filter(pa.array(kept)),
                pa.array(scores[kept]),
                batch.column("tie").filter(pa.array(kept)),
                pa.array(similarity[kept], mask=~users.has_vector[kept]),
                pa.array(is_seed[kept]),
                pa.array((role[kept] & TRUTH) > 0),
            ],
            ["audience", "user_id", "score", "tie", "similarity", "is_seed", "is_truth"],
        )
