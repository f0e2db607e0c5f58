"""What runs in the executors: scores and ranks of one batch of users. Imports no Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.probability import Membership
from kinsight.expand.roles import MATCHED, RANKED, SEED_LEVEL, STANDING, TRUTH
from kinsight.expand.scorers.centroid import CentroidModel
from kinsight.expand.scorers.many import ManyModels, score_many
from kinsight.expand.scorers.users import Reading, Users, decode

DECIMALS = 9
"""Scores are rounded, so that the order of rows in a batch cannot change one by its last bit."""

SCORED = (
    "audience STRING, user_id STRING, score DOUBLE, tie DOUBLE, similarity DOUBLE, "
    "is_seed BOOLEAN, is_truth BOOLEAN"
)


NUMBERED = (
    "audience STRING, user_id STRING, score DOUBLE, rank BIGINT, percentile DOUBLE, "
    "probability DOUBLE, level STRING, similarity DOUBLE, is_seed BOOLEAN, is_truth BOOLEAN"
)

NUMBERED_COLUMNS = [column.split()[0] for column in NUMBERED.split(", ")]


ROWS_AT_ONCE = 50_000
"""Scored rows in an Arrow batch, about: few large ones cost Spark less than one an audience."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What executors need to score one audience, beside its models.

    Attributes:
        name: Name of the audience.
        place: Its place in ``roles``.
        centre: Centre of the seeds.
        threshold: Lower scores are left out, except of hidden truths.
        keep_seeds: Whether seeds are scored too.
    """

    name: str
    place: int
    centre: CentroidModel
    threshold: float
    keep_seeds: bool


def score_batch(
    batch: pa.RecordBatch,
    tasks: Sequence[Task],
    models: Sequence[ManyModels],
    reading: Reading,
    audiences: int,
) -> Iterator[pa.RecordBatch]:
    """The scores of some users, audience by audience.

    Args:
        batch: Rows of the roster with bags and vectors.
        tasks: The audiences to score.
        models: Their models in the same order, by part of the users.
        reading: What the models need of the users.
        audiences: Number of audiences in ``roles``.
    """
    users = decode(batch, reading)
    roles = batch.column("roles").flatten().to_numpy().reshape(-1, audiences)
    roles = roles[:, [task.place for task in tasks]].T
    scores = np.round(score_many(models, users), DECIMALS).T
    is_seed = (roles & STANDING) == MATCHED
    thresholds = np.array([task.threshold for task in tasks])
    keep_seeds = np.array([task.keep_seeds for task in tasks], dtype=bool)
    kept = ((roles & STANDING) == RANKED) & (scores >= thresholds[:, None])
    kept |= is_seed & keep_seeds[:, None]
    names = pa.array([task.name for task in tasks], pa.string())
    ends = np.cumsum(kept.sum(axis=1))
    begin = 0
    while begin < len(tasks):
        before = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, before + ROWS_AT_ONCE, side="right")), begin + 1)
        some = slice(begin, end)
        task, row = np.nonzero(kept[some])
        similarity = [
            _similarity(t, users, k) for t, k in zip(tasks[some], kept[some], strict=True)
        ]
        rows = pa.array(row)
        yield pa.RecordBatch.from_arrays(
            [
                names.take(pa.array(task + begin)),
                batch.column("user_id").take(rows),
                pa.array(scores[some][kept[some]]),
                batch.column("tie").take(rows),
                pa.array(np.concatenate(similarity), mask=~users.has_vector[row]),
                pa.array(is_seed[some][kept[some]]),
                pa.array((roles[some][kept[some]] & TRUTH) > 0),
            ],
            ["audience", "user_id", "score", "tie", "similarity", "is_seed", "is_truth"],
        )
        begin = end


def _similarity(task: Task, users: Users, kept: BoolArray) -> FloatArray:
    """Cosine of the kept users to the centre of the seeds."""
    cosine = task.centre.cosine_of(users.vectors[kept], users.has_vector[kept])
    return np.asarray(np.round(cosine, DECIMALS))


def rank_batches(
    batches: Iterable[pa.RecordBatch],
    offsets: Mapping[tuple[int, str], int],
    levels: Mapping[str, Sequence[tuple[str, int]]],
    ranked: Mapping[str, int],
    memberships: Mapping[str, Membership],
) -> Iterator[pa.RecordBatch]:
    """Number the rows of one partition.

    Args:
        batches: Rows of one partition, sorted.
        offsets: Where each partition begins to count.
        levels: Name and reach of each size level of each audience, smallest first.
        ranked: Ranked users of each audience.
        memberships: From scores to probabilities, of each audience.
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
            scores = rows.column("score").to_numpy(zero_copy_only=False)
            probability = np.where(is_seed, 1.0, memberships[name].of(scores))
            columns = [
                rows.column("audience"),
                rows.column("user_id"),
                rows.column("score"),
                pa.array(rank, pa.int64()),
                pa.array(rank / ranked[name]),
                pa.array(np.round(probability, DECIMALS)),
                pa.array(level, pa.string()),
                rows.column("similarity"),
                rows.column("is_seed"),
                rows.column("is_truth"),
            ]
            kept = pa.array((level != "") | is_truth)
            yield pa.RecordBatch.from_arrays(columns, NUMBERED_COLUMNS).filter(kept)
