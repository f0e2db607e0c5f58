"""Sums of a user's events in hash buckets, which any later query reads without the history.

Source: Cao et al., "Sampling Is All You Need on Modeling Long-Term User Behaviors for CTR
Prediction" (SDIM, CIKM 2022, arXiv 2205.10249).

Hash of a vector x: sign(R x) with R drawn once from N(0, 1), [bits, width]; every
`bits_a_signature` (tau) signs make one of bits / tau signatures. For a query q:

    z = mean over signatures i of L2norm(sum over events j of 1[sig_i(q) = sig_i(x_j)] s_j)

Two vectors share a signature with probability (1 - angle / pi) ** tau, so z is an attention over
similar events; its table, [B, bits / tau, 2 ** tau, width], is made once a user (``buckets``). s_j
is the sum of all fields of an event; x_j, what is hashed, the vector of its item alone, because a
query, the mean of the vectors of items (``query_of``), knows no more. The hash has no gradient.

Without a query z is the mean over all buckets, what a query of random signs gets: a taste counts
once and not by the number of its events. Training reads this way, so that vectors of events are
trained, but not the hash. Left out: what the paper puts beside z, recent events with exact
attention.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field as Limit
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from kinsight.config import Settings
from kinsight.encoders.base import EncoderState, QueryEncoder, VocabularySizes
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import EventInput, mean_of_items
from kinsight.encoders.pooled import InputOptions

MOST_BUCKETS = 1_024
"""A vector each: 256 KiB a user at width 64, for all users of a batch at once."""


class HashBucketOptions(InputOptions):
    """Options of `hash_bucket`."""

    bits: int = Limit(48, ge=1, le=1_024, description="Signs of the hash.")
    bits_a_signature: int = Limit(
        3, ge=1, le=8, description="Signs that must agree; more make sharper buckets."
    )

    @model_validator(mode="after")
    def _signatures_fit(self) -> Self:
        if self.bits % self.bits_a_signature:
            raise ValueError(
                f"`bits` {self.bits} is not a multiple of `bits_a_signature` "
                f"{self.bits_a_signature}"
            )
        buckets = self.bits // self.bits_a_signature * 2**self.bits_a_signature
        if buckets > MOST_BUCKETS:
            raise ValueError(
                f"`bits` and `bits_a_signature` make {buckets} buckets a user, more than "
                f"{MOST_BUCKETS}"
            )
        return self


class HashBucket(QueryEncoder):
    """The buckets; one vector a user and query.

    Args:
        sizes: Rows of the vocabulary tables.
        options: Widths and choices.
    """

    options_type: ClassVar[type[Settings]] = HashBucketOptions
    interests = 1

    def __init__(self, sizes: VocabularySizes, options: HashBucketOptions) -> None:
        super().__init__(sizes, options)
        width = options.width
        self.bits_a_signature = options.bits_a_signature
        self.input = EventInput(sizes, options.fields, width, options.positions)
        self.input_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(options.dropout)
        self.output_norm = nn.LayerNorm(width)
        self.hash: Tensor
        self.register_buffer("hash", torch.randn(options.bits, width))
        self.dimension = width

    def encode(self, batch: Batch) -> EncoderState:
        """Encode histories, once a user: the events, and beside them what is hashed."""
        events = self.drop(self.input_norm(self.input(batch)))
        items = self.query_of(batch.item.reshape(-1, 1)).view(*batch.item.shape, -1)
        return EncoderState(batch, events, context=items)

    def read(self, state: EncoderState, query: Tensor | None = None) -> Tensor:
        """The user vector, [B, 1, width]: for a query [B, width], or the mean over all buckets."""
        return self.read_buckets(self.buckets(state), query)

    def buckets(self, state: EncoderState) -> Tensor:
        """The table of each user, [B, signatures, 2 ** bits_a_signature, width], float32."""
        assert state.context is not None
        signature = self.signatures(state.context)
        codes = 2**self.bits_a_signature
        inside = F.one_hot(signature, codes) * state.batch.present[..., None, None]
        users, places, groups, _ = inside.shape
        cells = inside.view(users, places, groups * codes).transpose(1, 2).to(state.events.dtype)
        return (cells @ state.events).view(users, groups, codes, -1).float()

    def read_buckets(self, buckets: Tensor, query: Tensor | None = None) -> Tensor:
        """The user vector from tables kept since ``buckets``, [B, 1, width].

        Args:
            buckets: [B, signatures, 2 ** bits_a_signature, width].
            query: [B, width]; None for the mean over all buckets.
        """
        if query is None:
            found = F.normalize(buckets, dim=3).mean((1, 2))
        else:
            place = self.signatures(query)[..., None, None].expand(-1, -1, 1, buckets.shape[3])
            found = F.normalize(buckets.gather(2, place), dim=3).mean((1, 2))
        vectors: Tensor = self.output_norm(found)
        return vectors[:, None]

    def signatures(self, vectors: Tensor) -> Tensor:
        """The signatures of vectors.

        Args:
            vectors: [..., width].

        Returns:
            [..., signatures], int64, each from 0 to 2 ** bits_a_signature - 1.
        """
        # In half width more signs would be those of rounding errors.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            positive = (vectors.float() @ self.hash.T > 0).long()
            groups = positive.view(*positive.shape[:-1], -1, self.bits_a_signature)
            return (groups << torch.arange(self.bits_a_signature)).sum(-1)

    def query_of(self, items: Tensor) -> Tensor:
        """The mean of the vectors of items, [N, width]."""
        return mean_of_items(self.input.table("item"), items)

    def item_vectors(self) -> Tensor:
        """The input table of items, [items, width]: outputs are tied to it."""
        return self.input.table("item").weight
