"""Reading sequences through petastorm: nothing lost, nothing doubled, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.encoders.histories import COLUMNS, INDEX_FIELDS, ranges
from kinsight.errors import ConfigError, IntegrityError
from kinsight.hashing import hash_fractions
from kinsight.train import loader as loader_module
from kinsight.train.files import readable_url
from kinsight.train.loader import SequenceLoader
from kinsight.train.pages import PAGE, from_pages, to_pages
from tests.histories import random_histories
from tests.sequence_files import to_table, write_files

LENGTHS = [1, 2, 3, 3, 5, 8, 13, 21, 4, 6] * 12


def make(files: list[str], **settings: object) -> SequenceLoader:
    defaults = {"minimum_length": 3, "held_out_share": 0.2, "seed": 7, "batch_tokens": 64}
    defaults["sample_users"] = 1_000_000
    return SequenceLoader(files, **(defaults | settings))  # type: ignore[arg-type]  # of mixed types


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("with space") / "and%20percent ü"
    histories = random_histories(LENGTHS)
    tables = [
        to_table(histories.take(np.arange(begin, begin + 40)), begin) for begin in (0, 40, 80)
    ]
    return write_files(folder, tables, rows_a_group=15)


@settings(deadline=None)  # timing depends on the machine
@given(st.lists(st.integers(1, 9_000), max_size=6))
def test_what_is_laid_on_pages_comes_back(lengths: list[int]) -> None:
    histories = random_histories(lengths)
    held_out = np.arange(len(lengths)) % 2 == 0
    place = ranges(np.zeros_like(histories.length), histories.length)
    rows = [histories.columns[name] for name in INDEX_FIELDS]
    events = np.repeat(held_out, histories.length)
    frame = to_pages(np.stack([*rows, place, events]), histories.columns["seconds"])
    assert len(frame) == max(1, -(-sum(lengths) // PAGE))
    again, split = from_pages(np.vstack(frame["indices"]), np.vstack(frame["times"]))
    assert again.length.tolist() == lengths
    assert split.tolist() == held_out.tolist()
    for name in COLUMNS:
        assert np.array_equal(again.columns[name], histories.columns[name])
        assert again.columns[name].dtype == histories.columns[name].dtype


def test_every_long_enough_user_is_trained_on_or_held_out_once(files: list[str]) -> None:
    loader = make(files)
    survey = loader.survey()
    held_out = hash_fractions([f"u{i:07d}" for i in range(120)], "held-out:7") < 0.2
    long = np.array(LENGTHS) >= 3
    assert loader.rows == 120
    assert survey.short == int((~long).sum())
    assert survey.users == int((long & ~held_out).sum())
    assert sorted(survey.held_out.length) == sorted(np.array(LENGTHS)[long & held_out])
    trained = [int(n) for batch in loader.batches(1) for n in batch.length]
    assert sorted(trained) == sorted(np.array(LENGTHS)[long & ~held_out])


def test_a_sample_is_trained_on_and_the_rest_counted(files: list[str]) -> None:
    loader = make(files, sample_users=30)
    survey, everybody = loader.survey(), make(files).survey()
    long = np.array(LENGTHS) >= 3
    draws = hash_fractions([f"u{i:07d}" for i in range(120)], "held-out:7")
    sampled = np.array(LENGTHS)[long & (draws >= 0.2) & (draws < 0.2 + 30 / long.sum())]
    assert survey.users == len(sampled)
    assert survey.users + survey.left_out == everybody.users
    assert (survey.short, len(survey.held_out)) == (everybody.short, len(everybody.held_out))
    trained = [int(n) for batch in loader.batches(1) for n in batch.length]
    assert sorted(trained) == sorted(sampled)


def test_a_draw_on_the_border_of_the_sample_is_counted_as_it_is_trained_on(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hash has one bit more than a draw: half a unit below the border, or on it.
    loader = make(files, held_out_share=0.0, sample_users=60)
    border = np.floor(loader._share(60) * loader_module.DRAWS)
    for above in (0.0, 0.5):
        monkeypatch.setattr(
            loader_module,
            "hash_fractions",
            lambda ids, _, draw=border + above: np.full(len(ids), draw / loader_module.DRAWS),
        )
        trained = sum(len(batch.length) for batch in loader.batches(1))
        assert trained == loader.survey().users


def test_events_arrive_as_they_were_written(files: list[str]) -> None:
    loader = make(files, minimum_length=1, held_out_share=1.0)
    held_out = loader.survey().held_out  # in the order of the files, for nothing is shuffled
    original = random_histories(LENGTHS)
    for name in COLUMNS:
        assert np.array_equal(held_out.columns[name], original.columns[name])


def test_epochs_differ_and_equal_epochs_are_equal(files: list[str]) -> None:
    def items(epoch: int) -> list[list[list[int]]]:
        return [batch.item.tolist() for batch in make(files).batches(epoch)]

    assert items(1) == items(1)
    assert items(1) != items(2)
    assert sorted(len(row) for b in items(1) for row in b) != []


def test_batches_keep_to_the_budget(files: list[str]) -> None:
    for batch in make(files).batches(1):
        assert batch.item.numel() <= 64
        assert int(batch.length.max()) == batch.item.shape[1]


def test_a_small_shuffle_buffer_loses_nobody(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "SHUFFLE_USERS", 20)
    loader = make(files)
    assert sum(len(b.length) for b in loader.batches(3)) == loader.survey().users


def test_an_epoch_with_a_missing_row_fails(files: list[str]) -> None:
    loader = make(files)
    loader.rows += 1
    with pytest.raises(IntegrityError) as failed:
        list(loader.batches(1))
    assert "121 rows" in failed.value.expected
    assert "120 rows" in failed.value.found


def test_held_out_users_are_a_sample_of_stated_size(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "HELD_OUT_USERS", 12)
    assert make(files, held_out_share=0.5).held_out_share == 0.1


def test_files_are_read_by_part_number(files: list[str]) -> None:
    names = [Path(url).name for url in make(files).urls]
    assert [name[:10] for name in names] == ["part-00000", "part-00001", "part-00002"]


def test_a_missing_file_is_named(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        make([*files, f"file://{tmp_path}/part-00009-none.parquet"])


def test_a_path_that_would_be_cut_off_is_refused() -> None:
    with pytest.raises(ConfigError, match="petastorm cannot read"):
        readable_url("file:/tables/a#b/part-00000.parquet")


PEAK = """
import json, resource, sys
from kinsight.train.loader import SequenceLoader
loader = SequenceLoader(json.loads(sys.argv[1]), 3, 0.1, 10**6, 7, 8192)
users = loader.survey().users + sum(len(b.length) for b in loader.batches(1))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"users": users, "mib": peak}))
"""


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    # Row groups of 20,000 users: 10 of them, then 100.
    rng = np.random.default_rng(1)
    lengths = rng.lognormal(np.log(6), 1.4, 20_000).astype(int).clip(1, 500).tolist()
    histories = random_histories(lengths)
    peak = {}
    for groups in (10, 100):
        tables = [to_table(histories, number * len(histories)) for number in range(groups)]
        names = write_files(tmp_path / str(groups), tables, rows_a_group=20_000)
        run = [sys.executable, "-c", PEAK, json.dumps(names)]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        peak[groups] = json.loads(done.stdout.splitlines()[-1])
    assert peak[100]["mib"] < 1.25 * peak[10]["mib"]
