"""One of several processes that train one encoder together. No Spark.

Each reads its own shard, keeps its own held-out users, and takes every step with the others (see
``ranks`` and ``loop``). What they make is the last checkpoint, which rank 0 writes and the driver
reads; the processes return nothing, for all of them would write it to the same file.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load

from kinsight.config import TrainConfig
from kinsight.encoders.registry import build_encoder
from kinsight.errors import EnvironmentProblem, IntegrityError, KinsightError
from kinsight.objectives.base import FittedObjective, TrainingSet
from kinsight.objectives.registry import build_objectives
from kinsight.progress import Progress
from kinsight.train.checkpoint import Checkpoints, below
from kinsight.train.files import readable_url
from kinsight.train.loader import SequenceLoader
from kinsight.train.loop import Fit, fit, new_learner, repeatable
from kinsight.train.ranks import Ranks, joined_ranks
from kinsight.train.relay import RelayedProgress, send_failure


@dataclasses.dataclass(frozen=True)
class Work:
    """What every process is given.

    Attributes:
        config: The choices.
        threads: Torch threads a process.
        sizes: Rows of the embedding tables.
        data: What the driver's survey found of the whole table.
        rows: Rows of the whole table.
        files: Its Parquet files.
        root: Folder of all checkpoints.
        identity: Everything that decides the weights.
        start: The first weights, which the driver wrote beside the checkpoints: who sees the file
            shares the folder.
    """

    config: TrainConfig
    threads: int
    sizes: Mapping[str, int]
    data: TrainingSet
    rows: int
    files: Sequence[str]
    root: Path
    identity: Mapping[str, str]
    start: Path


def train_process(work: Work) -> None:
    """The whole of a process that torchrun started.

    Raises:
        SystemExit: Of 1, after its reason was sent to the driver.
    """
    rank = -1
    try:
        with joined_ranks() as ranks:
            rank = ranks.rank
            train_share(work, ranks, RelayedProgress(speaks=rank == 0))
    except Exception as error:
        if not isinstance(error, KinsightError):
            traceback.print_exc()
        send_failure(error, rank)
        raise SystemExit(1) from error


def train_share(work: Work, ranks: Ranks, progress: Progress) -> Fit:
    """Train with the other ranks on this one's share of the users.

    Raises:
        EnvironmentProblem: If this or another rank does not see the driver's files.
        IntegrityError: If the shards together are not the table.
        RefusedError: If there is too little to learn from.
    """
    _require_files(work, ranks)
    config = work.config
    loader = SequenceLoader.of(work.files, config, ranks.rank, ranks.count)
    survey = loader.survey()
    rows, users = ranks.sums([loader.rows, survey.users])
    if (rows, users) != (work.rows, work.data.users):
        raise IntegrityError(
            "The shards of the processes are not the table.",
            expected=f"{work.rows} rows and {work.data.users} users to train on",
            found=f"{rows:.0f} rows and {users:.0f} users in {ranks.count} shards",
            to_do="run again; if it happens twice, report it",
        )
    with repeatable(config.seed, work.threads):
        encoder = build_encoder(
            config.encoder.name, config.encoder.options, dict(work.sizes), config.seed
        )
        objectives = build_objectives(config.objective, encoder, work.data)
        learned = new_learner(encoder, objectives, config).weights
        start = load(work.start.read_bytes())
        for number, (_, objective) in enumerate(objectives, start=1):
            if isinstance(objective, FittedObjective):
                objective.take_over(below(f"{number}.", start))
        learned.load_state_dict(start)
        return fit(
            encoder,
            objectives,
            loader.batches,
            work.data.users,
            survey.held_out,
            config,
            progress,
            Checkpoints(work.root, work.identity, progress),
            ranks,
        )


def _require_files(work: Work, ranks: Ranks) -> None:
    """Refuse to go on where a rank does not see what the driver sees.

    Raises:
        EnvironmentProblem: On all ranks.
    """
    paths = [work.start, *(Path(readable_url(f).removeprefix("file://")) for f in work.files)]
    missing = [path for path in paths if not path.is_file()]
    [blind] = ranks.sums([float(bool(missing))])
    if blind:
        raise EnvironmentProblem(
            "The processes of training do not see the files of the driver.",
            expected="sequences and models (tables.path, tables.artifacts) in folders that all "
            "nodes mount at the same place, readable for the same user",
            found=f"{blind:.0f} of {ranks.count} processes lack some"
            + (f", such as {missing[0]}" if missing else ""),
            to_do="use such folders, or set train.processes: 1",
        )
