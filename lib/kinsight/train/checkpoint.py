"""What training keeps after every epoch, so that a killed run goes on where it was.

A checkpoint is a folder ``epoch-0007`` with ``state.safetensors`` (weights, best weights, moments
of the optimiser, random generators) and ``state.json`` (numbers, and the checksum of the other
file): plain numbers, so that reading it runs no code. It lies under a name made of everything that
decides the weights; a run that differs in any of it begins anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from kinsight.progress import Progress

FOLDER = "_checkpoints"
WEIGHTS_FILE = "state.safetensors"
DESCRIPTION_FILE = "state.json"
FORMAT = 3
WRITTEN_APART = ("kept", "best")
"""Fields of a state that are written in another form."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What held-out users give.

    Attributes:
        loss: The weighted loss.
        reciprocal_rank: Mean reciprocal rank of the items to come; None where it does not count.
    """

    loss: float
    reciprocal_rank: float | None = None

    def is_better(self, than: HeldOut) -> bool:
        """Whether these weights are to be kept rather than others: by the rank where it counts.

        Weights whose loss is no number are never kept, and never defended.
        """
        if not (math.isfinite(self.loss) and math.isfinite(than.loss)):
            return math.isfinite(self.loss)
        if self.reciprocal_rank is None or than.reciprocal_rank is None:
            return self.loss < than.loss
        return self.reciprocal_rank > than.reciprocal_rank

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> HeldOut:
        """What a checkpoint kept of it.

        Raises:
            KeyError, ValueError, TypeError: If it is damaged.
        """
        rank = kept["reciprocal_rank"]
        return cls(float(kept["loss"]), None if rank is None else float(rank))

    def __str__(self) -> str:
        rank = self.reciprocal_rank
        ranked = "" if rank is None else f", reciprocal rank {rank:.4f}"
        return f"{self.loss:.4f}{ranked}"


@dataclasses.dataclass
class State:
    """Where training stands between two epochs.

    Attributes:
        epoch: Epochs run.
        best: What held-out users gave with the best weights.
        best_epoch: The epoch that made them; 0 for the first weights.
        kept: These weights.
        seen: Users of all epochs.
        training_seconds: Time spent on them.
    """

    epoch: int
    best: HeldOut
    best_epoch: int
    kept: dict[str, Tensor]
    seen: int = 0
    training_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Learner:
    """What changes while training: everything a checkpoint must bring back.

    Attributes:
        weights: Encoder and objectives.
        optimiser: The optimiser of their parameters.
        draws: Source of the objectives' draws.
    """

    weights: nn.Module
    optimiser: torch.optim.Optimizer
    draws: torch.Generator

    def tensors(self) -> dict[str, Tensor]:
        """All of it as flat tensors by name."""
        moments = self.optimiser.state_dict()["state"]
        return (
            {f"weights/{name}": value for name, value in self.weights.state_dict().items()}
            | {
                f"optimiser/{number}/{name}": value
                for number, values in moments.items()
                for name, value in values.items()
            }
            | {"generator/torch": torch.get_rng_state(), "generator/draws": self.draws.get_state()}
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` gave.

        Raises:
            KeyError: If something is missing.
            RuntimeError: If a tensor does not fit.
        """
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in below("optimiser/", tensors).items():
            number, _, moment = name.partition("/")
            moments.setdefault(int(number), {})[moment] = value
        self.weights.load_state_dict(below("weights/", tensors))
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(tensors["generator/torch"])
        self.draws.set_state(tensors["generator/draws"])


class Checkpoints:
    """The checkpoints of one training.

    Args:
        root: Folder of all checkpoints.
        identity: Everything that decides the weights, by name.
        progress: Where warnings go.
    """

    def __init__(self, root: Path, identity: Mapping[str, str], progress: Progress) -> None:
        self.root = root
        self.identity = dict(identity)
        text = json.dumps(self.identity, sort_keys=True)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.progress = progress

    def load(self, learner: Learner) -> State | None:
        """Bring back the newest sound checkpoint; None where there is none.

        Damaged ones are named and passed over. Those of other trainings are named, for they take
        room that nobody else frees.
        """
        others = sorted(p.name for p in self.root.glob("*") if p != self.folder)
        if others:
            self.progress.warn(
                f"{self.root} holds checkpoints of other settings or data ({', '.join(others)}); "
                "they are not used. Remove them if no other training is under way"
            )
        found = (self._sound(f, learner) for f in sorted(self.folder.glob("epoch-*"), reverse=True))
        return next((state for state in found if state is not None), None)

    def save(self, learner: Learner, state: State) -> None:
        """Keep where training stands, and drop earlier checkpoints.

        A full disk costs the checkpoint, not the training: it is told and training goes on.
        """
        kept = {f"best/{name}": value for name, value in state.kept.items()}
        tensors = {name: value.contiguous() for name, value in (learner.tensors() | kept).items()}
        weights = save(tensors)
        numbers = {f.name: getattr(state, f.name) for f in dataclasses.fields(State)}
        description = {
            "format": FORMAT,
            "identity": self.identity,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "python": random.getstate(),
            "numpy": _numpy_state(),
            "best": dataclasses.asdict(state.best),
        } | {name: value for name, value in numbers.items() if name not in WRITTEN_APART}
        target = self.folder / f"epoch-{state.epoch:04d}"
        try:
            earlier = list(self.folder.glob("*"))
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self.folder))
            (unfinished / WEIGHTS_FILE).write_bytes(weights)
            (unfinished / DESCRIPTION_FILE).write_text(json.dumps(description), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            unfinished.replace(target)
            for folder in earlier:
                if folder != target:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            self.progress.warn(f"no checkpoint of epoch {state.epoch}: {error}")

    def newest_epoch(self) -> int:
        """The epoch of the newest checkpoint, sound or not; 0 where there is none."""
        names = (folder.name.removeprefix("epoch-") for folder in self.folder.glob("epoch-*"))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def remove(self) -> None:
        """Remove the checkpoints of this training, and their root where nothing else is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()

    def _sound(self, folder: Path, learner: Learner) -> State | None:
        """Bring back one checkpoint; None, with a warning, where it is damaged."""
        fresh = {name: value.clone() for name, value in learner.tensors().items()}
        try:
            return self._read(folder, learner)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            learner.restore(fresh)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.progress.warn(f"the checkpoint {folder} is damaged and not used: {reason}")
            return None

    def _read(self, folder: Path, learner: Learner) -> State:
        """Bring back one checkpoint.

        Raises:
            OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError: If it is
                damaged.
        """
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS_FILE).read_bytes()
        if description["format"] != FORMAT or description["identity"] != self.identity:
            raise ValueError("it is of another format or training")
        if description["sha256"] != hashlib.sha256(weights).hexdigest():
            raise ValueError(f"{WEIGHTS_FILE} has another checksum")
        tensors = load(weights)
        state = State(
            epoch=int(description["epoch"]),
            best=HeldOut.read(description["best"]),
            best_epoch=int(description["best_epoch"]),
            kept=below("best/", tensors),
            seen=int(description["seen"]),
            training_seconds=float(description["training_seconds"]),
        )
        version, words, spare = description["python"]
        numpy_state = _numpy_tuple(description["numpy"])
        learner.restore(tensors)
        random.setstate((version, tuple(words), spare))
        np.random.set_state(numpy_state)  # noqa: NPY002  # the global generator, as `repeatable` seeds it
        return state


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _numpy_state() -> list[Any]:
    name, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  # as above
    return [name, np.asarray(words).tolist(), *rest]


def _numpy_tuple(state: list[Any]) -> tuple[Any, ...]:
    name, words, *rest = state
    return (name, np.asarray(words, dtype=np.uint32), *rest)
