"""How often users met tokens: counted in numpy, for bags, features and vocabularies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kinsight.sequence.executor.histories import Floats, Histories, Ints
from kinsight.sequence.executor.lookups import (
    FIRST_INDEX,
    NO_TOKEN,
    Products,
    price_indices,
)

COUNT_SCHEMA = "kind STRING, field INT, code INT, price DOUBLE, users BIGINT, events BIGINT"
"""Counts of the users and events of one task: of a product token (kind token), a type (kind type;
code is its place) or a price (kind price)."""


@dataclasses.dataclass(frozen=True)
class TokenCounts:
    """Each user's events with each token of a field; ascending by user, then code.

    Attributes:
        user: Place of the user, [pairs].
        code: Code of the token, ``NO_TOKEN`` for events without one, [pairs].
        events: [pairs].
        odd: Events on odd days, [pairs].
    """

    user: Ints
    code: Ints
    events: Ints
    odd: Ints


def count_pairs(user: Ints, code: Ints, events: Ints, odd: Ints) -> TokenCounts:
    """Add up the counts of equal (user, code).

    Args:
        user: Places of users, [n].
        code: Not negative, [n].
        events: What is added up, [n].
        odd: Likewise, [n].
    """
    if not len(user):
        return TokenCounts(user, code, events, odd)
    codes = int(code.max()) + 1
    key = user * codes + code
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    first = key[starts]
    return TokenCounts(
        first // codes,
        first % codes,
        np.add.reduceat(events[order], starts),
        np.add.reduceat(odd[order], starts),
    )


def count_products(histories: Histories, odd_day: npt.NDArray[np.bool_]) -> TokenCounts:
    """Each user's events with each product; the code is the product."""
    once = np.ones(len(histories.micros), np.int64)
    product = histories.product.astype(np.int64)
    return count_pairs(histories.user, product, once, odd_day.astype(np.int64))


def count_field(by_product: TokenCounts, products: Products, field: int) -> TokenCounts:
    """Each user's events with each token of a field, from those with each product."""
    code = products.code[field][by_product.code].astype(np.int64)
    return count_pairs(by_product.user, code, by_product.events, by_product.odd)


def count_tokens(parts: Iterable[Histories], products: Products) -> Iterator[pa.RecordBatch]:
    """What a vocabulary is made of: rows of :data:`COUNT_SCHEMA`, several for one token."""
    for histories in parts:
        by_product = count_products(histories, np.zeros(len(histories.micros), bool))
        rows = []
        for field in range(len(products.fields)):
            counts = count_field(by_product, products, field)
            has_token = counts.code != NO_TOKEN
            rows.append(
                ("token", field, *_by_code(counts.code[has_token], counts.events[has_token]))
            )
        nothing = np.zeros(len(histories.micros), np.int64)
        types = count_pairs(histories.user, histories.type.astype(np.int64), nothing + 1, nothing)
        rows.append(("type", -1, *_by_code(types.code, types.events)))
        for kind, field, code, users, events in rows:
            yield _rows(kind, field, code, np.full(len(code), np.nan), users, events)
        price = histories.price[histories.price > 0]
        distinct, times = np.unique(price, return_counts=True)
        yield _rows("price", -1, np.zeros(len(distinct), np.int64), distinct, times, times)


def count_price_buckets(
    parts: Iterable[Histories], edges: tuple[float, ...]
) -> Iterator[pa.RecordBatch]:
    """Users and events of each price bucket, the code; rows of :data:`COUNT_SCHEMA`."""
    for histories in parts:
        index = price_indices(histories.price, edges).astype(np.int64)
        has_price = index >= FIRST_INDEX
        once = np.ones(int(has_price.sum()), np.int64)
        counts = count_pairs(histories.user[has_price], index[has_price], once, once)
        code, users, events = _by_code(counts.code, counts.events)
        yield _rows("bucket", -1, code, np.full(len(code), np.nan), users, events)


def _by_code(code: Ints, events: Ints) -> tuple[Ints, Ints, Ints]:
    """Codes, users and events of pairs of users and codes."""
    distinct, place = np.unique(code, return_inverse=True)
    users = np.bincount(place, minlength=len(distinct))
    total = np.bincount(place, weights=events, minlength=len(distinct)).astype(np.int64)
    return distinct, users, total


def _rows(
    kind: str, field: int, code: Ints, price: Floats, users: Ints, events: Ints
) -> pa.RecordBatch:
    size = len(code)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([kind] * size, pa.string()),
            pa.array(np.full(size, field), pa.int32()),
            pa.array(code, pa.int32()),
            pa.array(price, pa.float64()),
            pa.array(users, pa.int64()),
            pa.array(events, pa.int64()),
        ],
        names=["kind", "field", "code", "price", "users", "events"],
    )
