"""Labels that a history itself holds for every moment in it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import GAP_BUCKETS, UNKNOWN, gap_bucket
from kinsight.objectives.base import TrainingSet

Task = Literal["next_category", "next_brand", "next_price", "next_type", "next_gap", "will_buy"]

CLASSES_AT_MOST = 2_000
"""Labels of a task; the most frequent ones, as vocabularies are ordered. Rarer ones are unknown."""
_FIELD = {
    "next_category": "category",
    "next_brand": "brand",
    "next_price": "price",
    "next_type": "event_type",
}


def classes_of(task: str, data: TrainingSet) -> int:
    """How many labels a task has; fewer than 2 where the vocabulary does not serve it."""
    if task == "will_buy":
        types = int((data.type_frequency > 0).sum())
        return 2 if data.purchase is not None and types > 1 else 0
    if task == "next_gap":
        return GAP_BUCKETS - UNKNOWN - 1
    return min(CLASSES_AT_MOST, data.sizes[_FIELD[task]] - UNKNOWN - 1)


def labels_of(task: str, batch: Batch, data: TrainingSet) -> Tensor:
    """The label of each event if it is what comes next.

    Args:
        task: The task.
        batch: B histories of L events.
        data: What the vocabulary holds.

    Returns:
        [B, L], int64, from 0; -1 where it is unknown, and in the padding.
    """
    if task == "will_buy":
        bought = ((batch.event_type == data.purchase) & batch.present).long()
        # Now or later: at the event's own time, whose events have no order, or after it.
        from_here = bought.flip(1).cumsum(1).flip(1)
        label = (from_here.gather(1, batch.group_start) > 0).long()
        return torch.where(batch.present, label, -1)
    index = gap_bucket(batch) if task == "next_gap" else getattr(batch, _FIELD[task])
    label = index - UNKNOWN - 1
    known = batch.present & (label >= 0) & (label < classes_of(task, data))
    return torch.where(known, label, -1)
