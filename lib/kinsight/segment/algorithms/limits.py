"""Clusters within size limits: dissolve the small ones, halve the large ones."""

from __future__ import annotations

import dataclasses

import numpy as np

from kinsight.segment.algorithms.spherical import (
    Floats,
    Labels,
    mean_directions,
    nearest,
    unit_rows,
)

POLISHING_STEPS = 10
# Nearer places along a direction are one: the rows and centroids are in single precision.
EQUAL_RATIOS = 1e-6
EQUAL_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class Limits:
    """The least and the greatest share of the rows that a cluster may hold."""

    minimum: float
    maximum: float

    def hold(self, sizes: Labels) -> bool:
        """Whether every cluster lies within the limits."""
        shares = sizes / max(int(sizes.sum()), 1)
        return bool(shares.min() >= self.minimum and shares.max() <= self.maximum)


def fit_within_limits(vectors: Floats, centroids: Floats, limits: Limits) -> Floats:
    """Change centroids until every cluster of the rows lies within the limits.

    The largest cluster over the limit is halved along its widest direction; if there is none,
    the smallest one under it is dissolved, so that its rows go to their next centroid. Lloyd
    steps follow as long as the limits hold. A cluster of equal rows cannot be halved: it stays
    over the limit, and the others are brought within theirs. The search ends after a bounded
    number of changes.

    Args:
        vectors: Unit rows [n, d].
        centroids: Unit centroids [k, d] to begin with.
        limits: Shares of the rows; the maximum at least twice the minimum, so that the halves
            of a large cluster are not dissolved again.

    Returns:
        Unit centroids [m, d], each with rows unless only one has; m may differ from k, and is at
        least 2 if k is.
    """
    # Once whole, always: what little comes to equal rows would be cut off and dissolved in turn.
    whole = np.zeros(len(centroids), dtype=np.bool_)
    for _ in range(4 * len(centroids)):
        labels = nearest(vectors, centroids)
        sizes = np.bincount(labels, minlength=len(centroids))
        if limits.hold(sizes):
            return _polish(vectors, centroids, labels, limits)
        divisible = np.where(whole, 0, sizes)
        largest, smallest = int(divisible.argmax()), int(sizes.argmin())
        if divisible[largest] > limits.maximum * len(vectors):
            members = vectors[labels == largest]
            halves = _halves(members, centroids[largest])
            if len(np.unique(nearest(members, halves))) < 2:
                whole[largest] = True
            else:
                centroids = np.vstack([np.delete(centroids, largest, axis=0), halves])
                whole = np.append(np.delete(whole, largest), [False, False])
        elif len(centroids) > 2 and sizes[smallest] < limits.minimum * len(vectors):
            centroids = np.delete(centroids, smallest, axis=0)
            whole = np.delete(whole, smallest)
        else:
            break
    held = np.unique(nearest(vectors, centroids))
    return centroids[held] if len(held) > 1 else centroids[:2]


def _halves(members: Floats, centroid: Floats) -> Floats:
    """Two unit centroids whose border cuts the members of one cluster into equal halves.

    The border of two unit centroids is the plane orthogonal to their difference. With u the
    widest direction of the members and m the median of (x u) / (x c), the plane of u - m c has
    half of the members on each side. Where it falls among many equal members, m lies beside them,
    so that they are all on one side.

    Returns:
        Array [2, d], placed at the mean directions of the halves as far as the border allows.
    """
    c = centroid.astype(np.float64)
    x = members.astype(np.float64)
    rest = x - np.outer(x @ c, c)
    _, axes = np.linalg.eigh(rest.T @ rest)
    u = axes[:, -1] * np.sign(axes[np.abs(axes[:, -1]).argmax(), -1])
    ratio = np.sort((x @ u) / np.maximum(x @ c, 1e-9))
    middle = len(x) // 2 - 1
    # Rows may lie close without being equal: only where a quarter of them do is the median moved.
    near = np.abs(ratio - ratio[middle : middle + 2].mean()) <= EQUAL_RATIOS
    if near.mean() > EQUAL_SHARE:
        gaps = np.flatnonzero(np.diff(ratio) > EQUAL_RATIOS)
        middle = gaps[np.abs(gaps + 1 - len(x) / 2).argmin()] if len(gaps) else middle
    across = u - ratio[middle : middle + 2].mean() * c
    across /= np.linalg.norm(across)
    along = c - (c @ across) * across
    along /= np.linalg.norm(along)
    spread = float(np.abs(x @ across).mean() / max((x @ along).mean(), 1e-9))
    return unit_rows(np.stack([along + spread * across, along - spread * across]))


def _polish(vectors: Floats, centroids: Floats, labels: Labels, limits: Limits) -> Floats:
    """Lloyd steps from the centroids, as long as the limits hold and a label changes."""
    for _ in range(POLISHING_STEPS):
        moved = mean_directions(vectors, labels, centroids)
        relabelled = nearest(vectors, moved)
        if not limits.hold(np.bincount(relabelled, minlength=len(moved))):
            break
        centroids, settled = moved, bool(np.array_equal(relabelled, labels))
        labels = relabelled
        if settled:
            break
    return centroids
