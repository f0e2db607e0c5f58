"""How often the next items stand among the first ten of the ranked catalogue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories, IntArray, cut_by_tokens, ranges

AT = 10


def next_item_measures(
    score: Callable[[Batch], Tensor], frequency: Tensor, held_out: Histories, tokens: int
) -> dict[str, float]:
    """Measure predictions of the items at each user's latest time from all that came before.

    All known items are ranked, those the user met before included. Beside the model stands
    popularity: the ten most frequent items of the vocabulary, the same for everybody.

    Args:
        score: A batch of histories to scores, [B, items].
        frequency: Events with each item, [items].
        held_out: Whole histories of users that were not trained on.
        tokens: Events a batch, padding included.

    Returns:
        ``hit_rate_10`` (users with at least one item of the next time among the ten),
        ``recall_10`` (mean share of the next time's distinct items among the ten), both also as
        ``popularity_…``, and ``ranked_users``; nothing where no history can be split.
    """
    past, following = split_latest(held_out)
    items = len(frequency)
    order = np.argsort(past.length, kind="stable")
    past, following = past.take(order), following.take(order)
    popular = frequency.topk(min(AT, items)).indices[None]
    rows = []
    for part in cut_by_tokens(past.length, tokens):
        users = np.arange(part.start, part.stop)
        scores = score(Batch.of(past.take(users)))
        scores[:, : UNKNOWN + 1] = -torch.inf
        best = scores.topk(min(AT, items), dim=1).indices
        truth = torch.from_numpy(following.take(users).padded("item").astype("int64"))
        truth = torch.where(truth < items, truth, UNKNOWN)
        rows.append(torch.cat([_hits(best, truth), _hits(popular, truth)], dim=1))
    counted = torch.cat(rows) if rows else torch.zeros(0, 6)
    counted = counted[counted[:, 2] > 0]
    if not len(counted):
        return {}
    hit, recall, _, popular_hit, popular_recall, _ = counted.mean(0).tolist()
    return {
        f"hit_rate_{AT}": hit,
        f"recall_{AT}": recall,
        f"popularity_hit_rate_{AT}": popular_hit,
        f"popularity_recall_{AT}": popular_recall,
        "ranked_users": float(len(counted)),
    }


def split_latest(histories: Histories) -> tuple[Histories, Histories]:
    """Split histories before their latest distinct time; users with one time are left out.

    Returns:
        The events before it and the events at it, of the same users in the same order.
    """
    seconds, start, length = histories.columns["seconds"], histories.start, histories.length
    latest = np.repeat(seconds[start + length - 1], length)
    before: IntArray = np.add.reduceat((seconds < latest).astype(np.int64), start)
    users = np.flatnonzero(before)
    past = histories.head(before).take(users)
    places = ranges((start + before)[users], (length - before)[users])
    following = {name: values[places] for name, values in histories.columns.items()}
    return past, Histories(following, (length - before)[users])


def _hits(best: Tensor, truth: Tensor) -> Tensor:
    """Whether any, what share, and how many distinct known items of the truth there are, [B, 3].

    Args:
        best: Ranked items, [B or 1, k].
        truth: Items of the next time, [B, T]; 0 and 1 do not count.
    """
    truth = truth.sort(1).values
    fresh = torch.ones_like(truth, dtype=torch.bool)
    fresh[:, 1:] = truth[:, 1:] != truth[:, :-1]
    fresh &= truth > UNKNOWN
    found = (truth[..., None] == best[:, None]).any(2) & fresh
    known = fresh.sum(1)
    recall = found.sum(1) / known.clamp(min=1)
    return torch.stack([found.any(1).float(), recall, known.float()], dim=1)
