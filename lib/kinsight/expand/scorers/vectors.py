"""Vectors as the scorers that read them see them: without their common part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.users import Users


def unit(vectors: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Vectors divided by their length; zeros stay zeros [n, d]."""
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms > 0, norms, 1.0))


def mean_vector(users: Users, background: BoolArray) -> FloatArray:
    """The mean of the background's vectors; zeros where nobody has one [d].

    Vectors of an encoder share a large common part, so every cosine is near 1 until it is taken
    off.
    """
    base = users.vectors[background & users.has_vector]
    return base.mean(axis=0, dtype=np.float64) if len(base) else np.zeros(users.vectors.shape[1])
