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
    vectors: Floats, centroids: Floats, iterations: int, restarts: int, seed: int
) -> float:
    """How much of a clustering another seed finds again: adjusted Rand index, 1 if all.

    Args:
        vectors: Unit rows [n, d] in random order; the first ones are used.
        centroids: Unit centroids [k, d] as they were fitted.
        iterations: Lloyd iterations of each start.
        restarts: Starts.
        seed: Another seed.
    """
    rows = vectors[:STABILITY_ROWS]
    others = fit_centroids(rows, len(centroids), iterations, restarts, seed)
    return float(adjusted_rand_score(nearest(rows, centroids), nearest(rows, others)))
