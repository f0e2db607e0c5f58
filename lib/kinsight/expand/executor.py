"""What runs in the executors: scores and ranks of one batch of users. Imports no Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.expand.measures import FloatArray
from kinsight.expand.roles import MATCHED, RANKED, SEED_LEVEL, STANDING, TRUTH
from kinsight.expand.scorers.base import CrossFit, by_part
from kinsight.expand.scorers.centroid import CentroidModel
from kinsight.expand.scorers.users import decode

DECIMALS = 9
"""Scores are rounded, so that the order of rows in a batch cannot change one by its last bit."""

SCORED = (
    "audience STRING, user_id STRING, score DOUBLE, tie DOUBLE, similarity DOUBLE, "
    "is_seed BOOLEAN, is_truth BOOLEAN"
)


NUMBERED = (
    "audience STRING, user_id STRING, score DOUBLE, rank BIGINT, percentile DOUBLE, "
    "level STRING, similarity DOUBLE, is_seed BOOLEAN, is_truth BOOLEAN"
)

NUMBERED_COLUMNS = [column.split()[0] for column in NUMBERED.split(", ")]


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
    roles = batch.column("roles").flatten().to_numpy().reshape(-1, audiences)
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


def rank_batches(
    batches: Iterable[pa.RecordBatch],
    offsets: Mapping[tuple[int, str], int],
    levels: Mapping[str, Sequence[tuple[str, int]]],
    ranked: Mapping[str, int],
) -> Iterator[pa.RecordBatch]:
    """Number the rows of one partition.

    Args:
        batches: Rows of one partition, sorted.
        offsets: Where each partition begins to count.
        levels: Name and reach of each size level of each audience, smallest first.
        ranked: Ranked users of each audience.
    """
    reached: dict[str, int] = {}
    for batch in batches:
        for name in pc.unique(batch.column("audience")).to_pylist():
            rows = batch.filter(pc.equal(batch.column("audience"), name))
            is_seed = rows.column("is_seed").to_numpy(zero_copy_only=False)
            is_truth = rows.column("is_truth").to_numpy(zero_copy_only=False)
            start = reached.get(name)
            if start is None:
                start = offsets.get((rows.column("partition")[0].as_py(), name), 0)
            numbers = start + np.cumsum(~is_seed)
            reached[name] = int(numbers[-1])
            rank = np.where(is_seed, 0, numbers)
            sizes = levels[name]
            names = np.array([name for name, _ in sizes] + [""], dtype=object)
            level = names[np.searchsorted([reach for _, reach in sizes], rank)]
            level[is_seed] = SEED_LEVEL
            columns = [
                rows.column("audience"),
                rows.column("user_id"),
                rows.column("score"),
                pa.array(rank, pa.int64()),
                pa.array(rank / ranked[name]),
                pa.array(level, pa.string()),
                rows.column("similarity"),
                rows.column("is_seed"),
                rows.column("is_truth"),
            ]
            kept = pa.array((level != "") | is_truth)
            yield pa.RecordBatch.from_arrays(columns, NUMBERED_COLUMNS).filter(kept)
