"""Where what comes next stands in the ranked catalogue: among the first ten, and on the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories, IntArray, cut_by_tokens, ranges
from kinsight.objectives.base import TrainingSet

AT = 10
SCORES_AT_MOST = 2**24
"""Scores in memory at once (64 MiB of float32, several times over with gradients): where targets
times candidates would exceed it, fewer targets are taken."""

RANKED_TIMES = 5
"""Latest times of a user that ``reciprocal_ranks`` looks at."""
RANKED_SCORES = 2**31
"""Scores that it computes at most, some seconds' work: of a large catalogue fewer users."""

Split = tuple[Histories, Histories]
Score = Callable[[Batch], Tensor]


def next_item_measures(
    score: Score, frequency: Tensor, held_out: Histories, tokens: int
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
    popular = _most_frequent(frequency)
    rivals = {"popularity": lambda _: popular}
    hits, users = _hits_of_all(score, rivals, len(frequency), split_latest(held_out), tokens)
    if not users:
        return {}
    return {
        f"hit_rate_{AT}": hits["model"][0],
        f"recall_{AT}": hits["model"][1],
        f"popularity_hit_rate_{AT}": hits["popularity"][0],
        f"popularity_recall_{AT}": hits["popularity"][1],
        "ranked_users": float(users),
    }


def next_purchase_measures(
    score: Score, data: TrainingSet, held_out: Histories, tokens: int
) -> dict[str, float]:
    """Measure predictions of the items of each user's latest purchase from all that came before.

    Beside the model stand popularity, and the ten items that the user met last, which is hard to
    beat where people buy what they have just looked at.

    Args:
        score: As for ``next_item_measures``.
        data: Frequencies of items and the index of purchases.
        held_out: As for ``next_item_measures``.
        tokens: As for ``next_item_measures``.

    Returns:
        ``purchase_hit_rate_10``, the same of ``purchase_popularity_…`` and ``purchase_recent_…``,
        and ``purchase_users``; nothing where purchases are the only type of event or missing.
    """
    if data.purchase is None or int((data.type_frequency > 0).sum()) < 2:
        return {}
    popular = _most_frequent(data.item_frequency)
    rivals = {"popularity": lambda _: popular, "recent": latest_items}
    split = split_latest(held_out, data.purchase)
    hits, users = _hits_of_all(score, rivals, len(data.item_frequency), split, tokens)
    if not users:
        return {}
    return {
        f"purchase_hit_rate_{AT}": hits["model"][0],
        f"purchase_popularity_hit_rate_{AT}": hits["popularity"][0],
        f"purchase_recent_hit_rate_{AT}": hits["recent"][0],
        "purchase_users": float(users),
    }


def reciprocal_ranks(
    score: Score, items: int, held_out: Histories, tokens: int, most_scores: int = RANKED_SCORES
) -> tuple[float, int]:
    """One over the rank of what comes next in the whole catalogue, for some times of each user.

    Each of a user's RANKED_TIMES latest times is foretold from all that came before it, and counts
    with the item of it that ranks best; items of equal score count as before it.

    Args:
        score: A batch of histories to scores, [B, items].
        items: Size of the catalogue.
        held_out: Whole histories of users that were not trained on.
        tokens: Events a batch, padding included.
        most_scores: Beyond it, only some users are ranked, evenly spaced.

    Returns:
        Their sum, and the number of times with a known item. (Voorhees, 1999.)
    """
    users = max(1, most_scores // (items * RANKED_TIMES))
    if len(held_out) > users:
        held_out = held_out.take(np.linspace(0, len(held_out) - 1, users).astype(np.int64))
    total, times, past = 0.0, 0, held_out
    for _ in range(RANKED_TIMES):
        if not len(past):
            break
        past, following = split_latest(past)
        for _, scores, truth in _scored(score, items, (past, following), tokens):
            own = scores.gather(1, truth).masked_fill(truth <= UNKNOWN, -torch.inf)
            best, known = own.max(1, keepdim=True).values, (truth > UNKNOWN).any(1)
            rank = (scores >= best).sum(1)
            # A score that is no number has no rank.
            total += float(torch.where(known & (rank > 0), 1.0 / rank, 0.0).sum())
            times += int(known.sum())
    return total, times


def split_latest(histories: Histories, event_type: int | None = None) -> Split:
    """Split histories before their latest distinct time; users with nothing before are left out.

    Args:
        histories: N users.
        event_type: Take the latest time with an event of this type, and only such events of it.

    Returns:
        The events before it and the events at it, of the same users in the same order.
    """
    seconds, start, length = histories.columns["seconds"], histories.start, histories.length
    counts = np.ones(len(seconds), dtype=np.bool_)
    if event_type is not None:
        counts = histories.columns["event_type"] == event_type
    earliest = np.iinfo(np.int64).min
    latest = np.maximum.reduceat(np.where(counts, seconds, earliest), start)
    latest = np.repeat(latest, length)
    before: IntArray = np.add.reduceat((seconds < latest).astype(np.int64), start)
    at = counts & (seconds == latest)
    users = np.flatnonzero(before)
    taken = at & np.repeat(before > 0, length)
    following = {name: values[taken] for name, values in histories.columns.items()}
    size: IntArray = np.add.reduceat(at.astype(np.int64), start)
    return histories.head(before).take(users), Histories(following, size[users])


def latest_items(past: Histories) -> Tensor:
    """The last distinct known items of each user, the latest first, [users, 10]; -1 to fill."""
    out = np.full((len(past), AT), -1)
    items = past.columns["item"]
    for user, (start, length) in enumerate(zip(past.start, past.length, strict=True)):
        known = items[ranges(start[None], length[None])][::-1]
        distinct = list(dict.fromkeys(known[known > UNKNOWN].tolist()))[:AT]
        out[user, : len(distinct)] = distinct
    return torch.from_numpy(out)


def _hits_of_all(
    score: Score,
    rivals: Mapping[str, Callable[[Histories], Tensor]],
    items: int,
    split: Split,
    tokens: int,
) -> tuple[dict[str, tuple[float, float]], int]:
    """Hit rate and recall of the model and of its rivals, and the number of users.

    Args:
        score: A batch of histories to scores, [B, items].
        rivals: Name to a function from histories to ranked items, [B or 1, k].
        items: Size of the catalogue.
        split: Histories and what followed.
        tokens: Events a batch, padding included.
    """
    names = ["model", *rivals]
    rows = []
    for past, scores, truth in _scored(score, items, split, tokens):
        best = [scores.topk(min(AT, items), dim=1).indices]
        best += [rank(past) for rank in rivals.values()]
        rows.append(torch.stack([_hits(ranked, truth) for ranked in best], dim=1))
    counted = torch.cat(rows) if rows else torch.zeros(0, len(names), 3)
    counted = counted[counted[:, 0, 2] > 0]
    means = counted.mean(0).tolist()
    hits = {name: (hit, recall) for name, (hit, recall, _) in zip(names, means, strict=True)}
    return hits, len(counted)


def _scored(
    score: Score, items: int, split: Split, tokens: int
) -> Iterator[tuple[Histories, Tensor, Tensor]]:
    """Some users at a time: histories, scores of the catalogue, and items of the time that follows.

    Returns:
        B histories, scores [B, items], -inf for padding and unknown, and true items [B, T]; 0 fills
        up, 1 stands for all that the catalogue does not hold.
    """
    past, following = split
    order = np.argsort(past.length, kind="stable")
    past, following = past.take(order), following.take(order)
    most = max(1, SCORES_AT_MOST // items)
    for part in cut_by_tokens(past.length, tokens):
        for begin in range(part.start, part.stop, most):
            users = np.arange(begin, min(begin + most, part.stop))
            batch = past.take(users)
            scores = score(Batch.of(batch))
            scores[:, : UNKNOWN + 1] = -torch.inf
            truth = torch.from_numpy(following.take(users).padded("item").astype("int64"))
            yield batch, scores, torch.where(truth < items, truth, UNKNOWN)


def _most_frequent(frequency: Tensor) -> Tensor:
    return frequency.topk(min(AT, len(frequency))).indices[None]


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
