"""The edges of the price buckets."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def price_edges(counts: DataFrame, buckets: int) -> list[float] | None:
    """The inner edges of quantile buckets over all unit prices above 0.

    Exact, and the same whatever the partitioning: edge j is the least price p such that at least
    j / buckets of the prices are <= p. Edges that coincide are one, so there may be fewer
    buckets. One task sorts the distinct prices.

    Args:
        counts: Has price and events, one row a distinct price above 0.
        buckets: Buckets at most.

    Returns:
        Ascending upper edges (inclusive) of all buckets but the last, which has none; None where
        no event has a price.
    """
    counts = counts.select("price", F.col("events").alias("n"))
    reached = F.sum("n").over(Window.orderBy("price"))
    total = F.sum("n").over(Window.partitionBy())
    crosses_an_edge = f"reached * {buckets} div total > (reached - n) * {buckets} div total"
    rows = (
        counts.withColumns({"reached": reached, "total": total})
        .where(F.expr(crosses_an_edge))
        .select("price")
        .orderBy("price")
        .collect()  # at most `buckets` rows; the last is the greatest price
    )
    return [float(row[0]) for row in rows[:-1]] if rows else None
