"""What some users do, as reasons are told from it: decoded from Arrow. No Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.traits import PURCHASE_SHARE, TRAITS

TRAIT_FEATURES = tuple(dict.fromkeys([*(trait.feature for trait in TRAITS), PURCHASE_SHARE]))
"""SQL expressions over user_features."""


@dataclasses.dataclass(frozen=True)
class Habits:
    """Habits of some users, one a row.

    Attributes:
        shares: By field: the share of the user's events with each token [n, tokens]; events with
            unknown tokens count in the whole.
        features: By feature of TRAIT_FEATURES, its value, NaN where unknown [n].
    """

    shares: Mapping[str, sparse.csr_matrix]
    features: Mapping[str, FloatArray]

    def rows(self, selected: BoolArray) -> Habits:
        """The habits of the selected users."""
        return Habits(
            {field: shares[selected] for field, shares in self.shares.items()},
            {name: values[selected] for name, values in self.features.items()},
        )


def decode_habits(rows: pa.RecordBatch, tokens: Mapping[str, int]) -> Habits:
    """Read habits from Arrow.

    Args:
        rows: For each field ``tokens_FIELD`` and ``counts_FIELD`` (null where there are none), and
            ``feature_N`` for each N of TRAIT_FEATURES.
        tokens: By field, one more than the greatest index of its tokens.
    """
    return Habits(
        {
            field: event_shares(rows.column(f"tokens_{field}"), rows.column(f"counts_{field}"), n)
            for field, n in tokens.items()
        },
        {
            name: np.asarray(
                rows.column(f"feature_{place}").cast(pa.float64()).to_numpy(zero_copy_only=False)
            )
            for place, name in enumerate(TRAIT_FEATURES)
        },
    )


def event_shares(tokens: pa.Array, counts: pa.Array, width: int) -> sparse.csr_matrix:
    """Counts divided by their sum: one row a user, of sum 1, or empty [n, width].

    Args:
        tokens: Lists of token indices.
        counts: Lists of counts, equally long.
        width: One more than the greatest known index; others count in the sum only.
    """
    lengths = pc.fill_null(pc.list_value_length(tokens), 0).to_numpy()
    row = np.repeat(np.arange(len(lengths)), lengths)
    index = pc.list_flatten(tokens).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(counts).to_numpy(zero_copy_only=False).astype(np.float64)
    total = np.bincount(row, values, minlength=len(lengths))
    known = (index > 1) & (index < width) & (values > 0)
    return sparse.csr_matrix(
        ((values / np.where(total > 0, total, 1.0)[row])[known], (row[known], index[known])),
        shape=(len(lengths), width),
    )
