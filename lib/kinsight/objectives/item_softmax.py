"""Softmax over the catalogue, whole or sampled: what all objectives that predict an item share.

The loss of a vector v with target t is -log softmax over items j of v·E_j + b_j, where E is the
encoder's own item table and b_j, learned, begins at the log of the item's share of all events: what
everybody buys is known from the start, and vectors are left to tell where users differ.

Over all items where the catalogue is small; else over t and n_b items drawn from the batch's
targets and n_u drawn uniformly, those equal to t left out. The score of a drawn item j is corrected
by -log(n_b p_j + n_u / items), p_j being its share of all events; t is there anyway and keeps its
own, so that the sum over the sample estimates the sum over the catalogue. (Bengio and Senecal,
2008, as in Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
Recommendations", 2019.) Where items that the user met have a pull of their own (``repeats``), all
of these are candidates, uncorrected like t, and left out of what is drawn.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kinsight.config import Settings
from kinsight.encoders.event_input import UNKNOWN
from kinsight.errors import RefusedError
from kinsight.objectives.base import TrainingSet
from kinsight.objectives.ranking import SCORES_AT_MOST
from kinsight.objectives.repeats import Met, Pull

SCORES_AN_EVENT = 4
"""An event that was met before weighs as so many scores: it is known by several whole numbers."""
OTHER = "use `train.encoder: {name: random}`, which needs no training"


class ItemSoftmaxOptions(Settings):
    """Sizes of the softmax."""

    full_softmax_items: int = Field(
        20_000, ge=0, description="Catalogues up to this size are scored whole."
    )
    negatives: int = Field(
        1_024, ge=2, description="Candidates a batch otherwise: half its targets, half uniform."
    )


class ItemSoftmax(nn.Module):
    """The loss; see the module.

    Args:
        frequency: Events with each item index, [items].
        options: Sizes.
    """

    def __init__(self, frequency: Tensor, options: ItemSoftmaxOptions) -> None:
        super().__init__()
        self.items = len(frequency)
        self.full = self.items <= options.full_softmax_items
        self.from_batch = options.negatives // 2
        self.uniform = options.negatives - self.from_batch
        share = frequency / frequency.sum()
        expected = self.from_batch * share + self.uniform / (self.items - UNKNOWN - 1)
        self.log_expected = expected.log().float()
        self.bias = nn.Parameter(log_share(frequency))

    def choose(self, target: Tensor, draws: torch.Generator, events: int = 0) -> Tensor:
        """Places of the targets that are scored: known ones, a sample where there are too many.

        Unknown items, and those of a later vocabulary version, cannot be told apart.

        Args:
            target: Item indices, [N].
            draws: Source of random draws.
            events: Longest history, where each target is compared with what came before it.

        Returns:
            [n], int64.
        """
        known = torch.nonzero((target > UNKNOWN) & (target < self.items))[:, 0]
        candidates = self.items if self.full else self.from_batch + self.uniform
        most = max(1, SCORES_AT_MOST // max(candidates, SCORES_AN_EVENT * events))
        if len(known) > most:
            known = known[torch.randperm(len(known), generator=draws)[:most]]
        return known

    def forward(
        self,
        items: Tensor,
        vectors: Tensor,
        target: Tensor,
        draws: torch.Generator,
        pull: Pull | None = None,
    ) -> Tensor:
        """Summed cross-entropy.

        Args:
            items: The item table, [items, D].
            vectors: [n, D].
            target: A known item for each vector, [n], at least one.
            draws: Source of random draws.
            pull: What each vector's history adds to items.

        Returns:
            Scalar.
        """
        return self.cross_entropy(items, vectors, self.bias, target, draws, pull)

    def cross_entropy(
        self,
        items: Tensor,
        vectors: Tensor,
        bias: Tensor,
        target: Tensor,
        draws: torch.Generator,
        pull: Pull | None = None,
    ) -> Tensor:
        """As ``forward``, with another bias, [items], in place of its own."""
        if self.full:
            scores = _all_scores(vectors, items, bias, pull)[:, UNKNOWN + 1 :]
            return F.cross_entropy(scores, target - UNKNOWN - 1, reduction="sum")
        near = target[torch.randint(len(target), (self.from_batch,), generator=draws)]
        far = torch.randint(UNKNOWN + 1, self.items, (self.uniform,), generator=draws)
        drawn = torch.cat([near, far])
        right = (vectors * items[target]).sum(1) + bias[target]
        wrong = vectors @ items[drawn].T + bias[drawn] - self.log_expected[drawn]
        wrong = wrong.masked_fill(drawn == target[:, None], -torch.inf)
        if pull is not None:
            met = pull.met
            scores = met.products(vectors, items) + bias[met.item] + pull.value
            wrong = wrong.masked_fill(_is_met(met, drawn, self.items), -torch.inf)
            again = met.item == target[met.row]
            right = right.index_add(0, met.row[again], pull.value[again])
            own = wrong.new_full((len(wrong), met.items.shape[1]), -torch.inf)
            others = (met.row[~again], met.place[~again])
            wrong = torch.cat([wrong, own.index_put(others, scores[~again])], dim=1)
        scores = torch.cat([right[:, None], wrong], dim=1)
        return (scores.logsumexp(1) - right).sum()

    def scores(self, items: Tensor, vectors: Tensor, pull: Pull | None = None) -> Tensor:
        """The score of every item, [n, items]."""
        return _all_scores(vectors, items, self.bias, pull)


def _all_scores(vectors: Tensor, items: Tensor, bias: Tensor, pull: Pull | None) -> Tensor:
    scores = vectors @ items.T + bias
    return scores if pull is None else pull.added_to(scores)


def _is_met(met: Met, drawn: Tensor, items: int) -> Tensor:
    """Which drawn items, [S], each history holds, [n, S]."""
    distinct, of_drawn = torch.unique(drawn, return_inverse=True)
    column = torch.full((items,), -1).index_put((distinct,), torch.arange(len(distinct)))
    held = column[met.item] >= 0
    is_met = torch.zeros(len(met.users), len(distinct), dtype=torch.bool)
    is_met[met.row[held], column[met.item[held]]] = True
    return is_met[:, of_drawn]


def log_share(frequency: Tensor) -> Tensor:
    """Log of each token's share of all events, float32.

    A token that the window does not hold counts as met half a time.
    """
    total = frequency.sum()
    return (frequency / total).clamp(min=0.5 / float(total)).log().float()


def require_next_items(data: TrainingSet) -> None:
    """Refuse a catalogue of one item, and histories without any order.

    Raises:
        RefusedError: Saying what is missing and what to do.
    """
    items = int((data.item_frequency > 0).sum())
    if items < 2:
        raise RefusedError(
            "There is no next item to predict: the catalogue is too small.",
            expected="at least 2 items in the vocabulary",
            found=f"{items}",
            to_do=f"lower sequence.minimum_token_users, or {OTHER}",
        )
    require_order(data)


def require_order(data: TrainingSet) -> None:
    """Refuse histories without any order.

    Raises:
        RefusedError: Saying what is missing and what to do.
    """
    if data.users_with_order == 0:
        raise RefusedError(
            "There is nothing next to predict: every user's events bear one time.",
            expected="users with events at two or more distinct times",
            found=f"0 of {data.users} users",
            to_do=f"check the column mapped to event_time, or {OTHER}",
        )
