"""Changing the layers of an encoder for one audience, with torch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from kinsight.encoders.artifact import Artifact
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.encoding import NOT_FINITE, encode_histories
from kinsight.encoders.histories import Histories, cut_by_tokens
from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.tuned_model import TunedModel
from kinsight.expand.scorers.users import Users

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
USERS_MIXED = 512
"""Users of which batches of similar lengths are made."""
TOKENS = 4_096
"""Events a batch, padding included."""
USERS_A_STEP = 64
"""Users a step at most: a few hundred seeds with short histories would make too few steps."""
DECIMALS = 5
"""Of logits: their last bits hang on the users beside."""

Layers = Mapping[str, npt.NDArray[np.float32]]

_built: dict[str, Encoder] = {}
"""An encoder of this process by checksum. Whoever takes it sets all its tunable layers."""


def tunable_layers(encoder: Encoder) -> dict[str, nn.Parameter]:
    """The weights that an audience may change: all that are learned, but for tables of tokens.

    A few hundred seeds say too little about tens of thousands of items, and a table of them a
    model would be too much to ship.
    """
    tables = {
        f"{module}.{name}".lstrip(".")
        for module, part in encoder.named_modules()
        if isinstance(part, nn.Embedding)
        for name, _ in part.named_parameters(recurse=False)
    }
    return {n: p for n, p in encoder.named_parameters() if p.requires_grad and n not in tables}


def is_tunable(model: Artifact) -> bool:
    """Whether a model has layers that an audience may change."""
    return bool(tunable_layers(model.build()))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: the number of threads decides the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def logits_of(users: Users, layers: Layers, head: npt.NDArray[np.float32]) -> FloatArray:
    """Products of the users' vectors with a head [n], the greatest over several of a user.

    Args:
        users: With a model, and a history each.
        layers: Weights of all tunable layers of the model.
        head: Coefficients [d].
    """
    model, histories = _read(users)
    encoder = _encoder(model)
    with torch.no_grad():
        for name, weights in tunable_layers(encoder).items():
            weights.copy_(torch.from_numpy(layers[name]))
    # By the hash of the id among those of one length, in whatever order they came.
    order = np.lexsort((users.order, histories.length)).astype(np.int64)
    with one_thread():
        vectors, _ = encode_histories(encoder, histories, order, TOKENS)
    found = (vectors @ torch.from_numpy(head)).amax(dim=1).double().numpy()
    return np.asarray(np.round(found, DECIMALS))


def _read(users: Users) -> tuple[Artifact, Histories]:
    """The model and the histories, where they were read."""
    if users.model is None or users.histories is None:
        raise ValueError("these users were read without histories")
    return users.model, users.histories


def _encoder(model: Artifact) -> Encoder:
    if model.sha256 not in _built:
        _built.clear()
        _built[model.sha256] = model.build()
    return _built[model.sha256]


@dataclasses.dataclass
class Tuner:
    """An encoder on its way from the date's model to an audience's.

    Attributes:
        histories: Of the users that it learns from [n], each at least one event.
        seeds: Who is a seed [n].
        encoder: A copy of the model's.
        head: Coefficients of a user vector [d].
        optimiser: Of layers and head.
        draws: Of batches and of dropout.
    """

    histories: Histories
    seeds: BoolArray
    encoder: Encoder
    head: nn.Parameter
    optimiser: torch.optim.Optimizer
    draws: np.random.Generator

    @classmethod
    def start(cls, users: Users, seeds: BoolArray, head: FloatArray) -> Tuner:
        """Begin with the model's layers and a head that fits its vectors.

        A head that fits nothing yet would pull the layers out of their place before it does
        (Kumar et al., "Fine-tuning can distort pretrained features", arXiv 2202.10054, section 3).

        Args:
            users: Who is learned from, with histories and a model [n].
            seeds: Who of them is a seed [n].
            head: Coefficients of a user vector [d].
        """
        model, histories = _read(users)
        encoder = model.build()
        learned = nn.Parameter(torch.from_numpy(head.astype(np.float32)))
        layers = tunable_layers(encoder)
        for name, weights in encoder.named_parameters():
            weights.requires_grad_(name in layers)
        optimiser = torch.optim.AdamW(
            [*layers.values(), learned], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        histories = histories.latest(encoder.latest_events)
        return cls(histories, seeds, encoder, learned, optimiser, np.random.default_rng(0))

    def epoch(self) -> None:
        """Learn from every user once: seeds together weigh as much as the others together.

        Raises:
            ArithmeticError: If the loss is no number.
        """
        weight = np.where(self.seeds, 0.5 / self.seeds.sum(), 0.5 / (~self.seeds).sum())
        weight = weight * len(self.seeds)
        with one_thread(), torch.random.fork_rng(devices=[]):
            # For dropout; numpy's generator goes on from epoch to epoch.
            torch.manual_seed(int(self.draws.integers(2**31)))
            self.encoder.train()
            for rows in self._batches():
                state = self.encoder.encode(Batch.of(self.histories.take(rows)))
                logits = (self.encoder.read(state) @ self.head).amax(dim=1)
                losses = binary_cross_entropy_with_logits(
                    logits, torch.from_numpy(self.seeds[rows].astype(np.float32)), reduction="none"
                )
                # Over the room of a step and not its users: batches of long histories are small.
                weighted = losses * torch.from_numpy(weight[rows].astype(np.float32))
                loss = weighted.sum() / USERS_A_STEP
                if not torch.isfinite(loss):
                    raise ArithmeticError(NOT_FINITE)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                learned = self.optimiser.param_groups[0]["params"]
                torch.nn.utils.clip_grad_norm_(learned, GRADIENT_NORM)
                self.optimiser.step()
        self.encoder.eval()

    def model(self) -> TunedModel:
        """What is learned so far, not standardised."""
        layers = tunable_layers(self.encoder)
        found = {name: weights.detach().numpy().copy() for name, weights in layers.items()}
        return TunedModel(found, self.head.detach().numpy().copy())

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Row numbers of batches, drawn anew in every epoch."""
        drawn = self.draws.permutation(len(self.seeds))
        batches: list[npt.NDArray[np.int64]] = []
        for begin in range(0, len(drawn), USERS_MIXED):
            some = drawn[begin : begin + USERS_MIXED]
            some = some[np.argsort(self.histories.length[some], kind="stable")]
            for part in cut_by_tokens(self.histories.length[some], TOKENS):
                steps = -(-(part.stop - part.start) // USERS_A_STEP)
                batches += np.array_split(some[part], steps)
        for place in self.draws.permutation(len(batches)):
            yield batches[place]
