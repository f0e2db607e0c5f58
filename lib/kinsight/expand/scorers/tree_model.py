"""What ``boosted`` ships to executors: trees as arrays, without scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from kinsight.expand.measures import BoolArray, FloatArray, IntArray
from kinsight.expand.scorers.users import Users

BLOCK = 4_096
"""Users that go down the trees together: some 10 MB for hundred trees."""


def tree_inputs(users: Users) -> FloatArray:
    """What the trees look at [n, inputs]: activity, readable features, components, vectors.

    NaN where it is not known, which trees send to a side of its own.
    """
    parts = [users.activity[:, None]]
    if users.features is not None:
        parts.append(users.features)
    if users.components is not None:
        parts.append(users.components.astype(np.float64))
    parts.append(np.where(users.has_vector[:, None], users.vectors, np.nan))
    return np.hstack(parts).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Trees:
    """Binary trees of equal room, one a row.

    A user at an inner node goes left where his input is at most the threshold, or where it is
    unknown and the node says so. A leaf is its own child on both sides.

    Attributes:
        inputs: Input that a node looks at [trees, nodes].
        thresholds: What it compares with [trees, nodes].
        unknown_left: Whether unknown goes left [trees, nodes].
        left: Left child [trees, nodes].
        right: Right child [trees, nodes].
        values: What a leaf adds to the score [trees, nodes].
        depth: Steps from a root to the deepest leaf.
    """

    inputs: IntArray
    thresholds: FloatArray
    unknown_left: BoolArray
    left: IntArray
    right: IntArray
    values: FloatArray
    depth: int

    def sums(self, inputs: FloatArray) -> FloatArray:
        """The sum of the trees' values for each row of inputs [n]."""
        found = np.zeros(len(inputs))
        tree = np.arange(len(self.values))[None, :]
        for start in range(0, len(inputs), BLOCK):
            block = inputs[start : start + BLOCK]
            row = np.arange(len(block))[:, None]
            node: npt.NDArray[np.int64] = np.zeros((len(block), len(self.values)), dtype=np.int64)
            for _ in range(self.depth):
                seen = block[row, self.inputs[tree, node]]
                goes_left = np.where(
                    np.isnan(seen),
                    self.unknown_left[tree, node],
                    seen <= self.thresholds[tree, node],
                )
                node = np.where(goes_left, self.left[tree, node], self.right[tree, node])
            found[start : start + BLOCK] = self.values[tree, node].sum(axis=1)
        return found


@dataclasses.dataclass(frozen=True)
class TreeModel:
    """Standardised sums of trees.

    Attributes:
        trees: The trees.
        location: Mean sum of the calibration users.
        scale: Its standard deviation.
    """

    trees: Trees
    location: float = 0.0
    scale: float = 1.0

    def score(self, users: Users) -> FloatArray:
        """Scores [n]."""
        return self.score_inputs(tree_inputs(users))

    def score_inputs(self, inputs: FloatArray) -> FloatArray:
        """The same from :func:`tree_inputs`, which the models of all audiences share."""
        return (self.trees.sums(inputs) - self.location) / self.scale
