"""Training over real files: every encoder with every objective, and taking up a killed run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save

from kinsight.config import TrainConfig
from kinsight.encoders.base import Encoder, FittedEncoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.registry import ENCODERS, build_encoder
from kinsight.errors import ConfigError
from kinsight.objectives.registry import OBJECTIVES, check_choices
from kinsight.progress import Progress
from kinsight.train import loop
from kinsight.train.checkpoint import Checkpoints, HeldOut
from kinsight.train.loader import SequenceLoader
from kinsight.train.training import Trained, Vocabulary, learn_here, train_encoder
from tests.histories import SIZES, random_histories, training_set
from tests.sequence_files import to_table, write_files

USERS = 60
NARROW = {
    name: {"hidden": 8}
    for name, kind in ENCODERS.items()
    if "hidden" in kind.options_type.model_fields
}
"""Options of encoders whose user vector is wider than 28 items can span."""
PAIRS = [(encoder, objective) for encoder in ENCODERS for objective in OBJECTIVES]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    lengths = np.random.default_rng(1).integers(3, 16, USERS).tolist()
    tables = [to_table(random_histories(lengths, 2))]
    return write_files(tmp_path_factory.mktemp("sequences"), tables, rows_a_group=25)


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200)


def settings(encoder: str, objectives: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    chosen = {} if objectives is None else {"objective": objectives}
    small = {"name": encoder, "width": 8} | NARROW.get(encoder, {})
    basics = {"epochs": 1, "batch_tokens": 256, "minimum_users": 20, "threads": 1}
    return TrainConfig.model_validate({"encoder": small} | basics | chosen | more)


def run(
    config: TrainConfig,
    files: list[str],
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Trained:
    check_choices(config)
    known = training_set()
    vocabulary = Vocabulary("v1", SIZES, known.item_frequency, known.type_frequency, known.purchase)
    loader = SequenceLoader(files, 3, 0.2, config.sample_users, config.seed, config.batch_tokens)
    quiet = progress or Progress(quiet=True)
    survey = loader.survey()
    learn = learn_here(config, loader, survey, quiet, checkpoints)
    return train_encoder(config, vocabulary, loader, survey, quiet, learn)


def digest(encoder: Encoder) -> str:
    return hashlib.sha256(save(dict(encoder.state_dict()))).hexdigest()


@pytest.mark.parametrize(("encoder", "objective"), PAIRS)
def test_every_encoder_goes_with_every_objective_or_is_refused(
    encoder: str, objective: str, files: list[str]
) -> None:
    beside = [name for name in ("next_item", "contrastive_views") if name != objective]
    config = settings(encoder, [{"name": name} for name in (objective, *beside)])
    if not ENCODERS[encoder].learns:
        with pytest.raises(ConfigError, match="is not trained") as refused:
            check_choices(config)
        assert objective in refused.value.found
        return
    trained = run(config, files)
    fresh = build_encoder(encoder, config.encoder.options, SIZES, config.seed)
    assert np.isfinite(trained.measures["held_out_loss"])
    assert {"hit_rate_10", "view_recall_1"} <= trained.measures.keys()
    assert trained.measures["epochs"] >= 1
    learned = digest(trained.encoder) != digest(fresh)
    # The first weights are kept where no epoch did better on the few held-out users; those of a
    # fitted encoder are not the fresh ones.
    fitted = isinstance(trained.encoder, FittedEncoder)
    assert learned == (fitted or trained.measures["best_epoch"] > 0)
    for name, weight in trained.encoder.named_parameters():
        assert torch.isfinite(weight).all(), name


def test_weights_are_better_by_rank_where_it_counts_and_never_without_a_loss() -> None:
    first = HeldOut(2.0, 0.1)
    assert HeldOut(2.5, 0.2).is_better(first)
    assert not HeldOut(1.5, 0.05).is_better(first)
    assert HeldOut(1.5).is_better(HeldOut(2.0))
    assert not HeldOut(float("nan"), 1.0).is_better(first)
    assert first.is_better(HeldOut(float("nan"), 1.0))


@pytest.mark.parametrize(("stop_by", "best"), [("ranking", 3), ("loss", 1)])
def test_training_keeps_the_epoch_that_ranks_best_or_has_the_least_loss(
    stop_by: str, best: int, monkeypatch: pytest.MonkeyPatch, files: list[str]
) -> None:
    told = iter([(3.0, 0.1), (1.0, 0.2), (2.0, 0.3), (2.0, 0.4), (2.5, 0.2)])

    def scripted(*parts: Any) -> HeldOut:
        loss, rank = next(told)
        return HeldOut(loss, rank if parts[3].stop_by == "ranking" else None)

    monkeypatch.setattr(loop, "on_held_out", scripted)
    found = run(settings("gru", epochs=4, patience=4, stop_by=stop_by), files).measures
    assert found["best_epoch"] == best
    assert found.get("held_out_reciprocal_rank") == (0.4 if stop_by == "ranking" else None)


def test_the_weightiest_objective_that_predicts_items_ranks(files: list[str]) -> None:
    def ranked(*objectives: dict[str, Any], **more: Any) -> float | None:
        found = run(settings("gru", list(objectives), epochs=0, **more), files).measures
        return found.get("held_out_reciprocal_rank")

    heavy, light = {"name": "next_item", "weight": 2}, {"name": "autoencode_frozen_basis"}
    assert ranked(light, heavy) == ranked({"name": "next_item"})
    assert ranked(light) != ranked(heavy)
    assert ranked({"name": "contrastive_views"}) is None
    assert ranked(heavy, stop_by="loss") is None


def test_measures_that_two_objectives_share_stand_side_by_side(files: list[str]) -> None:
    found = run(settings("gru", [{"name": "next_item"}, {"name": "type_then_item"}]), files)
    assert {"hit_rate_10", "type_then_item_hit_rate_10"} <= found.measures.keys()


@pytest.mark.parametrize("encoder", [name for name, kind in ENCODERS.items() if not kind.learns])
def test_an_encoder_that_does_not_learn_passes_over_the_default_objective(
    encoder: str, files: list[str]
) -> None:
    trained = run(settings(encoder), files)
    assert trained.measures["epochs"] == 0.0
    fitted = isinstance(trained.encoder, FittedEncoder)
    assert (trained.users > 0) == fitted
    assert digest(trained.encoder) == digest(run(settings(encoder), files).encoder)


def test_item_vectors_are_fitted_on_training_users_alone(files: list[str]) -> None:
    loader = SequenceLoader(files, 3, 0.2, 1_000, 7, 256)
    survey = loader.survey()
    sampled = sum(len(histories) for histories in loader.sample(100_000))
    assert sampled == survey.users == USERS - len(survey.held_out)
    few = sum(len(histories) for histories in loader.sample(USERS // 4))
    assert 0 < few < USERS // 2


def test_an_objective_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        check_choices(settings("gru", [{"name": "next_item"}, {"name": "next_item"}]))


LONG = {
    "transformer": [{"name": "next_item", "full_softmax_items": 0, "negatives": 16}],
    "gru": [
        {"name": "type_then_item"},
        {"name": "contrastive_views", "weight": 0.3},
        {"name": "neighbour_contrastive", "weight": 0.1, "bank_users": 30, "width": 8},
    ],
}


def killed(
    config: TrainConfig, files: list[str], checkpoints: Checkpoints, monkeypatch: Any
) -> None:
    """Run until the second batch of the third epoch."""
    batches = SequenceLoader.batches

    def until(loader: SequenceLoader, epoch: int) -> Iterator[Batch]:
        for number, batch in enumerate(batches(loader, epoch)):
            if epoch == 3 and number == 1:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(SequenceLoader, "batches", until)
        with pytest.raises(KeyboardInterrupt):
            run(config, files, checkpoints)


@pytest.mark.parametrize("encoder", LONG)
def test_a_killed_training_goes_on_to_the_weights_of_an_undisturbed_one(
    encoder: str,
    files: list[str],
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings(encoder, LONG[encoder], epochs=5, patience=5)
    progress = Progress(console)
    kept = Checkpoints(tmp_path, {"config": "a"}, progress)
    killed(config, files, kept, monkeypatch)
    assert [p.name for p in kept.folder.iterdir()] == ["epoch-0002"]
    torch.manual_seed(99)  # another process has other generators
    np.random.seed(99)  # noqa: NPY002  # the global generator is what is tested
    resumed = run(config, files, kept, progress)
    undisturbed = run(config, files)
    assert "resuming after epoch 2 of 5" in console.export_text()
    assert digest(resumed.encoder) == digest(undisturbed.encoder)
    assert resumed.measures == undisturbed.measures
    again = run(config, files, kept, progress)  # killed after training: nothing is trained again
    assert "resuming after epoch 5 of 5" in console.export_text()
    assert digest(again.encoder) == digest(undisturbed.encoder)
    kept.remove()
    assert not tmp_path.exists() or not any(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["weights", "description", "other training"])
def test_damaged_and_foreign_checkpoints_are_named_and_not_used(
    damage: str,
    files: list[str],
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings("transformer", epochs=3)
    progress = Progress(console)
    kept = Checkpoints(tmp_path, {"config": "a"}, progress)
    killed(config, files, kept, monkeypatch)
    [folder] = kept.folder.iterdir()
    if damage == "weights":
        file = folder / "state.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    elif damage == "description":
        (folder / "state.json").write_text(json.dumps({"format": 1}))
    else:
        kept = Checkpoints(tmp_path, {"config": "b"}, progress)
    trained = run(config, files, kept, progress)
    said = console.export_text()
    assert "resuming" not in said
    assert ("other settings or data" if damage == "other training" else "damaged") in said
    assert digest(trained.encoder) == digest(run(config, files).encoder)


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    files: list[str], tmp_path: Path, console: Console
) -> None:
    (tmp_path / "file").write_text("no folder")
    blocked = Checkpoints(tmp_path / "file" / "below", {"config": "a"}, Progress(console))
    trained = run(settings("gru"), files, blocked)
    assert trained.measures["epochs"] == 1.0
    assert "no checkpoint of epoch 1" in console.export_text()
