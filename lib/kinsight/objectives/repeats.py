"""How much likelier an item comes that the user has met before.

Source: Ren et al., "RepeatNet" (AAAI 2019, arXiv 1812.02646): people repeat and explore, and a
model that can only say "that one again" by products of vectors repeats too little. RepeatNet learns
two distributions and a gate between them; here both are parts of one softmax. Item j gets, on top
of its score for the vector h,

    (g + w · h) log(1 + sum over events k with item j of exp(a[type of k] + b[age of k]))

the age of an event being the number of distinct times since, in powers of two. All of g, w and a
begin at zero, so training begins at the plain softmax; b begins at the logarithm of 1 / age, as
what was met lately is likeliest to come again (Anderson et al., "The Dynamics of Repeat
Consumption", 2014). Where nobody repeats, g turns negative.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN, known_tokens

AGES = 10
"""Buckets of ages: the latest distinct time, the two before it, the four before these and so on."""
SCALE = 10.0
"""Of g, a and b: an optimiser moves a parameter by about the learning rate a step, and these few
have to go by units where those of vectors go by hundredths."""
WEIGHT_AT_MOST = 20.0
"""Logarithm of it; no sum of a thousand events overflows."""


@dataclasses.dataclass(frozen=True)
class Met:
    """The distinct known items of N histories, U in all, and how each was met.

    Attributes:
        row: Which of the N histories, [U].
        item: The item, [U].
        place: Place of its latest event in the batch, [U].
        of_event: Which of the U each of E events belongs to, [E].
        event_type: Type of each event, [E].
        age: Bucket of each event's age, [E].
        items: Items of the batch, [B, L].
        users: Rows of the batch that the histories are of, [N].
    """

    row: Tensor
    item: Tensor
    place: Tensor
    of_event: Tensor
    event_type: Tensor
    age: Tensor
    items: Tensor
    users: Tensor

    def products(self, vectors: Tensor, table: Tensor) -> Tensor:
        """The product of each history's vector with each of its items.

        By one matrix product a user: gathered pair by pair they would not fit into memory.

        Args:
            vectors: [N, D].
            table: Item vectors, [items, D].

        Returns:
            [U].
        """
        distinct, own, histories = torch.unique(self.users, return_inverse=True, return_counts=True)
        order = own.argsort(stable=True)
        slot = torch.empty_like(own)
        slot[order] = torch.arange(len(own)) - (histories.cumsum(0) - histories)[own[order]]
        every = vectors.new_zeros(len(distinct), int(histories.max()), vectors.shape[1])
        every = every.index_put((own, slot), vectors)
        pairs = every @ table[known_tokens(self.items[distinct], len(table))].mT
        return pairs[own[self.row], slot[self.row], self.place]


def met_before(batch: Batch, users: Tensor, places: Tensor, items: int) -> Met:
    """What users had met strictly before some of their events.

    Args:
        batch: B histories of L events.
        users: Rows of the events, [N].
        places: Their places, [N].
        items: Size of the catalogue.
    """
    return _met(batch, users, batch.group[users, places], items)


def met_so_far(batch: Batch, items: int) -> Met:
    """All that each user of a batch has met."""
    users = torch.arange(len(batch.length))
    return _met(batch, users, batch.group[:, -1] + 1, items)


def _met(batch: Batch, users: Tensor, now: Tensor, items: int) -> Met:
    """What users had met before their distinct times of some ranks, [N]."""
    item, group = batch.item[users], batch.group[users]
    known = batch.present[users] & (group < now[:, None]) & (item > UNKNOWN) & (item < items)
    row, place = torch.nonzero(known, as_tuple=True)
    found, of_event = torch.unique(row * items + item[row, place], return_inverse=True)
    latest = torch.zeros_like(found).scatter_reduce(0, of_event, place, "amax")
    age = (now[row] - group[row, place]).log2().floor().long().clamp(max=AGES - 1)
    kind = batch.event_type[users][row, place]
    return Met(found // items, found % items, latest, of_event, kind, age, batch.item, users)


class Pull(NamedTuple):
    """What items that were met before get on top of their scores.

    Attributes:
        met: The items, U in all.
        value: What each gets, [U].
    """

    met: Met
    value: Tensor

    def added_to(self, scores: Tensor) -> Tensor:
        """Scores of all items, [N, items], changed in place."""
        return scores.index_put_((self.met.row, self.met.item), self.value, accumulate=True)


class Repeats(nn.Module):
    """The pull; see the module.

    Args:
        width: Width D of the vectors that predict.
        types: Size of the vocabulary of event types.
        questions: Kinds of targets that have a and b of their own.
    """

    def __init__(self, width: int, types: int, questions: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(questions, 1))
        self.gain_of_vector = nn.Parameter(torch.zeros(width))
        self.of_type = nn.Parameter(torch.zeros(questions * types, 1))
        by_age = -math.log(2) / SCALE * torch.arange(AGES)
        self.of_age = nn.Parameter(by_age.repeat(questions)[:, None])
        self.types = types

    def pull(self, vectors: Tensor, met: Met, question: Tensor | None = None) -> Pull:
        """What each item that was met gets on top of its score.

        Args:
            vectors: What predicts, [N, D].
            met: What was met by then.
            question: Kind of each target, [N]; the first by default.
        """
        asked = torch.zeros(len(vectors), dtype=torch.int64) if question is None else question
        of_event = asked[met.row][met.of_event]
        kind = of_event * self.types + known_tokens(met.event_type, self.types)
        age = of_event * AGES + met.age
        weight = F.embedding(kind, self.of_type) + F.embedding(age, self.of_age)
        weight = (SCALE * weight[:, 0]).clamp(max=WEIGHT_AT_MOST).exp()
        total = weight.new_zeros(len(met.row)).index_add(0, met.of_event, weight)
        gain = SCALE * F.embedding(asked, self.gain)[:, 0] + vectors @ self.gain_of_vector
        return Pull(met, gain[met.row] * total.log1p())
