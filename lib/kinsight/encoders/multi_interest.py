"""K vectors a user, one for each thing that the user is after.

Source: Cen et al., "Controllable Multi-Interest Framework for Recommendation" (ComiRec, arXiv
2005.09347), both ways to find interests; Sabour et al., "Dynamic Routing Between Capsules", 2017.

`self_attention` (ComiRec-SA): A = softmax over events of W2 tanh(W1 H), [B, L, K], and the
interests are Aᵀ X, [B, K, d]. H are all fields of an event, W1 [4 d, d] and W2 [K, 4 d]; X, as in
the authors' code, only what it was about (item, category, brand, price).

`dynamic` (ComiRec-DR): with u_jk = W_k x_j and b_jk = 0, three times: c_j = softmax over k of b_j,
v_k = squash(sum over events of c_jk u_jk), b_jk += u_jk · v_k, where squash(s) = s / |s| · |s|² /
(1 + |s|²), so that |v_k| < 1. Gradients pass through the last sum only, as in the authors' code.
They have one W_k for every place in the history; here one for all, because events of one time have
no places, and it begins near the identity: interests then lie among item vectors from the start
(with random W_k, four of them learned nothing of planted tastes in 600 steps). The interests given
are sqrt(d) v_k, as long as the vectors of other encoders; with lengths below 1 scores wait for the
table of items to grow. The authors advise a learning rate of .005 for it.

Training takes the interest nearest to the target (``objectives.next_events``), scores of a user are
the largest over interests. The share of an interest is the mean over events of what it holds of the
event: A_jk / sum over k of A_jk, or c_jk. Interests are sorted by it, the first being the main one;
with a query, in the space of ``item_vectors``, by their product with it. Left out: the choice of
recommended items for diversity.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field as Limit
from torch import Tensor, nn

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, QueryEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, content_and_circumstance, mean_of_items
from kinsight.encoders.pooled import InputOptions

LEAST_LENGTH = 1e-6
"""Added to lengths, whose root has no slope at zero."""

INITIAL_NOISE = 0.3
"""Of the usual random weights beside the identity: enough to tell interests apart."""


class MultiInterestOptions(InputOptions):
    """Options of `multi_interest`."""

    interests: int = Limit(4, ge=2, le=64, description="Vectors K a user.")
    routing: Literal["self_attention", "dynamic"] = Limit(
        "self_attention", description="How events find their interest: ComiRec-SA or ComiRec-DR."
    )
    iterations: int = Limit(3, ge=1, le=20, description="Rounds of `dynamic`.")


class MultiInterest(QueryEncoder):
    """The K vectors; see the module.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = MultiInterestOptions

    def __init__(self, sizes: VocabularySizes, options: MultiInterestOptions) -> None:
        super().__init__(sizes, options)
        width, count = options.width, options.interests
        content, circumstance = content_and_circumstance(options.fields)
        self.input = EventInput(sizes, content, width, options.positions)
        self.content_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(options.dropout)
        self.find: SelfAttention | DynamicRouting
        self.circumstance: EventInput | None = None
        if options.routing == "self_attention":
            self.circumstance = EventInput(sizes, circumstance, width, options.positions)
            self.input_norm = nn.LayerNorm(width)
            self.find = SelfAttention(width, count)
        else:
            self.find = DynamicRouting(width, count, options.iterations)
        self.interests = count
        self.dimension = width

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user: the events' content, and what attention reads."""
        content = self.input(batch)
        events = self.drop(self.content_norm(content))
        if self.circumstance is None:
            return EncoderState(batch, events)
        whole = self.drop(self.input_norm(content + self.circumstance(batch)))
        return EncoderState(batch, events, context=whole)

    def read(self, state: EncoderState, query: Tensor | None = None) -> Tensor:
        """The interests, [B, K, d]: the largest first, or with a query [B, d] the nearest first."""
        vectors, shares = self.find(state)
        rank = shares if query is None else (vectors @ query[..., None])[..., 0]
        order = rank.argsort(dim=1, descending=True, stable=True)
        sorted_vectors: Tensor = vectors.gather(1, order[..., None].expand_as(vectors))
        return sorted_vectors

    def weights(self, state: EncoderState) -> Tensor:
        """The share of each interest, [B, K], descending."""
        shares: Tensor = self.find(state)[1]
        return shares.sort(1, descending=True).values

    def query_of(self, items: Tensor) -> Tensor:
        """The mean of the vectors of items, [N, d]."""
        return mean_of_items(self.input.table("item"), items)

    def item_vectors(self) -> Tensor:
        """The input table of items, [items, d]: outputs are tied to it."""
        return self.input.table("item").weight


class SelfAttention(nn.Module):
    """ComiRec-SA; see the module.

    Args:
        width: Width d.
        interests: Vectors K a user.
    """

    def __init__(self, width: int, interests: int) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            nn.Tanh(),
            nn.Linear(4 * width, interests, bias=False),
        )

    def forward(self, state: EncoderState) -> tuple[Tensor, Tensor]:
        """The interests [B, K, d], in the order of their heads, and their shares [B, K]."""
        absent = ~state.batch.present[..., None]
        score = self.score(state.context).float().masked_fill(absent, -torch.inf)
        attention = score.softmax(1)
        vectors = attention.transpose(1, 2) @ state.events
        # Of one event: softmax over interests of log A.
        held = score.log_softmax(1).masked_fill(absent, 0.0).softmax(2)
        return vectors.float(), mean_over_events(state.batch, held)


class DynamicRouting(nn.Module):
    """ComiRec-DR; see the module.

    Args:
        width: Width d.
        interests: Vectors K a user.
        iterations: Rounds.
    """

    def __init__(self, width: int, interests: int, iterations: int) -> None:
        super().__init__()
        self.interests, self.iterations = interests, iterations
        self.map = nn.Linear(width, interests * width, bias=False)
        with torch.no_grad():
            near = torch.eye(width).repeat(interests, 1)
            self.map.weight.mul_(INITIAL_NOISE).add_(near)

    def forward(self, state: EncoderState) -> tuple[Tensor, Tensor]:
        """The interests [B, K, d], in the order of their maps, and their shares [B, K]."""
        batch = state.batch
        users, places = batch.item.shape
        mapped = self.map(state.events).float().view(users, places, self.interests, -1)
        fixed = mapped.detach()
        present = batch.present[..., None].float()
        logits = torch.zeros(users, places, self.interests)
        held = logits.softmax(2)
        for _ in range(self.iterations - 1):
            vectors = squash(torch.einsum("blk,blkd->bkd", held * present, fixed))
            logits = logits + torch.einsum("blkd,bkd->blk", fixed, vectors)
            held = logits.softmax(2)
        vectors = squash(torch.einsum("blk,blkd->bkd", held * present, mapped))
        scale = vectors.shape[2] ** 0.5
        return scale * vectors.float(), mean_over_events(batch, held)


def squash(vectors: Tensor) -> Tensor:
    """Shorten vectors to a length below 1, [..., d]: long ones nearly to 1, short ones to zero."""
    square = vectors.square().sum(-1, keepdim=True)
    return vectors * square / (1 + square) / (square + LEAST_LENGTH**2).sqrt()


def mean_over_events(batch: Batch, held: Tensor) -> Tensor:
    """The mean over a user's events, [B, K].

    Args:
        batch: B histories of L events.
        held: [B, L, K].
    """
    return (held * batch.present[..., None]).sum(1) / batch.length[:, None]
