"""How good a clustering is, measured on a bounded sample."""

from __future__ import annotations

from sklearn.metrics import adjusted_rand_score, silhouette_score

from kinsight.segment.algorithms.spherical import Floats, fit_centroids, nearest

# The silhouette compares every pair: 2,000 rows are 4 million cosines, under a second.
SILHOUETTE_ROWS = 2_000
STABILITY_ROWS = 20_000


def silhouette(vectors: Floats, centroids: Floats) -> float:
    """Mean silhouette by cosine distance of the first rows: -1 to 1, higher is better.

    Args:
        vectors: Unit rows [n, d] in random order.
        centroids: Unit centroids [k, d].

    Returns:
        The mean; 0 where the rows fall into one cluster or each into its own.
    """
    rows = vectors[:SILHOUETTE_ROWS]
    labels = nearest(rows, centroids)
    if not 1 < len(set(labels.tolist())) < len(rows):
        return 0.0
    return float(silhouette_score(rows, labels, metric="cosine"))


def seed_stability(
    vectors: Floats, clusters: int, iterations: int, restarts: int, seed: int
) -> float:
    """Adjusted Rand index of two fits of the first rows from different seeds: 1 if equal."""
    rows = vectors[:STABILITY_ROWS]
    first, second = (
        nearest(rows, fit_centroids(rows, clusters, iterations, restarts, s))
        for s in (seed, seed + 1)
    )
    return float(adjusted_rand_score(first, second))
