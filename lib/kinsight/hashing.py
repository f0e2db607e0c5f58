"""Sampling by a hash of the id, so that Spark and Python draw the same users every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def hash_fractions(ids: Iterable[str], salt: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each id: the first 32 bits of md5(``salt:id``) over 2^32.

    Args:
        ids: User ids.
        salt: Purpose and seed, so that samples for two purposes are independent.

    Returns:
        Array [n], float64; equal to ``kinsight.columns.hash_fraction`` in Spark.
    """
    digests = (hashlib.md5(f"{salt}:{i}".encode(), usedforsecurity=False).digest() for i in ids)
    return np.fromiter((int.from_bytes(d[:4], "big") for d in digests), dtype=np.float64) / 2.0**32
