"""What the processes of one training tell each other; nothing where there is only one.

The processes are called ranks, as torch calls them: rank 0 of 2, rank 1 of 2. Every rank calls the
same methods in the same order; a rank that is missing makes the others fail, not wait for ever.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import distributed, nn

from kinsight.encoders.batch import Batch

TIMEOUT = dt.timedelta(minutes=10)
"""How long a rank waits for the others before it fails: longer than one takes to count its share
of the table, to write a checkpoint or to begin. Of one that died the others hear at once."""


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are. With one, every method returns what it was given.
    """

    rank: int = 0
    count: int = 1

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum over the ranks of each number; the same on all of them, to the last bit."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(numbers)
        return [float(number) for number in numbers]

    def agree(self, number: float) -> bool:
        """Whether all ranks hold the same number."""
        if self.count == 1:
            return True
        ends = torch.tensor([number, -number], dtype=torch.float64)
        distributed.all_reduce(ends, op=distributed.ReduceOp.MAX)
        return bool(ends[0] == -ends[1])

    def in_step(self, batches: Iterator[Batch]) -> Iterator[Batch | None]:
        """The batches of this rank, and None for as long as any other still has one.

        So every rank takes as many steps as the one with most batches, and no batch is left out:
        shards are never quite equal, and a rank that ended its epoch alone would leave the others
        waiting for its gradients.
        """
        while True:
            batch = next(batches, None)
            if not self.sums([float(batch is not None)])[0]:
                return
            yield batch

    def add_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Give all ranks the sum of their gradients.

        A rank without a gradient adds nothing to it. A parameter without one on any rank stays
        without, so that the optimiser passes it over as it would in one process.
        """
        if self.count == 1:
            return
        has = torch.tensor([float(weight.grad is not None) for weight in weights])
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        flat = torch.cat([has, *(part.detach().flatten() for part in parts)])
        distributed.all_reduce(flat)
        sizes = [len(has), *(weight.numel() for weight in weights)]
        anywhere, *sums = torch.split(flat, sizes)
        for found, weight, total in zip(anywhere, weights, sums, strict=True):
            weight.grad = total.view_as(weight).clone() if found else None

    def reseed(self, seed: int, epoch: int, draws: torch.Generator) -> None:
        """Give this rank draws of its own for an epoch; one process goes on with those it has.

        They follow from seed, epoch and rank alone: a checkpoint of rank 0 brings back all ranks.

        Args:
            seed: Seed of the training.
            epoch: Its number, from 1.
            draws: Source of the objectives' draws.
        """
        if self.count == 1:
            return
        words = np.random.SeedSequence([seed, epoch, self.rank]).generate_state(4)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))  # noqa: NPY002  # for what libraries draw from it
        torch.manual_seed(int(words[2]))
        draws.manual_seed(int(words[3]))


ALONE = Ranks()
"""The one process of a training in the driver."""


@contextmanager
def joined_ranks(init_method: str = "env://", rank: int = -1, count: int = -1) -> Iterator[Ranks]:
    """Meet the other ranks, over gloo; part from them at the end.

    Args:
        init_method: How they find each other; by default as torchrun's environment says.
        rank: This process, where the environment does not say.
        count: How many there are, likewise.
    """
    distributed.init_process_group(
        "gloo", init_method=init_method, timeout=TIMEOUT, rank=rank, world_size=count
    )
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
