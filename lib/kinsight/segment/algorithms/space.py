"""The clustering space: encoder vectors, tastes, or both side by side, as unit rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from kinsight.segment.algorithms.spherical import Floats, unit_rows
from kinsight.segment.algorithms.tastes import MOST_AXES, Tastes, fit_tastes


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What is known of n users, one block or both.

    Attributes:
        vectors: Raw encoder vectors [n, d], float32.
        counts: Events with each token of one field [n, tokens].
    """

    vectors: npt.NDArray[np.float32] | None
    counts: csr_matrix | None

    def rows(self, selected: npt.NDArray[np.bool_]) -> Blocks:
        """The blocks of some users."""
        return Blocks(
            None if self.vectors is None else self.vectors[selected],
            None if self.counts is None else self.counts[np.flatnonzero(selected)],
        )


@dataclasses.dataclass(frozen=True)
class Space:
    """How the blocks of a user become a point; fitted once, then it travels to the executors.

    Encoders give vectors in a narrow cone, where all cosines are near 1, and tastes share what
    everybody buys; without their common part the cosine tells users apart.

    Attributes:
        tastes: Axes of the counts; None where they are not used.
        centres: Mean of each block [d] on fitting users.
        scales: What each block is divided by: its root mean square length around the centre, so
            that two blocks weigh the same.
    """

    tastes: Tastes | None
    centres: tuple[npt.NDArray[np.float64], ...]
    scales: tuple[float, ...]

    def points(self, blocks: Blocks) -> Floats:
        """Unit rows [n, d], float32; a user exactly at the centre gets zeros."""
        centred = [
            (block - centre) / scale
            for block, centre, scale in zip(
                _dense(blocks, self.tastes), self.centres, self.scales, strict=True
            )
        ]
        return unit_rows(np.hstack(centred))


def fit_space(blocks: Blocks, seed: int, axes: int = MOST_AXES) -> Space:
    """Find axes, centres and scales.

    Args:
        blocks: Fitting users.
        seed: Seed of the axes.
        axes: Axes of the tastes.
    """
    tastes = None if blocks.counts is None else fit_tastes(blocks.counts, seed, axes)
    dense = _dense(blocks, tastes)
    centres = tuple(block.mean(axis=0) for block in dense)
    squares = (
        float(((block - centre) ** 2).sum(axis=1).mean())
        for block, centre in zip(dense, centres, strict=True)
    )
    return Space(tastes, centres, tuple(max(square, 1e-24) ** 0.5 for square in squares))


def _dense(blocks: Blocks, tastes: Tastes | None) -> list[npt.NDArray[np.float64]]:
    dense = [] if blocks.vectors is None else [blocks.vectors.astype(np.float64)]
    if tastes is not None and blocks.counts is not None:
        dense.append(tastes.vectors(blocks.counts).astype(np.float64))
    return dense
