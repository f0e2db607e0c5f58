"""What a product number stands for: small arrays that every task has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

UNKNOWN = 1
"""Index of what has no token, or one that the vocabulary does not hold; 0 is padding."""

FIRST_INDEX = 2
"""Index of the first token of every field."""

NO_TOKEN = 0
"""Code of a product without a token in a field; products are numbered from 1."""

Codes = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Products:
    """The tokens of products, and the names of event types.

    Attributes:
        fields: Names of the product fields.
        code: Code of each product in each field, [fields, products + 1]; ``NO_TOKEN`` where it
            has none. A code is the least product with that token.
        types: Names of the event types, ascending.
    """

    fields: tuple[str, ...]
    code: Codes
    types: tuple[str, ...]

    @property
    def levels(self) -> int:
        """Category levels: the fields category_1 to category_N."""
        return sum(field.startswith("category_") for field in self.fields)


@dataclasses.dataclass(frozen=True)
class Lookups(Products):
    """The same with their indices in a vocabulary.

    Attributes:
        index: Index of each code in each field, [fields, products + 1]; ``UNKNOWN`` where the
            vocabulary does not hold it.
        type_index: Index of each type, [types].
        price_edges: Ascending inclusive upper edges of all price buckets but the last; None:
            no buckets.
        category: Place of the field that sequences hold as category; None: there is none.
    """

    index: Codes
    type_index: Codes
    price_edges: tuple[float, ...] | None
    category: int | None


def price_indices(
    price: npt.NDArray[np.float64], edges: Sequence[float] | None
) -> npt.NDArray[np.int32]:
    """The index of each price: bucket 1 has the first index; NaN and 0 are unknown.

    Args:
        price: Prices of one unit, [events].
        edges: See :class:`Lookups`.
    """
    if edges is None:
        return np.full(len(price), UNKNOWN, np.int32)
    bucket = np.searchsorted(np.asarray(edges, np.float64), price, side="left")
    found: npt.NDArray[np.int32] = np.where(price > 0, bucket + FIRST_INDEX, UNKNOWN)
    return found.astype(np.int32)
