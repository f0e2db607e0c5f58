"""Products and vocabularies without Spark: what stage `sequence` does between its executors.

Products are numbered as in ``kinsight.sequence.products``, vocabularies follow the rule of
``kinsight.sequence.vocabulary``: most users first, then by token; tokens of too few users get no
index; prices by quantile buckets. Left out: item tables, and buckets of hashes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kinsight.bags import parts_of_cross
from kinsight.config import SequenceConfig
from kinsight.expand.measures import FloatArray
from kinsight.sequence.executor.counts import count_tokens
from kinsight.sequence.executor.histories import Histories as Events
from kinsight.sequence.executor.lookups import FIRST_INDEX, NO_TOKEN, UNKNOWN, Lookups, Products
from kinsight.sequence.products import (
    CROSS_SEPARATOR,
    MOST_PRICE,
    PATH_SEPARATOR,
    PRICE_FIFTHS,
    fields_of,
)

PRODUCT = ["item_id", "category", "brand"]


@dataclasses.dataclass(frozen=True)
class Tokens:
    """One field of the vocabulary.

    Attributes:
        names: Token of each index, [indices]; empty for padding and unknown.
        users: Users with it, [indices].
        events: Events with it, [indices].
    """

    names: npt.NDArray[np.object_]
    users: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]


def number_products(
    events: pd.DataFrame, crosses: Sequence[str] = ()
) -> tuple[Products, npt.NDArray[np.int64], list[npt.NDArray[np.object_]]]:
    """Products with their codes, the product of each event, and the token of each code."""
    key = events[PRODUCT]
    distinct = key.drop_duplicates().sort_values(PRODUCT, na_position="first", ignore_index=True)
    number = distinct.reset_index().rename(columns={"index": "product"})
    # Missing values are equal to each other in a merge of pandas.
    of_event = key.merge(number, on=PRODUCT, how="left")["product"].to_numpy(dtype=np.int64) + 1
    paths = [
        [part for part in path.split(PATH_SEPARATOR) if part] if isinstance(path, str) else []
        for path in distinct["category"]
    ]
    levels = max(map(len, paths), default=0)
    columns: list[list[str | None]] = [distinct["item_id"].tolist(), distinct["brand"].tolist()]
    columns += [
        [PATH_SEPARATOR.join(path[:level]) if path else None for path in paths]
        for level in range(1, levels + 1)
    ]
    fields = fields_of(levels, crosses)
    prices = pd.Series(events["price"].to_numpy(dtype=np.float64)).clip(upper=MOST_PRICE)
    mean = prices[prices > 0].groupby(of_event[(prices > 0).to_numpy()]).mean()
    price = mean.reindex(np.arange(1, len(distinct) + 1)).to_numpy()
    for cross in crosses:
        inner, outer = parts_of_cross(cross)
        deepest = f"category_{levels}" if outer == "category" else outer
        if deepest not in fields[: len(columns)]:
            columns.append([None] * len(distinct))
            continue
        outers = columns[fields.index(deepest)]
        inners = _price_fifths(outers, price) if inner == "price" else columns[fields.index(inner)]
        columns.append(
            [
                f"{one}{CROSS_SEPARATOR}{other}" if one and other else None
                for one, other in zip(outers, inners, strict=True)
            ]
        )
    codes = np.full((len(columns), len(distinct) + 1), NO_TOKEN, dtype=np.int32)
    names = []
    for field, column in enumerate(columns):
        tokens = np.array([None, *column], dtype=object)
        place, _ = pd.factorize(pd.Series(column, dtype=object))
        # The code of a token is the least product that has it.
        known = np.flatnonzero(place >= 0)
        _, first = np.unique(place[known], return_index=True)
        codes[field, 1 + known] = 1 + known[first][place[known]]
        names.append(tokens)
    types = tuple(sorted(events["event_type"].unique()))
    return Products(tuple(fields), codes, types), of_event, names


def _price_fifths(outers: Sequence[str | None], price: FloatArray) -> list[str | None]:
    """The fifth of each product among those of equal other part, by mean price."""
    frame = pd.DataFrame({"outer": outers, "price": price}).dropna()
    of_outer = frame.groupby("outer")["price"]
    below = of_outer.rank(method="min") - 1
    fifth = 1 + (below * PRICE_FIFTHS // of_outer.transform("size")).astype(int)
    told = "price " + fifth.astype(str)
    return [told.get(place) for place in range(len(outers))]


def make_vocabulary(
    parts: Sequence[Events],
    products: Products,
    names: Sequence[npt.NDArray[np.object_]],
    sequences: SequenceConfig,
    price: FloatArray,
) -> tuple[Lookups, dict[str, Tokens]]:
    """Indices by the rule of ``kinsight.sequence.vocabulary``."""
    counted = pa.Table.from_batches(list(count_tokens(parts, products))).to_pandas()
    counted = counted.groupby(["kind", "field", "code"], as_index=False)[["users", "events"]].sum()
    index = np.full_like(products.code, UNKNOWN)
    tokens = {}
    for field, name in enumerate(products.fields):
        own = counted[(counted["kind"] == "token") & (counted["field"] == field)]
        own = own.assign(token=names[field][own["code"]])
        own = own[own["users"] >= sequences.minimum_token_users]
        own = own.sort_values(["users", "token"], ascending=[False, True])
        own = own.head(sequences.vocabulary_size)
        index[field, own["code"]] = np.arange(len(own)) + FIRST_INDEX
        tokens[name] = _tokens(own)
    of_type = counted[counted["kind"] == "type"]
    of_type = of_type.assign(token=np.array(products.types, dtype=object)[of_type["code"]])
    of_type = of_type.sort_values(["users", "token"], ascending=[False, True])
    tokens["event_type"] = _tokens(of_type)
    at = {token: place for place, token in enumerate(tokens["event_type"].names)}
    edges = price_edges(price, sequences.price_buckets)
    if edges is not None:
        buckets = np.zeros(len(edges) + 1 + FIRST_INDEX, dtype=np.int64)
        tokens["price"] = Tokens(buckets.astype(object), buckets, buckets)
    lookups = Lookups(
        fields=products.fields,
        code=products.code,
        types=products.types,
        index=index,
        type_index=np.array([at[name] for name in products.types], dtype=np.int32),
        price_edges=edges,
        category=products.fields.index(f"category_{products.levels}") if products.levels else None,
    )
    return lookups, tokens


def _tokens(rows: pd.DataFrame) -> Tokens:
    """Tokens in the order of their indices."""
    nothing = np.zeros(FIRST_INDEX, dtype=np.int64)
    return Tokens(
        np.concatenate([np.array(["", ""], dtype=object), rows["token"].to_numpy(dtype=object)]),
        np.concatenate([nothing, rows["users"].to_numpy(dtype=np.int64)]),
        np.concatenate([nothing, rows["events"].to_numpy(dtype=np.int64)]),
    )


def price_edges(price: FloatArray, buckets: int) -> tuple[float, ...] | None:
    """The edges of ``kinsight.sequence.prices``, in numpy.

    Args:
        price: Price of each event; only those above 0 count.
        buckets: Buckets at most.
    """
    distinct, times = np.unique(price[price > 0], return_counts=True)
    if not len(distinct):
        return None
    reached, total = np.cumsum(times), int(times.sum())
    crosses = reached * buckets // total > (reached - times) * buckets // total
    return tuple(distinct[crosses][:-1].tolist())
