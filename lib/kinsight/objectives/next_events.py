"""User vectors and the strictly later events that each is to predict.

A causal encoder gives the user vector as it was after each distinct time, and it predicts the
events of the next: events of one time have no order, so one is never the target of another, and
each event but those of the first time is a target once. Other encoders see the history up to a
random time, and the user vector predicts the events of the time that follows. (Every position is
trained: Kang and McAuley, SASRec, 2018.)

Of an encoder with several vectors a user, the one nearest to the target's item predicts it: the
others are free to stand for something else. What a user scores is the best over all of them. (Cen
et al., ComiRec, arXiv 2005.09347.) So such a loss knows a little of its target; measures do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from kinsight.encoders.base import Encoder, EventReader, event_reader
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import known_tokens


def vectors_before(
    encoder: Encoder, batch: Batch, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """User vectors, and where in the batch the event stands whose item each is to predict.

    Args:
        encoder: The encoder.
        batch: B histories of L events.
        draws: Source of random draws.

    Returns:
        Vectors [N, d], rows [N] and places [N] of their targets.
    """
    vectors, users, places = _before(encoder, batch, draws)
    return _nearest(vectors, batch.item[users, places], encoder.item_vectors()), users, places


def main_vectors_before(
    encoder: Encoder, batch: Batch, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``vectors_before``, of several vectors the main one: what is to be predicted is no item.

    Whichever is nearest to the target's item would tell of it.
    """
    vectors, users, places = _before(encoder, batch, draws)
    return vectors[:, 0], users, places


def vectors_long_before(
    encoder: Encoder, items: Tensor, batch: Batch, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``vectors_before``, but each is to predict any strictly later event, however late.

    A causal encoder's vector after each event is given one of them at random; another encoder's,
    of the history up to a random time, all of them.

    Args:
        encoder: The encoder.
        items: What the vectors are to be near to, [items, d].
        batch: B histories of L events.
        draws: Source of random draws.
    """
    causal = event_reader(encoder)
    if causal is not None:
        later = later_places(batch, draws)
        users, events = torch.nonzero(later >= 0, as_tuple=True)
        vectors, places = _at_events(causal, batch, users, events), later[users, events]
    else:
        past, following = split_at_random_time(batch, draws)
        rest = batch.present & (torch.arange(batch.item.shape[1]) >= past.length[:, None])
        users, places = torch.nonzero(rest & following.any(1, keepdim=True), as_tuple=True)
        vectors = encoder.read(encoder.encode(past))[users]
    return _nearest(vectors, batch.item[users, places], items), users, places


def _before(
    encoder: Encoder, batch: Batch, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """All vectors of each user before a target, [N, K, d], and where the targets stand."""
    causal = event_reader(encoder)
    if causal is not None:
        users, places = torch.nonzero(batch.present & (batch.group > 0), as_tuple=True)
        events = batch.group_start[users, places] - 1
        return _at_events(causal, batch, users, events), users, places
    past, following = split_at_random_time(batch, draws)
    users, places = torch.nonzero(following, as_tuple=True)
    return encoder.read(encoder.encode(past))[users], users, places


def _at_events(encoder: EventReader, batch: Batch, users: Tensor, events: Tensor) -> Tensor:
    """The one vector of some users, [N], right after the times of some events, [N]: [N, 1, d]."""
    return encoder.read_at_events(encoder.encode(batch))[users, events][:, None]


def _nearest(vectors: Tensor, target: Tensor, items: Tensor) -> Tensor:
    """Of all vectors of a user, [N, K, d], the nearest to the item that is to come, [N, d]."""
    if vectors.shape[1] == 1:
        return vectors[:, 0]
    return nearest_interest(vectors, items[known_tokens(target, len(items))])


def nearest_interest(vectors: Tensor, target: Tensor) -> Tensor:
    """The vector of each row whose product with the target is largest.

    Args:
        vectors: [N, K, d].
        target: [N, d].

    Returns:
        [N, d]; gradients pass through the chosen vectors, not through the choice.
    """
    with torch.no_grad():
        nearest = torch.einsum("nkd,nd->nk", vectors, target).argmax(1)
    return vectors[torch.arange(len(vectors)), nearest]


def best_over_interests(
    encoder: Encoder, batch: Batch, score: Callable[[Tensor], Tensor]
) -> Tensor:
    """What users score: the largest over their vectors.

    Args:
        encoder: The encoder.
        batch: B histories.
        score: Vectors [B, d] to scores [B, N].

    Returns:
        [B, N].
    """
    vectors = encoder.read(encoder.encode(batch))
    best = score(vectors[:, 0])
    for interest in range(1, encoder.interests):
        best = torch.maximum(best, score(vectors[:, interest]))
    return best


def later_places(batch: Batch, draws: torch.Generator) -> Tensor:
    """For each event the place of a random strictly later event.

    Returns:
        [B, L], int64; -1 where nothing follows.
    """
    begin, end = batch.next_group_start, batch.length[:, None]
    place = begin + (torch.rand(begin.shape, generator=draws) * (end - begin)).long()
    # The product may be rounded up.
    return torch.where(batch.present & (begin < end), place.minimum(end - 1), -1)


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
