"""Segments' centroids and the assignment of users to them, against FAISS, scikit-learn and MLlib.

    python -m benchmarks.kmeans --users 200000 --clusters 100

Two sections: `fit` finds centroids of unit vectors in memory; `assign` reads the vectors of all
users from Parquet and gives each his centroid, as stage `segment` does in the executors.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Before anything loads an OpenMP runtime: on a shared machine, threads that wait by spinning make
# FAISS tens of times slower, and the limit would look better than it is to reach.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss
import numpy as np
import pyarrow as pa
from pyspark.ml.clustering import KMeans, KMeansModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame
from sklearn.cluster import MiniBatchKMeans

from benchmarks.runner import Comparison, Contender, Goal, compare, report, to_nowhere
from benchmarks.shapes import draw_vectors, lists, user_ids, write_parts
from kinsight.config import SegmentConfig, SparkConfig
from kinsight.hashing import hash_fractions
from kinsight.segment.algorithms.space import Space
from kinsight.segment.algorithms.spherical import (
    STARTING_ROWS,
    STARTING_ROWS_A_CENTROID,
    Floats,
    starts_for,
    unit_rows,
)
from kinsight.segment.blocks import Grouping
from kinsight.segment.fitting import Clustering, fit_within
from kinsight.segment.members import ASSIGNED, assign_users
from kinsight.spark import build_session

OURS, ONE_START, FAISS_ALL, FAISS = (
    "kinsight, as the stage",
    "kinsight, one start",
    "FAISS on all points, one start",
    "FAISS as it comes",
)
SKLEARN, MLLIB = "scikit-learn MiniBatchKMeans", "Spark MLlib KMeans"
SPARK, SEARCH, GEMM = "Spark alone", "FAISS in memory", "numpy in memory"
MLLIB_MOST = 50_000_000
"""Users x clusters up to which MLlib fits: 200,000 x 100 take it some 40 s on two cores."""
MLLIB_SAMPLE = 20_000
ITERATIONS = SegmentConfig().iterations
BLOCK = 4_096
PACKAGES = ("faiss-cpu", "numpy", "scikit-learn", "pyspark", "pyarrow")


def mean_cosine(vectors: Floats, centroids: Floats) -> float:
    """Mean cosine of rows to the nearest centroid; centroids need not be of unit length."""
    units = unit_rows(centroids).T
    blocks = (vectors[at : at + BLOCK] @ units for at in range(0, len(vectors), BLOCK))
    return sum(float(b.max(axis=1).sum(dtype=np.float64)) for b in blocks) / len(vectors)


class Fits:
    """The ways to find centroids of the same vectors.

    Args:
        vectors: Unit rows.
        clusters: Number of centroids.
        seed: Of every start.
    """

    def __init__(self, vectors: Floats, clusters: int, seed: int) -> None:
        self.vectors, self.clusters, self.seed = vectors, clusters, seed
        self.hashes = hash_fractions(user_ids(len(vectors)).tolist(), f"segment-sample:{seed}")

    def ours(self, restarts: int) -> Floats:
        """A hash sample, centroids, and the steps that keep them within the limits."""
        # Limits fit the number of segments; a hundred cannot hold 2 % of the users each.
        config = SegmentConfig(minimum_share=0.0, restarts=restarts, seed=self.seed)
        sample = self.vectors[self.hashes <= config.sample_users / len(self.vectors)]
        return fit_within(config)(sample, self.clusters, self.seed)

    def faiss(self, most: int | None) -> Floats:
        """FAISS alone; ``most`` points a centroid, its own 256 if None."""
        more = {} if most is None else {"max_points_per_centroid": most}
        kmeans = faiss.Kmeans(
            self.vectors.shape[1],
            self.clusters,
            niter=ITERATIONS,
            seed=self.seed,
            spherical=True,
            **more,
        )
        kmeans.train(self.vectors)
        return np.asarray(kmeans.centroids)

    def sklearn(self) -> Floats:
        """MiniBatchKMeans as it comes."""
        fitted = MiniBatchKMeans(self.clusters, random_state=self.seed).fit(self.vectors)
        return np.asarray(fitted.cluster_centers_)

    def mllib(self, frame: DataFrame, distance: str) -> Floats:
        """MLlib with as many iterations at most as the others."""
        kmeans = KMeans(k=self.clusters, maxIter=ITERATIONS, seed=self.seed)
        model = kmeans.setDistanceMeasure(distance).fit(frame)
        return np.asarray(model.clusterCenters(), dtype=np.float32)

    def check(self, centroids: Floats) -> dict[str, Any]:
        """The quality of centroids on all vectors."""
        assert len(centroids) <= self.clusters, f"{len(centroids)} centroids"
        cosine = mean_cosine(self.vectors, centroids)
        return {"mean_cosine": cosine, "cost": 1.0 - cosine, "centroids": len(centroids)}


def compare_fits(fits: Fits, frame: DataFrame | None, distance: str, repeats: int) -> Comparison:
    """All ways to fit, MLlib's if it has a frame."""
    users = len(fits.vectors)
    restarts = SegmentConfig().restarts
    contenders = [
        Contender(OURS, "ours", lambda: fits.ours(restarts), check=fits.check),
        Contender(ONE_START, "ours", lambda: fits.ours(1), check=fits.check),
        Contender(FAISS_ALL, "limit", lambda: fits.faiss(users), check=fits.check),
        Contender(FAISS, "limit", lambda: fits.faiss(None), check=fits.check),
        Contender(SKLEARN, "peer", fits.sklearn, check=fits.check),
    ]
    if frame is not None:
        cached = frame
        contenders.append(
            Contender(MLLIB, "peer", lambda: fits.mllib(cached, distance), check=fits.check)
        )
    return compare(contenders, repeats)


def report_fits(fits: Fits, found: Comparison, noise: float, distance: str, cores: int) -> None:
    """The section on fitting."""
    users, width = fits.vectors.shape
    cost = {name: one.figures["cost"] for name, one in found.contenders.items()}
    goals = []
    for name in (OURS, ONE_START) if MLLIB in cost else ():
        who = name.replace("kinsight", "ours")
        why = (
            f"FAISS itself, with one start on all points, is {found.ratio(MLLIB, FAISS_ALL):.0f} "
            f"times as fast as MLlib at this size and takes {found.ratio(FAISS_ALL, name):.0%} of "
            "our time."
        )
        goals += [
            found.goal(f"MLlib's time over {who}", MLLIB, name, 20.0, at_most=False, why=why),
            Goal(f"cost of {who}, MLlib's = 1", cost[name] / cost[MLLIB], 1.01),
        ]
    best = min(cost.values())
    starts = starts_for(fits.clusters, SegmentConfig().restarts)
    costs = ", ".join(f"{name} {value / best:.4f}" for name, value in cost.items())
    about = (
        f"{users:,} unit vectors of width {width}, drawn around planted directions with noise of "
        f"length {noise:g}; {fits.clusters} clusters, at most {ITERATIONS} iterations, {cores} "
        f"cores. Cost is 1 minus the mean cosine of all vectors to their centroid; the least of "
        f"all = 1: {costs}. The stage fits on at most {SegmentConfig().sample_users:,} users, from "
        f"{starts} starts, each on {STARTING_ROWS:,} of these (or "
        f"{STARTING_ROWS_A_CENTROID} a centroid, if more), and goes on with the best on all; FAISS "
        "as it comes has one start on 256 points a centroid. MLlib compares by "
        f"{distance} distance and finds its rows cached."
    )
    report(
        f"kmeans_fit_{users}_{fits.clusters}",
        f"Fitting {fits.clusters} centroids on {users:,} vectors",
        about,
        found,
        OURS,
        goals,
        packages=PACKAGES,
        units=(users, "users"),
        more={"cost": cost, "planted": {"noise": noise, "seed": fits.seed}},
    )


def untouched(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What the assignment takes and gives, without the assignment."""
    for batch in batches:
        zeros = np.zeros(batch.num_rows)
        whole = pa.array(zeros.astype(np.int32))
        arrays = [batch.column("user_id"), whole, whole, pa.array(zeros), pa.array(zeros)]
        yield pa.RecordBatch.from_arrays(
            arrays, names=["user_id", "cluster", "second", "distance", "confidence"]
        )


class Assignments:
    """The ways to assign the same users to the same centroids.

    Args:
        users: Rows with user_id, events_used, vector.
        vectors: The same vectors in memory.
        centroids: Unit rows.
        mllib: A model of as many clusters.
    """

    def __init__(
        self, users: DataFrame, vectors: Floats, centroids: Floats, mllib: KMeansModel
    ) -> None:
        self.users, self.vectors, self.centroids, self.mllib = users, vectors, centroids, mllib
        nowhere = Space(None, (np.zeros(vectors.shape[1]),), (1.0,))
        clustering = Clustering(nowhere, len(centroids), centroids, np.zeros(0, np.int64), {})
        self.assigned = assign_users(users, Grouping(True, None, 0), clustering, 1)

    def spark_alone(self) -> None:
        """Read the vectors, bring them to Python, bring as many columns back."""
        to_nowhere(self.users.mapInArrow(untouched, ASSIGNED))

    def transform(self) -> None:
        """MLlib's own assignment."""
        rows = self.users.select("user_id", array_to_vector("vector").alias("features"))
        to_nowhere(self.mllib.transform(rows).select("user_id", "prediction"))

    def search(self) -> np.ndarray:
        """FAISS over vectors in memory."""
        index = faiss.IndexFlatIP(self.vectors.shape[1])
        index.add(self.centroids)
        return np.asarray(index.search(self.vectors, 1)[1][:, 0])

    def gemm(self) -> np.ndarray:
        """Matrix products over vectors in memory, in blocks that stay in the cache."""
        blocks = range(0, len(self.vectors), BLOCK)
        found = [np.argmax(self.vectors[at : at + BLOCK] @ self.centroids.T, 1) for at in blocks]
        return np.concatenate(found)

    def check_against_search(self, found: np.ndarray) -> dict[str, Any]:
        """Both forms in memory agree, but for ties in the last bits."""
        same = float((found == self.search()).mean())
        assert same > 0.9999, f"only {same:.4%} assigned alike"
        return {"assigned_alike": same}

    def check_ours(self) -> dict[str, Any]:
        """What the executors find is what FAISS finds."""
        rows = self.assigned.select("user_id", "cluster").toArrow().sort_by("user_id")
        return self.check_against_search(rows["cluster"].to_numpy())


def compare_assignments(ways: Assignments, repeats: int) -> tuple[Comparison, dict[str, Any]]:
    """All ways to assign; and how far ours agrees with FAISS."""
    agreement = ways.check_ours()
    contenders = [
        Contender(OURS, "ours", lambda: to_nowhere(ways.assigned)),
        Contender(SPARK, "limit", ways.spark_alone),
        Contender(SEARCH, "limit", ways.search, check=ways.check_against_search),
        Contender(GEMM, "limit", ways.gemm, check=ways.check_against_search),
        Contender(MLLIB, "peer", ways.transform),
    ]
    return compare(contenders, repeats), agreement


def report_assignments(
    ways: Assignments, found: Comparison, agreement: Mapping[str, Any], cores: int
) -> None:
    """The section on assignment."""
    users, width = ways.vectors.shape
    clusters = len(ways.centroids)
    share = found.ratio(SPARK, OURS)
    rest = 1.0 - share
    beside = found.ratio(SEARCH, OURS)
    told = f"; the rest is {rest / beside:.1f} times what FAISS takes in memory" if rest > 0 else ""
    about = (
        f"{users:,} unit vectors of width {width} in Parquet, {clusters} centroids, {cores} cores: "
        "read, assign, throw away. Ours finds the nearest and second-nearest centroid, distance "
        "and confidence; the limits have the vectors in memory and find the nearest alone, with "
        f"{cores} threads. Spark alone reads the vectors, brings them to Python and as many "
        f"columns back, and computes nothing: {share:.0%} of our time{told}."
    )
    # What can be reached as long as Spark reads the vectors and Python gets them from it.
    both = [
        a + b for a, b in zip(found.ratios(SPARK, OURS), found.ratios(SEARCH, OURS), strict=True)
    ]
    why = (
        f"{share:.0%} of our time pass before and after the search: Spark reads the vectors, hands "
        "them to Python and takes the columns back."
    )
    goals = [
        found.goal("our speed, FAISS in memory = 1", SEARCH, OURS, 0.70, at_most=False, why=why),
        found.goal("our speed, numpy in memory = 1", GEMM, OURS, 0.70, at_most=False, why=why),
        Goal("our speed, Spark alone + FAISS = 1", statistics.median(both), 0.70, at_most=False),
    ]
    report(
        f"kmeans_assign_{users}_{clusters}",
        f"Assigning {users:,} users to {clusters} centroids",
        about,
        found,
        OURS,
        goals,
        packages=PACKAGES,
        units=(users, "users"),
        more={"spark_share": share, "faiss_share": beside, **agreement},
    )


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kmeans", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--noise", type=float, default=1.0, help="length; a direction has length 1")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are counted")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--driver-memory", default="3g")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=("fit", "assign"), help="one section instead of both")
    parser.add_argument(
        "--mllib-most", type=int, default=MLLIB_MOST, help="users x clusters it still fits"
    )
    parser.add_argument("--mllib-distance", choices=("euclidean", "cosine"), default="euclidean")
    o = parser.parse_args()
    faiss.omp_set_num_threads(o.cores)
    vectors = draw_vectors(o.users, o.width, o.clusters, o.noise, o.seed)
    fits = Fits(vectors, o.clusters, o.seed)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as name:
        folder = Path(name) / "users"
        columns = [pa.array(user_ids(o.users)), pa.array(np.full(o.users, 10)), lists(vectors)]
        table = pa.table(columns, names=["user_id", "events_used", "vector"])
        write_parts(table, folder, 4 * o.cores)
        del table, columns
        memory = {"spark.driver.memory": o.driver_memory}
        spark = build_session(SparkConfig(master=f"local[{o.cores}]", conf=memory))
        # A file a task: small ones would be packed together, and one core left idle.
        spark.conf.set("spark.sql.files.openCostInBytes", "134217728")
        users = spark.read.parquet(str(folder))
        features = users.select(array_to_vector("vector").alias("features"))
        if o.only != "assign":
            frame = None
            if o.users * o.clusters <= o.mllib_most:
                frame = features.persist()
                frame.count()
            found = compare_fits(fits, frame, o.mllib_distance, o.repeats)
            report_fits(fits, found, o.noise, o.mllib_distance, o.cores)
            if frame is not None:
                frame.unpersist()
        if o.only != "fit":
            few = features.limit(max(MLLIB_SAMPLE, 10 * o.clusters))
            model = KMeans(k=o.clusters, maxIter=2, initMode="random", seed=o.seed).fit(few)
            ways = Assignments(users, vectors, unit_rows(fits.faiss(None)), model)
            compared, agreement = compare_assignments(ways, o.repeats)
            report_assignments(ways, compared, agreement, o.cores)
        spark.stop()


if __name__ == "__main__":
    main()
