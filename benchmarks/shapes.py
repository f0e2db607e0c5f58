"""Planted users for benchmarks: unit vectors of a mixture, and tables that hold them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kinsight.segment.algorithms.spherical import Floats, unit_rows

ROWS_AT_ONCE = 100_000
ROWS_A_GROUP = 50_000
"""64 numbers each are 13 MB: near the row groups of 16 MiB that the product's tables have."""


def draw_vectors(users: int, width: int, groups: int, noise: float, seed: int) -> Floats:
    """Unit vectors around planted directions, some directions far more frequent than others.

    Args:
        users: Number of vectors.
        width: Of a vector.
        groups: Planted directions.
        noise: Length of what is added to a direction, the direction itself being 1.
        seed: Equal arguments give equal vectors.
    """
    rng = np.random.default_rng(seed)
    directions = unit_rows(rng.normal(size=(groups, width)))
    shares = rng.dirichlet(np.full(groups, 2.0))
    vectors = np.empty((users, width), dtype=np.float32)
    for start in range(0, users, ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, users))
        of = rng.choice(groups, rows.stop - rows.start, p=shares)
        around = rng.standard_normal((len(of), width), dtype=np.float32)
        vectors[rows] = unit_rows(directions[of] + around * np.float32(noise / width**0.5))
    return vectors


def user_ids(users: int) -> npt.NDArray[np.str_]:
    """Ids of planted users."""
    return np.char.mod("u%08d", np.arange(users))


def lists(values: npt.NDArray[np.generic]) -> pa.ListArray:
    """Rows of a matrix as equally long lists; nothing is copied."""
    rows, width = values.shape
    offsets = pa.array(np.arange(0, rows * width + 1, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))


def write_parts(table: pa.Table, folder: Path, parts: int) -> list[Path]:
    """The table as Parquet files of about equally many rows; their paths."""
    folder.mkdir(parents=True)
    cuts = np.linspace(0, len(table), parts + 1).astype(int)
    paths = [folder / f"part-{part:03d}.parquet" for part in range(parts)]
    for path, (begin, end) in zip(paths, itertools.pairwise(cuts), strict=True):
        pq.write_table(table.slice(begin, end - begin), path, row_group_size=ROWS_A_GROUP)
    return paths
