"""Several processes that train together: real ones, over gloo, each on its share of the users."""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load, save

from kinsight.config import TrainConfig
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import EnvironmentProblem, IntegrityError, KinsightError
from kinsight.objectives.registry import build_objectives, fitted_objectives
from kinsight.progress import Progress
from kinsight.train import relay
from kinsight.train.checkpoint import Checkpoints, Learner
from kinsight.train.loader import SequenceLoader
from kinsight.train.loop import fit, new_learner, on_held_out, repeatable
from kinsight.train.process import Work, train_share
from kinsight.train.ranks import ALONE, Ranks, joined_ranks
from tests.histories import SIZES, random_histories, training_set
from tests.sequence_files import to_table, write_files

# The longest histories first: the shard of every other row group, and of every other user, has
# more batches than the other one.
LENGTHS = [12, 3] * 40
SETTINGS = {
    "encoder": {"name": "gru", "width": 8, "dropout": 0.0},
    "batch_tokens": 96,
    "learning_rate": 0.01,
    "holdout_share": 0.2,
    "threads": 1,
}


def settings(**more: Any) -> TrainConfig:
    return TrainConfig.model_validate(SETTINGS | more)


class Pair:
    """Two processes that work on one task after the other, joined anew for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))

    def run(self, task: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What a task returns in each of them: none can take both, for each waits for the other."""
        meeting = f"file://{self.folder}/{uuid.uuid4().hex}"
        asked = [self.pool.submit(_one_of_two, rank, meeting, task, arguments) for rank in range(2)]
        return [answer.result() for answer in asked]


def _one_of_two(rank: int, meeting: str, task: Callable[..., Any], arguments: Any) -> Any:
    torch.set_num_threads(1)
    with joined_ranks(meeting, rank, 2) as ranks:
        return task(ranks, *arguments)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    two = Pair(tmp_path_factory.mktemp("meetings"))
    with two.pool:
        yield two


def written(folder: Path, rows_a_group: int) -> list[str]:
    lengths = np.repeat(LENGTHS[:2], rows_a_group).tolist() * (40 // rows_a_group)
    return write_files(folder, [to_table(random_histories(lengths, 3))], rows_a_group)


def loaders(files: list[str], config: TrainConfig) -> list[SequenceLoader]:
    shards = (SequenceLoader.of(files, config, rank, 2) for rank in range(2))
    return [SequenceLoader.of(files, config), *shards]


@pytest.mark.parametrize("sample_users", [80, 30])
@pytest.mark.parametrize("rows_a_group", [2, 40], ids=["by row groups", "by users"])
def test_shards_hold_every_user_once(tmp_path: Path, rows_a_group: int, sample_users: int) -> None:
    files = written(tmp_path, rows_a_group)
    whole, *shards = loaders(files, settings(sample_users=sample_users))
    assert [shard.by_group for shard in shards] == [rows_a_group == 2] * 2
    assert sum(shard.rows for shard in shards) == whole.rows == 80
    assert all(shard.rows for shard in shards)
    surveys = [shard.survey() for shard in shards]
    assert sum(survey.users for survey in surveys) == whole.survey().users
    assert sum(survey.left_out for survey in surveys) == whole.survey().left_out
    assert sum(len(survey.held_out) for survey in surveys) == len(whole.survey().held_out)

    def events(loader: SequenceLoader) -> list[bytes]:
        """Each user's items: at random, so hardly two are alike."""
        batches = loader.batches(1)
        return [
            batch.item[row, : batch.length[row]].numpy().tobytes()
            for batch in batches
            for row in range(len(batch.length))
        ]

    assert sorted(events(whole)) == sorted(events(shards[0]) + events(shards[1]))


def test_a_shard_with_a_missing_row_fails(tmp_path: Path) -> None:
    shard = loaders(written(tmp_path, 2), settings())[2]
    shard.rows += 1
    with pytest.raises(IntegrityError, match="did not see every sequence"):
        shard.survey()


def counted_steps(ranks: Ranks, config: TrainConfig, files: list[str]) -> tuple[int, int, int]:
    """Steps of this rank, batches of its own, and users."""
    own = list(ranks.in_step(loaders(files, config)[1 + ranks.rank].batches(1)))
    batches = [batch for batch in own if batch is not None]
    return len(own), len(batches), sum(len(batch.length) for batch in batches)


def test_uneven_shards_take_equal_steps_and_lose_nobody(tmp_path: Path, pair: Pair) -> None:
    files = written(tmp_path / "files", 2)
    (steps, batches, users), (others, more, rest) = pair.run(counted_steps, settings(), files)
    assert batches != more
    assert steps == others == max(batches, more)
    assert users + rest == loaders(files, settings())[0].survey().users


def work_on(folder: Path, config: TrainConfig) -> Work:
    files = written(folder / "files", 2)
    whole = loaders(files, config)[0]
    survey = whole.survey()
    data = training_set(
        users=survey.users,
        users_with_order=survey.users_with_order,
        longest=survey.longest,
        batch_tokens=config.batch_tokens,
    )
    start = folder / "start"
    work = Work(
        config, 1, SIZES, data, whole.rows, files, folder / "models", {"config": "a"}, start
    )
    with repeatable(config.seed, 1):
        start.write_bytes(save(new_learner(*models(work), config).weights.state_dict()))
    return work


def trained(ranks: Ranks, work: Work) -> tuple[list[str], dict[str, torch.Tensor]]:
    """The lines of a training and what it learned."""
    console = Console(file=io.StringIO(), width=200)
    train_share(work, ranks, Progress(console))
    # Rank 0 comes here once it has written the last checkpoint, which this rank is to read.
    assert ranks.agree(1.0)
    learner = fitted_learner(work)
    checkpoints = Checkpoints(work.root, work.identity, Progress(quiet=True))
    state = checkpoints.load(learner)
    assert state is not None
    return console.file.getvalue().splitlines(), state.kept  # type: ignore[attr-defined]  # StringIO


def models(work: Work) -> Any:
    chosen = work.config.encoder
    encoder = build_encoder(chosen.name, chosen.options, SIZES, work.config.seed)
    return encoder, build_objectives(work.config.objective, encoder, work.data)


def losses(lines: list[str]) -> list[float]:
    """Loss, held-out loss and held-out reciprocal rank of each epoch."""
    words = [line.replace(",", "").split() for line in lines if "held-out" in line]
    names = ("loss", "held-out", "rank")
    return [float(line[line.index(name) + 1]) for line in words for name in names]


def test_two_processes_learn_what_one_learns_from_the_union_of_their_batches(
    tmp_path: Path,
    pair: Pair,
) -> None:
    work = work_on(tmp_path, settings(epochs=3))
    (lines, weights), (others, same) = pair.run(trained, work)
    assert losses(lines) == losses(others)
    assert all(torch.equal(value, same[name]) for name, value in weights.items())

    shards = loaders(list(work.files), work.config)[1:]

    def unions(epoch: int) -> Iterator[Batch]:
        streams = [shard.batches(epoch) for shard in shards]
        while batches := [b for b in (next(stream, None) for stream in streams) if b is not None]:
            yield Batch.of(Histories.concatenate([histories_of(batch) for batch in batches]))

    held_out = Histories.concatenate([shard.survey().held_out for shard in shards])
    console = Console(file=io.StringIO(), width=200)
    with repeatable(work.config.seed, 1):
        encoder, objectives = models(work)
        users = work.data.users
        fit(encoder, objectives, unions, users, held_out, work.config, Progress(console))
    alone = losses(console.file.getvalue().splitlines())  # type: ignore[attr-defined]  # StringIO
    assert len(alone) == 9
    assert np.allclose(losses(lines), alone, atol=2e-4)
    learned = new_learner(encoder, objectives, work.config).weights.state_dict()
    for name, value in learned.items():
        assert torch.allclose(value, weights[name], atol=1e-4), name


def test_what_objectives_hold_frozen_comes_from_the_driver(tmp_path: Path, pair: Pair) -> None:
    wanted = [
        {"name": "neighbour_contrastive", "bank_users": 30, "width": 8, "anchors": 4},
        {"name": "autoencode_frozen_basis"},
    ]
    encoder = SETTINGS["encoder"] | {"hidden": 8}  # type: ignore[operator]  # a mapping of mixed values
    work = work_on(tmp_path, settings(epochs=2, objective=wanted, encoder=encoder))
    with repeatable(work.config.seed, 1):
        learner = fitted_learner(work)
    work.start.write_bytes(save(learner.weights.state_dict()))
    (lines, weights), (others, same) = pair.run(trained, work)
    assert losses(lines) == losses(others)
    assert all(torch.equal(value, same[name]) for name, value in weights.items())
    frozen = dict(learner.weights.named_buffers())
    assert len(frozen) > 2
    for name, value in frozen.items():
        assert torch.equal(value, weights[name]), name


def fitted_learner(work: Work) -> Learner:
    encoder, objectives = models(work)
    for objective in fitted_objectives(objectives):
        objective.fit(loaders(list(work.files), work.config)[0].sample)
    return new_learner(encoder, objectives, work.config)


def histories_of(batch: Batch) -> Histories:
    present = batch.present
    columns = {
        name: getattr(batch, name)[present].numpy() for name in random_histories([1]).columns
    }
    return Histories(columns, batch.length.numpy())


def test_processes_begin_with_the_weights_they_are_given(tmp_path: Path, pair: Pair) -> None:
    chosen = {"name": "long_term_prefix", "width": 8, "frozen_width": 4, "recent_events": 3}
    still = settings(epochs=1, learning_rate=1e-9, weight_decay=0.0, encoder=chosen)
    work = work_on(tmp_path, still)
    given = {n: v + 0.5 for n, v in load(work.start.read_bytes()).items()}
    work.start.write_bytes(save(given))
    for _, weights in pair.run(trained, work):
        assert all(torch.allclose(weights[name], given[name], atol=1e-6) for name in given)
        assert any(name.endswith(".frozen") for name in weights)


def test_a_training_that_ended_early_goes_on_to_the_same_weights(
    tmp_path: Path, pair: Pair
) -> None:
    config = settings(epochs=4, encoder={"name": "gru", "width": 8, "dropout": 0.3})
    whole = work_on(tmp_path / "whole", config)
    _, undisturbed = pair.run(trained, whole)[0]
    part = dataclasses.replace(whole, root=tmp_path / "parts")
    pair.run(
        trained,
        dataclasses.replace(part, config=config.model_copy(update={"epochs": 2})),
    )
    (lines, weights), (others, _) = pair.run(trained, part)
    assert "  resuming after epoch 2 of 4" in lines
    assert "  resuming after epoch 2 of 4" in others
    assert weights.keys() == undisturbed.keys()
    assert all(torch.equal(value, undisturbed[name]) for name, value in weights.items())


def refusals(ranks: Ranks, work: Work) -> list[KinsightError]:
    """What this rank says of two mistakes that only the other one makes."""
    said = []
    blind = dataclasses.replace(work, start=work.start.with_name("absent"))
    elsewhere = dataclasses.replace(work, root=work.root.with_name("other"))
    trained(ALONE, work) if ranks.rank == 0 else None
    assert ranks.agree(1.0)
    for wrong in (blind, elsewhere):
        with pytest.raises(EnvironmentProblem) as refused:
            train_share(wrong if ranks.rank else work, ranks, Progress(quiet=True))
        said.append(refused.value)
    return said


def test_processes_that_see_other_files_refuse_all_together(tmp_path: Path, pair: Pair) -> None:
    work = work_on(tmp_path, settings(epochs=1))
    for blind, elsewhere in pair.run(refusals, work):
        assert "1 of 2 processes" in blind.found
        assert "same checkpoints" in elsewhere.problem


def gradients(ranks: Ranks) -> list[torch.Tensor | None]:
    """One parameter has gradients on both, one on rank 1, one on none."""
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    weights[0].grad = torch.full((2,), 1.0 + ranks.rank)
    if ranks.rank == 1:
        weights[1].grad = torch.full((2,), 5.0)
    ranks.add_gradients(weights)
    return [weight.grad for weight in weights]


def test_gradients_add_up_and_none_stays_none(pair: Pair) -> None:
    for both, one, none in pair.run(gradients):
        assert both.tolist() == [3.0, 3.0]
        assert one.tolist() == [5.0, 5.0]
        assert none is None


def test_alone_nothing_changes() -> None:
    before = torch.get_rng_state()
    draws = torch.Generator().manual_seed(3)
    ALONE.reseed(7, 1, draws)
    assert torch.equal(before, torch.get_rng_state())
    assert draws.initial_seed() == 3
    assert ALONE.sums([2, 0.5]) == [2, 0.5]
    config = settings()
    encoder = build_encoder("gru", config.encoder.options, SIZES, 7)
    objectives = build_objectives(config.objective, encoder, training_set())
    held_out = random_histories([5, 6, 7])
    assert on_held_out(encoder, objectives, held_out, config) == on_held_out(
        encoder, objectives, held_out, config, Ranks()
    )


def test_only_marked_lines_reach_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    speaker = relay.RelayedProgress(speaks=True)
    speaker.say("epoch 1 of 2: loss 1.5")
    speaker.warn("a checkpoint [is] damaged")
    relay.RelayedProgress(speaks=False).say("nobody hears")
    relay.send_failure(IntegrityError("Lost.", expected="2", found="1", to_do="again"), 1)
    sent = capsys.readouterr().out
    console = Console(file=io.StringIO(), width=200)
    with relay.relayed(Progress(console)) as lines:
        print("W1126 torch/distributed/run.py: noise")  # noqa: T201  # as torch prints
        print("\n".join(f"executor: {line}" for line in sent.splitlines()))  # noqa: T201  # as above
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]  # StringIO
        "  epoch 1 of 2: loss 1.5",
        "  warning: a checkpoint [is] damaged",
    ]
    assert capsys.readouterr().out == ""
    error = relay.known_error(lines.failures[0])
    assert list(lines.others) == ["W1126 torch/distributed/run.py: noise"]
    assert isinstance(error, IntegrityError)
    assert (error.problem, error.found) == ("Lost.", "1")
