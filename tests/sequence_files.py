"""Parquet files of sequences as Spark would write them, for tests of the loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from kinsight.encoders.histories import COLUMNS, Histories


def to_table(histories: Histories, first: int = 0) -> pa.Table:
    """Histories as the columns of table `sequences` that training reads.

    Args:
        histories: N users.
        first: Number of the first user's id.
    """
    offsets = pa.array(np.concatenate(([0], np.cumsum(histories.length))).astype(np.int32))
    lists = {
        name: pa.ListArray.from_arrays(offsets, pa.array(histories.columns[name]))
        for name in COLUMNS
    }
    users = [f"u{first + i:07d}" for i in range(len(histories))]
    length = pa.array(histories.length.astype(np.int32))
    return pa.table({"user_id": users, "length": length, **lists})


def write_files(folder: Path, tables: list[pa.Table], rows_a_group: int = 1_000) -> list[str]:
    """Write one file a table; the names as Delta's ``inputFiles`` gives them, out of order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, table in enumerate(tables):
        path = folder / f"part-{number:05d}-{97 - number}-c000.snappy.parquet"
        parquet.write_table(table, path, row_group_size=rows_a_group)
        names.append(f"file:{path}")
    return names[::-1]
