"""Several training processes, started by Spark's TorchDistributor and waited for by the driver.

In local mode they are children of the driver; on a cluster each is a task of one barrier stage, so
all of them start together or none does. They share folders with the driver: the files of the
sequences, which they read, and the checkpoints, of which rank 0 writes the last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from kinsight.config import TrainConfig
from kinsight.encoders.base import Encoder, FittedEncoder
from kinsight.errors import ConfigError, EnvironmentProblem, KinsightError
from kinsight.objectives.base import TrainingSet
from kinsight.progress import Progress
from kinsight.spark import is_running
from kinsight.train.checkpoint import Checkpoints
from kinsight.train.loop import Fit, WeightedObjectives, finish, is_over, new_learner
from kinsight.train.process import Work, train_process
from kinsight.train.relay import RelayedProgress, known_error, parse_line, relayed
from kinsight.trouble import explain

_ROOT_CAUSE = re.compile(r"Root Cause.*?\brank\s*:\s*(\d+).*?\bexitcode\s*:\s*(-?\d+)", re.DOTALL)
"""Rank and exit code of the process that ended first, in torchrun's account."""


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Training in several processes.

    Attributes:
        config: The choices; ``processes`` is at least 2.
        threads: Torch threads a process.
        local: Whether the processes run beside the driver, else in executors.
        progress: Where a person sees it.
    """

    config: TrainConfig
    threads: int
    local: bool
    progress: Progress

    @classmethod
    def plan(cls, spark: SparkSession, config: TrainConfig, progress: Progress) -> Distributed:
        """Look whether the session has room for the processes.

        Raises:
            ConfigError: If it has fewer cores, or a number of executors that changes.
            EnvironmentProblem: If a cluster has fewer cores at the time: later it may have more.
        """
        context = spark.sparkContext
        local = re.fullmatch(r"local(\[[^\]]*\])?", str(context.master)) is not None
        cores = _tasks_at_once(context)
        if config.processes > cores:
            kind = ConfigError if local else EnvironmentProblem
            raise kind(
                "Training wants more processes than Spark has cores for.",
                expected=f"train.processes of at most {cores}, the tasks that {context.master} "
                "runs at once",
                found=f"{config.processes}",
                to_do="lower train.processes, or raise the cores (spark.master: local[N], "
                "spark.executor.cores, spark.executor.instances, spark.cores.max)",
            )
        conf = context.getConf()
        if not local and conf.get("spark.dynamicAllocation.enabled", "false") == "true":
            raise ConfigError(
                "Training in several processes needs a fixed number of executors.",
                expected="spark.dynamicAllocation.enabled: false; Spark starts tasks together, as "
                "training needs them, in no other way",
                found="true",
                to_do="set it in spark.conf, or set train.processes: 1",
            )
        share = cores // config.processes if local else int(conf.get("spark.task.cpus", "1") or 1)
        return cls(config, config.threads or share, local, progress)

    def require_shared(self, files: Sequence[str]) -> None:
        """Refuse files that executors cannot read as they are.

        Args:
            files: URLs as ``inputFiles`` of a Delta table names them.

        Raises:
            ConfigError: If the processes run in executors and a file is on no mounted disk.
        """
        elsewhere = [file for file in files if not file.startswith(("file:", "/"))]
        if elsewhere and not self.local:
            raise ConfigError(
                "Training processes in executors cannot read the sequences where they are.",
                expected="tables in a folder that all nodes mount (file:/...)",
                found=elsewhere[0],
                to_do="set train.processes: 1, which trains in the driver, or move the tables",
            )

    def train(
        self,
        encoder: Encoder,
        objectives: WeightedObjectives,
        data: TrainingSet,
        sizes: Mapping[str, int],
        rows: int,
        files: Sequence[str],
        checkpoints: Checkpoints,
    ) -> Fit:
        """Train elsewhere; encoder and objectives are left as ``fit`` leaves them.

        Args:
            encoder: The encoder, of which each process builds its own.
            objectives: Weights and losses, likewise.
            data: What the survey found.
            sizes: Rows of the embedding tables.
            rows: Rows of the sequences.
            files: Their files.
            checkpoints: Where rank 0 leaves its checkpoints and takes up those of a killed run.

        Raises:
            KinsightError: What a process found, or that one ended before its time.
        """
        clock = time.monotonic()
        processes = self.config.processes
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        self.progress.say(f"training in {processes} processes of {threads}")
        with _token(checkpoints.folder) as token:
            work = Work(
                self.config,
                self.threads,
                dict(sizes),
                data,
                rows,
                list(files),
                checkpoints.root,
                checkpoints.identity,
                token,
                encoder.frozen_items() if isinstance(encoder, FittedEncoder) else None,
            )
            self._run(work, checkpoints)
        learner = new_learner(encoder, objectives, self.config)
        # Rank 0 has warned of what is wrong with others already.
        mute = RelayedProgress(speaks=False)
        state = Checkpoints(checkpoints.root, checkpoints.identity, mute).load(learner)
        if state is None or not is_over(state, self.config):
            raise EnvironmentProblem(
                "Training ended, but its result is not there.",
                expected=f"a checkpoint of the last epoch in {checkpoints.folder}",
                found=f"one of epoch {state.epoch}" if state else "none",
                to_do="make room on that disk and run again: training goes on from what is there",
            )
        return finish(learner, state, encoder, time.monotonic() - clock)

    def _run(self, work: Work, checkpoints: Checkpoints) -> None:
        processes = self.config.processes
        distributor = TorchDistributor(processes, local_mode=self.local, use_gpu=False)
        logging.getLogger(type(distributor).__name__).setLevel(logging.WARNING)
        spark: Any = distributor.spark
        environment = {
            # Their output goes through pipes that would keep it until the end.
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(self.threads),
        }
        with (
            _laid_over(spark.sparkContext.environment, environment),
            _laid_over(os.environ, environment),
            relayed(self.progress) as lines,
        ):
            spark.sparkContext.setJobDescription(f"train: training in {processes} processes")
            try:
                distributor.run(train_process, work)
                return
            except Exception as error:
                cause = error
            finally:
                if is_running(spark.sparkContext):
                    spark.sparkContext.setJobDescription("")
        # TorchDistributor's own error knows no more than that there is no result: pyspark's wrapper
        # around torchrun drops its exit code. Executors may tell the rest, output does in any case.
        text = "\n".join([str(cause), *lines.others])
        failures = lines.failures + [
            found for line in text.splitlines() if (found := parse_line(line)) is not None
        ]
        known = next((e for e in map(known_error, failures) if e is not None), None)
        raise (
            known or explain(RuntimeError(text)) or _died(text, failures, processes, checkpoints)
        ) from cause


def _died(
    text: str, failures: Sequence[Mapping[str, Any]], processes: int, checkpoints: Checkpoints
) -> KinsightError:
    """The error of a training of which a process ended before its time.

    Args:
        text: What TorchDistributor said, with torchrun's account of the first that ended.
        failures: What the processes said of themselves; those that live on lose their partner.
        processes: How many there were.
        checkpoints: Where training can go on.
    """
    found = next((line for line in text.splitlines() if line.strip()), "nothing said")[:300]
    # On a cluster each process has its torchrun: of those that lost a partner it tells exit codes.
    if accounts := [(int(code), rank) for rank, code in _ROOT_CAUSE.findall(text)]:
        code, rank = min(accounts)
        found = f"process {rank} of {processes} (counted from 0) " + (
            f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        )
        own = (
            f"; it said: {f['error']}: {f['text'][:300]}"
            for f in failures
            if f["rank"] in (int(rank), -1)
        )
        found += next(own, "") if code > 0 else ""
    epoch = checkpoints.newest_epoch()
    again = f"it goes on after epoch {epoch}" if epoch else "it begins anew: no epoch was finished"
    return EnvironmentProblem(
        "A process of training ended before the others.",
        expected=f"{processes} processes that live until the last epoch",
        found=found,
        to_do=f"run again: {again}. A process that was killed had most often too little memory: "
        "lower train.processes or train.batch_tokens",
    )


def _tasks_at_once(context: SparkContext) -> int:
    """Tasks that the session can run at once, on the executors that it has."""
    scala: Any = context._jsc.sc()
    profile = scala.resourceProfileManager().defaultResourceProfile()
    return int(scala.maxNumConcurrentTasks(profile))


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A file in the folder of the checkpoints; what is empty goes with it.

    Raises:
        EnvironmentProblem: If nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".shared-", dir=folder)
        os.close(descriptor)
    except OSError as error:
        raise EnvironmentProblem(
            "Nothing can be written where checkpoints are kept.",
            expected=f"a folder {folder}, through which training processes give their result",
            found=str(error),
            to_do="give the right to write there, or set tables.artifacts",
        ) from None
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # checkpoints, or those of other trainings
            folder.rmdir()
            folder.parent.rmdir()


@contextlib.contextmanager
def _laid_over(environment: Any, more: Mapping[str, str]) -> Iterator[None]:
    """Variables of an environment, for a while."""
    before = {name: environment.get(name) for name in more}
    environment.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
