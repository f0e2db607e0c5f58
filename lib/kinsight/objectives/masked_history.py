"""A thinned history shall lie near the full one of the same user, and far from others'.

Source: Gong et al., AW-MoE (arXiv 2306.05011): the behaviours of a user are masked at random to
imitate one of the long tail; the full and the masked history of a user are positives of an InfoNCE,
those of other users negatives.

Thinned is: random distinct times leave, each with all its events, so that .1 to .5 of them stay
(the paper's rate is not known) and at least one. They are taken away and not replaced by a mask: a
thin history is a short one. Both vectors have gradients; the loss: ``info_nce``. Users with one
distinct time have nothing to lose and are left out. Left out of AW-MoE: its experts, whose gate the
paper's loss compares; here it is the user vector.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Self

from kinsight.config import Settings, Share
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch, batches_by_length
from kinsight.encoders.histories import Histories
from kinsight.objectives.base import Loss, Objective, TrainingSet
from kinsight.objectives.info_nce import (
    USERS_AT_MOST,
    InfoNceOptions,
    info_nce,
    require_users_to_compare,
)
from kinsight.objectives.subsets import keep_events, random_times, take_users, with_order
from kinsight.objectives.vectors import own_among_others, user_vectors

LENGTHS = ((1, 2), (3, 5), (6, 20), (21, None))
"""Events of a thinned history, from and to, that measures tell apart."""


class MaskedHistoryOptions(InfoNceOptions):
    """Options of `masked_history`."""

    least_kept: Share = Field(0.1, description="Share of a user's times that stay at least.")
    most_kept: Share = Field(0.5, description="Share of a user's times that stay at most.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.least_kept > self.most_kept:
            raise ValueError("`least_kept` is greater than `most_kept`")
        return self


class MaskedHistory(Objective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: Not needed beyond ``require``.
        options: Temperature, and how much stays.
    """

    options_type: ClassVar[type[Settings]] = MaskedHistoryOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: MaskedHistoryOptions) -> None:
        super().__init__(encoder, data, options)
        self.options = options

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse users of one time, and batches of too few users.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_users_to_compare(data)

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are users with two distinct times."""
        rows = with_order(batch)
        if len(rows) > USERS_AT_MOST:
            rows = rows[torch.randperm(len(rows), generator=draws)[:USERS_AT_MOST]]
        if len(rows) < 2:
            return Loss(encoder.item_vectors().sum() * 0.0, 0)
        full = take_users(batch, rows)
        thin = user_vectors(encoder, self.thinned(full, draws))
        full_vectors = user_vectors(encoder, full)
        return Loss(info_nce(full_vectors, thin, self.options.temperature), len(rows))

    def thinned(self, batch: Batch, draws: torch.Generator) -> Batch:
        """Histories of which few random times stay; all users have two distinct times."""
        lots = torch.rand(len(batch.length), generator=draws)
        least, most = self.options.least_kept, self.options.most_kept
        return keep_events(batch, random_times(batch, least + (most - least) * lots, draws))

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """How near thinned histories of held-out users lie to their full ones, by length.

        Returns:
            For thinned histories of 1 to 2, 3 to 5, 6 to 20 and more events:
            ``thin_cosine_1_2`` (mean cosine to the full history, the mean of all users' full
            histories taken away; 0 by chance), ``thin_nearer_1_2`` (share of other users' full
            histories that lie further off, mean; .5 by chance) and ``thin_users_1_2``, and so on.
            Nothing for fewer than two users with two times.
        """
        draws = torch.Generator().manual_seed(0)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for batch in batches_by_length(held_out, tokens):
            rows = with_order(batch)
            if len(rows):
                full = take_users(batch, rows)
                thin = self.thinned(full, draws)
                vectors = (user_vectors(encoder, thin), user_vectors(encoder, full))
                parts.append((*vectors, thin.length))
        if sum(len(length) for *_, length in parts) < 2:
            return {}
        thin_vectors, full_vectors, length = (torch.cat(part) for part in zip(*parts, strict=True))
        _, nearer = own_among_others(thin_vectors, full_vectors)
        # What all users share says nothing of any: an untrained encoder's cosines are near 1.
        mean = full_vectors.mean(0)
        cosine = F.cosine_similarity(thin_vectors - mean, full_vectors - mean)
        found: dict[str, float] = {}
        for least, most in LENGTHS:
            among = (length >= least) & (length <= (most or int(length.max())))
            if among.any():
                name = f"{least}_{most or 'more'}"
                found |= {
                    f"thin_cosine_{name}": float(cosine[among].mean()),
                    f"thin_nearer_{name}": float(nearer[among].mean()),
                    f"thin_users_{name}": float(among.sum()),
                }
        return found
