"""The users on whom centroids, traits and rules are fitted, and those on whom they are checked."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.columns import hash_fraction
from kinsight.config import SegmentConfig
from kinsight.errors import IntegrityError
from kinsight.segment.algorithms.space import Blocks
from kinsight.segment.blocks import Grouping
from kinsight.tables import numeric_columns, quote

SHARE_MAPS = ("type_shares", "category_shares")


@dataclasses.dataclass(frozen=True)
class Features:
    """Readable numbers of users.

    Attributes:
        names: Each the SQL expression over user_features that gives it, such as ``frequency`` or
            ``category_shares['Baby']``.
        values: Array [users, names], float64; NaN where unknown.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """The values of one feature [users]."""
        return np.asarray(self.values[:, self.names.index(name)])

    def rows(self, selected: npt.NDArray[np.bool_]) -> Features:
        """The features of some users."""
        return Features(self.names, self.values[selected])


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sample of the users with enough events, in the order of their hash.

    Attributes:
        held_out: True for users on whom nothing is fitted [n].
        blocks: What they are grouped by.
        features: Their readable numbers.
    """

    held_out: npt.NDArray[np.bool_]
    blocks: Blocks
    features: Features


def is_held_out(user_id: Column, config: SegmentConfig) -> Column:
    """Whether a user belongs to the part on which nothing is fitted."""
    return hash_fraction(user_id, f"segment-holdout:{config.seed}") < config.holdout_share


def collect_sample(
    users: DataFrame,
    user_features: DataFrame,
    grouping: Grouping,
    available: int,
    config: SegmentConfig,
) -> Sample:
    """Collect at most ``sample_users`` users, chosen and ordered by hash.

    Args:
        users: user_id and the columns of the grouping, of users with enough events.
        user_features: Rows of user_features of the date.
        grouping: How the blocks are read.
        available: Number of rows in ``users``.
        config: Size and seed of the sample, share held out.

    Raises:
        IntegrityError: If the vectors have different widths or values that are not finite.
    """
    fraction = min(1.0, config.sample_users / max(available, 1))
    user_id = F.col("user_id")
    hashed = users.withColumns(
        {
            "hash": hash_fraction(user_id, f"segment-sample:{config.seed}"),
            "held_out": is_held_out(user_id, config),
        }
    ).where(F.col("hash") <= fraction)
    columns = ["user_id", *numeric_columns("user_features"), *SHARE_MAPS]
    table = hashed.join(user_features.select(columns), "user_id", "left").toArrow()
    order = [("hash", "ascending"), ("user_id", "ascending")]
    table = table.sort_by(order).slice(0, config.sample_users).combine_chunks()
    if grouping.vectors:
        _check_vectors(table["vector"].combine_chunks())
    rows = table.to_batches(max_chunksize=len(table))[0]
    return Sample(table["held_out"].to_numpy(), grouping.read(rows), _features(table))


def _check_vectors(column: pa.ListArray) -> None:
    widths = np.unique(np.diff(column.offsets.to_numpy()))
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if len(widths) != 1 or not np.isfinite(flat).all():
        raise IntegrityError(
            "The vectors in table embeddings cannot be clustered.",
            expected="finite numbers, equally many for every user of a model version",
            found=f"widths {widths.tolist()}, {int((~np.isfinite(flat)).sum())} not finite",
            to_do="run `kinsight embed` again; train anew if that does not help",
        )


def _features(table: pa.Table) -> Features:
    names = list(numeric_columns("user_features"))
    columns = [table[name].cast(pa.float64()).to_numpy() for name in names]
    for map_name in SHARE_MAPS:
        keys, shares = _dense(table[map_name].combine_chunks())
        names += [f"{map_name}[{quote(key)}]" for key in keys]
        columns += list(shares.T)
    return Features(tuple(names), np.column_stack(columns).astype(np.float64))


def _dense(column: pa.MapArray) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The keys of a map column, sorted, and its values [rows, keys]; 0 where a key is absent."""
    keys = column.keys.dictionary_encode()
    known = keys.dictionary.to_pylist()
    order = np.argsort(np.array(known, dtype=object)) if known else np.zeros(0, dtype=np.int64)
    place = np.argsort(order)
    rows = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    dense = np.zeros((len(column), len(known)))
    if known:
        dense[rows, place[keys.indices.to_numpy()]] = column.items.to_numpy(zero_copy_only=False)
    return [known[i] for i in order], dense
