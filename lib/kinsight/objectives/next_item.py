"""Predict an item that the user met strictly later.

Source: Kang and McAuley, SASRec, 2018 (every position is trained); the correction of sampled
scores by log Q is that of Bengio and Senecal, 2008, as in Yi et al., "Sampling-Bias-Corrected
Neural Modeling for Large Corpus Item Recommendations", 2019.

What predicts is the user vector itself. A causal encoder gives it as it was after each event, and
each predicts an item of the next distinct time: events of one time have no order, so one is never
the target of another. The n-th event of a basket is given the n-th item of the next basket, counted
round, so that all its items serve as targets. Other encoders see the history up to a random time,
and the user vector predicts the items of the time that follows.

Loss of a vector h with target t: -log softmax over items j of h·E_j + b_j, where E is the encoder's
own item table (tied; a wider h is projected first) and b_j, learned, begins at the log of the
item's share of all events: what everybody buys is known from the start, and vectors are left to
tell where users differ. Over all items where the catalogue is small; else over t and n_b items
drawn from the batch's targets and n_u drawn uniformly, those equal to t left out. The score of a
drawn item j is corrected by -log(n_b p_j + n_u / items), p_j being its share of all events; t is
there anyway and keeps its own, so that the sum over the sample estimates the sum over the
catalogue.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories
from kinsight.errors import RefusedError
from kinsight.objectives.base import Loss, Objective, TrainingSet
from kinsight.objectives.ranking import next_item_measures

SCORES_AT_MOST = 2**24
"""Scores in memory at once (64 MiB of float32, several times over with gradients): where targets
times candidates would exceed it, so many targets are drawn."""


class NextItemOptions(Settings):
    """Options of `next_item`."""

    full_softmax_items: int = Field(
        20_000, ge=0, description="Catalogues up to this size are scored whole."
    )
    negatives: int = Field(
        1_024, ge=2, description="Candidates a batch otherwise: half its targets, half uniform."
    )


class NextItem(Objective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Frequencies of items, for the correction.
        options: Sizes.
    """

    options_type: ClassVar[type[Settings]] = NextItemOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: NextItemOptions) -> None:
        super().__init__(encoder, data, options)
        self.items = len(data.item_frequency)
        self.full = self.items <= options.full_softmax_items
        self.from_batch = options.negatives // 2
        self.uniform = options.negatives - self.from_batch
        share = data.item_frequency / data.item_frequency.sum()
        expected = self.from_batch * share + self.uniform / (self.items - UNKNOWN - 1)
        self.frequency = data.item_frequency
        self.log_expected = expected.log().float()
        # An item that the window does not hold counts as met half a time.
        floor = 0.5 / float(data.item_frequency.sum())
        self.bias = nn.Parameter(share.clamp(min=floor).log().float())
        width = encoder.item_vectors().shape[1]
        self.project: nn.Module = (
            nn.Identity() if encoder.dimension == width else nn.Linear(encoder.dimension, width)
        )

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse a catalogue of one item, and histories without any order.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        items = int((data.item_frequency > 0).sum())
        other = "use `train.encoder: {name: random}`, which needs no training"
        if items < 2:
            raise RefusedError(
                "There is no next item to predict: the catalogue is too small.",
                expected="at least 2 items in the vocabulary",
                found=f"{items}",
                to_do=f"lower sequence.minimum_token_users, or {other}",
            )
        if data.users_with_order == 0:
            raise RefusedError(
                "There is no next item to predict: every user's events bear one time.",
                expected="users with events at two or more distinct times",
                found=f"0 of {data.users} users",
                to_do=f"check the column mapped to event_time, or {other}",
            )

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch."""
        pairs = self._at_events if encoder.reads_at_events else self._at_a_random_time
        vectors, target = pairs(encoder, batch, draws)
        # Unknown items, and those of a later vocabulary version, cannot be told apart.
        known = torch.nonzero((target > UNKNOWN) & (target < self.items))[:, 0]
        candidates = self.items if self.full else self.from_batch + self.uniform
        most = max(1, SCORES_AT_MOST // candidates)
        if len(known) > most:
            known = known[torch.randperm(len(known), generator=draws)[:most]]
        vectors, target = vectors[known], target[known]
        if not len(target):
            return Loss(vectors.sum(), 0)
        score = self._all_scores if self.full else self._sampled_scores
        return Loss(score(encoder.item_vectors(), vectors, target, draws), len(target))

    def predict(self, encoder: Encoder, batch: Batch) -> Tensor:
        """The vector whose products with the item vectors tell what comes next, [B, D]."""
        vector: Tensor = self.project(encoder.read(encoder.encode(batch))[:, 0])
        return vector

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """Hit rate and recall at 10 for the latest time of held-out users; see ``ranking``."""
        return next_item_measures(
            lambda batch: self.predict(encoder, batch) @ encoder.item_vectors().T + self.bias,
            self.frequency,
            held_out,
            tokens,
        )

    def _at_events(
        self, encoder: Encoder, batch: Batch, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Vectors after each event and the item each is to predict, [N, D] and [N]."""
        del draws
        place = next_places(batch)
        users, events = torch.nonzero(place >= 0, as_tuple=True)
        vectors = encoder.read_at_events(encoder.encode(batch))[users, events]
        return self.project(vectors), batch.item[users, place[users, events]]

    def _at_a_random_time(
        self, encoder: Encoder, batch: Batch, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Vectors of users at a random time and the items that follow, [N, D] and [N]."""
        past, following = split_at_random_time(batch, draws)
        users, events = torch.nonzero(following, as_tuple=True)
        return self.predict(encoder, past)[users], batch.item[users, events]

    def _all_scores(
        self, items: Tensor, vectors: Tensor, target: Tensor, draws: torch.Generator
    ) -> Tensor:
        """Summed cross-entropy over the whole catalogue."""
        del draws
        scores = vectors @ items[UNKNOWN + 1 :].T + self.bias[UNKNOWN + 1 :]
        return F.cross_entropy(scores, target - UNKNOWN - 1, reduction="sum")

    def _sampled_scores(
        self, items: Tensor, vectors: Tensor, target: Tensor, draws: torch.Generator
    ) -> Tensor:
        """Summed cross-entropy over the target and a sample of the catalogue."""
        near = target[torch.randint(len(target), (self.from_batch,), generator=draws)]
        far = torch.randint(UNKNOWN + 1, self.items, (self.uniform,), generator=draws)
        drawn = torch.cat([near, far])
        right = (vectors * items[target]).sum(1) + self.bias[target]
        wrong = vectors @ items[drawn].T + self.bias[drawn] - self.log_expected[drawn]
        wrong = wrong.masked_fill(drawn == target[:, None], -torch.inf)
        scores = torch.cat([right[:, None], wrong], dim=1)
        return (scores.logsumexp(1) - right).sum()


def next_places(batch: Batch) -> Tensor:
    """For each event the place of its target: an event of the next distinct time.

    Returns:
        [B, L], int64; -1 where nothing follows.
    """
    width = batch.item.shape[1]
    begin = batch.next_group_start
    end = batch.next_group_start.gather(1, begin.clamp(max=width - 1))
    rank = torch.arange(width) - batch.group_start
    place = begin + rank % (end - begin).clamp(min=1)
    return torch.where(batch.present & (begin < batch.length[:, None]), place, -1)


def split_at_random_time(batch: Batch, draws: torch.Generator) -> tuple[Batch, Tensor]:
    """Cut each history before one of its distinct times but the first.

    Returns:
        The histories up to there, and True at the events of the time that follows, [B, L]; a user
        with one time stays whole and has none.
    """
    last = batch.group[:, -1]
    cut = 1 + (torch.rand(len(last), generator=draws) * last).long()
    past = (batch.present & (batch.group < cut[:, None])).sum(1)
    following = batch.present & (batch.group == cut[:, None])
    return dataclasses.replace(batch, length=past), following
