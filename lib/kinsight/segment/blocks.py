"""What users are grouped by: columns of embeddings and user_bags, read from Arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix

from kinsight.segment.algorithms.space import Blocks


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Which blocks a run uses.

    Attributes:
        vectors: Whether encoder vectors are used.
        field: Vocabulary field whose counts are used; None for none.
        tokens: Largest token index of that field, plus one.
    """

    vectors: bool
    field: str | None
    tokens: int

    def columns(self, users: DataFrame, bags: DataFrame, also: Sequence[str] = ()) -> DataFrame:
        """user_id, events_used and the columns that :meth:`read` needs, one row a vector.

        Args:
            users: Rows of embeddings.
            bags: Rows of user_bags.
            also: Further columns of embeddings to keep.
        """
        vector = ["vector"] if self.vectors else []
        kept = users.select("user_id", *also, "events_used", *vector)
        if self.field is None:
            return kept
        bag = F.col("bags")[self.field]
        counts = bags.select(
            "user_id", bag["tokens"].alias("tokens"), bag["counts"].alias("counts")
        )
        return kept.join(counts, "user_id", "left")

    def read(self, rows: pa.RecordBatch) -> Blocks:
        """The blocks of the users in an Arrow batch or struct of these columns."""
        return Blocks(
            _vectors(rows.column("vector")) if self.vectors else None,
            None
            if self.field is None
            else _counts(rows.column("tokens"), rows.column("counts"), self.tokens),
        )


def choose_grouping(vocabulary: DataFrame, choice: str) -> Grouping:
    """The blocks for a value of ``segment.input``.

    Args:
        vocabulary: Rows of vocabularies of one version.
        choice: embedding, bags or both.

    Returns:
        The grouping; of the bags it takes the deepest category level, or the items of a shop
        without categories.
    """
    if choice == "embedding":
        return Grouping(vectors=True, field=None, tokens=0)
    rows = vocabulary.groupBy("field").agg(F.max("index").alias("last")).collect()
    last = {row["field"]: int(row["last"]) for row in rows}
    levels = sorted(
        (field for field in last if field.startswith("category_")),
        key=lambda field: int(field.removeprefix("category_")),
    )
    field = levels[-1] if levels else "item"
    return Grouping(choice == "both", field, last.get(field, 1) + 1)


def _vectors(column: pa.ListArray) -> npt.NDArray[np.float32]:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(column), -1), dtype=np.float32)


def _counts(tokens: pa.ListArray, counts: pa.ListArray, width: int) -> csr_matrix:
    """csr_matrix as a sparse matrix [users, width]; users without the field have an empty row."""
    lengths = pc.fill_null(pc.list_value_length(tokens), 0).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = counts.flatten().to_numpy(zero_copy_only=False)
    indices = tokens.flatten().to_numpy(zero_copy_only=False)
    return csr_matrix((values, indices, starts), shape=(len(tokens), width))
