"""Two stretches of one user's history shall lie near each other, those of others apart.

Source: Babaev et al., "CoLES: Contrastive Learning for Event Sequences with Self-Supervision"
(arXiv 2002.08232): contiguous random sub-sequences of a user are positives, those of other users in
the batch negatives, of which the nearest are mined; margin .5, 5 negatives a view.

Loss of a user: |a - b|² + sum over the views v = a, b and the K nearest views n of other users of
max(0, margin - |v - n|)², with all vectors scaled to length 1. The paper draws five views a user;
here two. A view is cut between distinct times, never inside one: its events have no order, so which
of them a cut would part is chance. Users with one distinct time have no second view and are left
out, as is a batch with a single user, where nothing is apart from anything.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch.nn import functional as F
from typing_extensions import Self

from kinsight.config import Settings, Share
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import COLUMNS, Histories, IntArray, ranges
from kinsight.objectives.base import Loss, Objective, TrainingSet
from kinsight.objectives.info_nce import require_users_to_compare
from kinsight.objectives.vectors import history_vectors, own_among_others, user_vectors


class ContrastiveViewsOptions(Settings):
    """Options of `contrastive_views`."""

    margin: float = Field(0.5, gt=0, lt=2, description="Distance from which others are far enough.")
    hard_negatives: int = Field(5, ge=1, description="Nearest views of others that count.")
    shortest: Share = Field(0.2, description="Share of a user's times in a view at least.")
    longest: Share = Field(0.8, description="Share of a user's times in a view at most.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError("`shortest` is greater than `longest`")
        return self


class ContrastiveViews(Objective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Not needed beyond ``require``.
        options: Margin, negatives, lengths of views.
    """

    options_type: ClassVar[type[Settings]] = ContrastiveViewsOptions

    def __init__(
        self, encoder: Encoder, data: TrainingSet, options: ContrastiveViewsOptions
    ) -> None:
        super().__init__(encoder, data, options)
        self.options = options

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse users without a second view, and batches of too few users.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_users_to_compare(data)

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are users with two distinct times."""
        views, users = two_views(batch, self.options.shortest, self.options.longest, draws)
        if users < 2:
            return Loss(encoder.item_vectors().sum() * 0.0, 0)
        vectors = F.normalize(user_vectors(encoder, views), dim=1)
        one, other = vectors[:users], vectors[users:]
        near = (one - other).square().sum(1).sum()
        # Which are nearest is looked up without gradients: only their distances are learned from.
        whose = torch.arange(2 * users) % users
        alike = (vectors @ vectors.T).detach().masked_fill(whose[:, None] == whose, -torch.inf)
        nearest = alike.topk(min(self.options.hard_negatives, 2 * users - 2), dim=1).indices
        gap = vectors[:, None] - vectors[nearest]
        # The root has no slope at zero, where two equal views of different users stand.
        distance = (gap.square().sum(2) + 1e-12).sqrt()
        apart = (self.options.margin - distance).clamp(min=0).square().sum()
        return Loss(near + apart, users)

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """How far the later half of a held-out user's history lies nearest to its earlier half.

        The halves share no event, unlike the views of training, so that an encoder gains nothing
        from recognising events.

        Returns:
            ``view_recall_1`` (users whose later half is the nearest of all later halves) beside
            ``view_chance_1``, ``view_nearer`` (share of other users that lie further off, mean;
            .5 by chance), and ``view_users``; nothing for fewer than two users with two times.
        """
        earlier, later = halves(held_out)
        users = len(earlier)
        if users < 2:
            return {}
        first, nearer = own_among_others(
            history_vectors(encoder, earlier, tokens), history_vectors(encoder, later, tokens)
        )
        return {
            "view_recall_1": float(first.mean()),
            "view_chance_1": 1 / users,
            "view_nearer": float(nearer.mean()),
            "view_users": float(users),
        }


def two_views(
    batch: Batch, shortest: float, longest: float, draws: torch.Generator
) -> tuple[Batch, int]:
    """Two random stretches of distinct times of every user who has at least two.

    Args:
        batch: B histories.
        shortest: Share of a user's times in a view at least; at least one time.
        longest: Share of a user's times in a view at most; never all of them.
        draws: Source of random draws.

    Returns:
        A batch of 2 U histories, first one view of each of U users, then the other; and U.
    """
    rows = torch.nonzero(batch.group[:, -1] > 0)[:, 0]
    users = len(rows)
    rows = rows.repeat(2)
    times = batch.group[rows, -1] + 1
    share = shortest + (longest - shortest) * torch.rand(len(rows), generator=draws)
    size = (share * times).round().long().clamp(min=1).minimum(times - 1)
    first = (torch.rand(len(rows), generator=draws) * (times - size + 1)).long()
    first = first.minimum(times - size)  # the product may be rounded up
    group, present = batch.group[rows], batch.present[rows]
    begin = (present & (group < first[:, None])).sum(1)
    length = (present & (group < (first + size)[:, None])).sum(1) - begin
    width = int(length.max()) if users else 0
    place = (begin[:, None] + torch.arange(width)).clamp(max=batch.item.shape[1] - 1)
    columns = {name: getattr(batch, name)[rows].gather(1, place) for name in COLUMNS}
    return dataclasses.replace(batch, **columns, length=length), users


def halves(histories: Histories) -> tuple[Histories, Histories]:
    """The earlier and the later half of each user's distinct times; users with one are left out.

    Returns:
        Two histories of the same users in the same order, the middle time among the later ones.
    """
    seconds, start, length = histories.columns["seconds"], histories.start, histories.length
    begins = np.ones(len(seconds), dtype=np.int64)
    begins[1:] = seconds[1:] != seconds[:-1]
    begins[start] = 1
    rank = np.cumsum(begins)
    rank = rank - np.repeat(rank[start] - 1, length)
    times = np.repeat(np.add.reduceat(begins, start), length)
    before: IntArray = np.add.reduceat((rank <= times // 2).astype(np.int64), start)
    users = np.flatnonzero(before)
    places = ranges((start + before)[users], (length - before)[users])
    later = {name: values[places] for name, values in histories.columns.items()}
    return histories.head(before).take(users), Histories(later, (length - before)[users])
