"""A frozen space of items and users by content: the basis of the training users' bags.

Source: LTE (arXiv 2604.08181) for a space that no training turns; SRA-CL (arXiv 2503.04162) for
neighbours in a frozen one. Both take it from texts and pictures; here it comes from who meets what
(``encoders.basis``), each item's vector scaled to length 1, or zero where no user of the fit met
the item.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.objectives.base import Sample

BASIS_SEED = 0
"""Of the randomised decomposition; never that of a training, so that several share one basis."""


def content_basis(
    sample: Sample, users: int, items: int, width: int
) -> tuple[Tensor, dict[str, float]]:
    """Fit the vectors of items.

    Args:
        sample: Gives training users.
        users: About so many are fitted on at most.
        items: Rows of the item table.
        width: Width of the vectors.

    Returns:
        One vector an item, [items, width], float32, of length 1 or 0; and measures of the fit.

    Raises:
        RefusedError: If users share too few items.
    """
    # Imported here: checking a configuration reads the registry and need not load scikit-learn.
    from kinsight.encoders.basis import bags_of, token_basis

    basis = token_basis(bags_of(sample(users), {"item": items}), width, BASIS_SEED)
    measures = {
        "content_users": float(basis.users),
        "content_items": float(basis.tokens),
        "content_variance_explained": basis.variance_explained,
    }
    return F.normalize(torch.from_numpy(basis.vectors), dim=1), measures


def content_of(batch: Batch, basis: Tensor) -> Tensor:
    """The place of each user in the space: the mean over her events, scaled to length 1, [B, d].

    Args:
        batch: B histories.
        basis: Item vectors, [items, d].
    """
    # A later vocabulary version may have appended tokens that the basis never saw.
    index = torch.where(batch.item < len(basis), batch.item, UNKNOWN) * batch.present
    return F.normalize(basis[index].sum(1), dim=1)
