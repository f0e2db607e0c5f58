"""Many audiences in one pass over all users, against one audience, MLlib and a matrix product.

    python -m benchmarks.expand_many --users 200000 --audiences 1,10,100

Users, their bags and vectors are planted with tastes; each audience has the users of one taste as
seeds. The pass is ``kinsight.expand.scoring.score_users``, as stage `expand` calls it: every user
is read, decoded and scored for every audience, and what passes an audience's threshold is written
to nowhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pyarrow as pa
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.runner import Comparison, Contender, compare, report, to_nowhere
from benchmarks.shapes import draw_vectors, lists, user_ids, write_parts
from kinsight.config import ExpandConfig, SizesConfig, SparkConfig
from kinsight.expand.admitted import Admitted
from kinsight.expand.collecting import collect_basis, collect_samples
from kinsight.expand.definition import AudienceDefinition, SeedSource
from kinsight.expand.fitting import Expansion, fit_expansion
from kinsight.expand.gate import count_seeds
from kinsight.expand.inputs import Inputs
from kinsight.expand.lists import ListCounts, Lists
from kinsight.expand.parallel import HERE
from kinsight.expand.roles import MATCHED, RANKED, STANDING
from kinsight.expand.roster import Roster, build_roster
from kinsight.expand.scorers.registry import AUTO, SCORERS
from kinsight.expand.scorers.users import inverse_document_frequency
from kinsight.expand.scoring import score_users
from kinsight.segment.algorithms.spherical import Floats
from kinsight.spark import build_session

FIELDS = {"item": 2_000, "category_1": 50}
"""Fields of the bags and their tokens."""
MEETINGS = {"item": 12, "category_1": 5}
"""Tokens that a user meets in each."""
FAVOURITES = 10
MLLIB = "Spark MLlib"
MLLIB_AUDIENCES = 10
MLLIB_USERS = 60_000
BLOCK = 8_192
PACKAGES = ("pyspark", "numpy", "scipy", "scikit-learn", "pyarrow")


@dataclasses.dataclass(frozen=True)
class Planted:
    """Users with tastes.

    Attributes:
        vectors: Unit vectors [n, d].
        tokens: By field, the tokens that each user met [n, MEETINGS].
        seeds: For each audience, the rows of its seeds.
    """

    vectors: Floats
    tokens: dict[str, np.ndarray]
    seeds: list[np.ndarray]


def plant(users: int, width: int, audiences: int, seeds: int, seed: int) -> Planted:
    """Vectors of a mixture, bags of chance; seeds are near a direction and share favourites."""
    rng = np.random.default_rng(seed)
    vectors = draw_vectors(users, width, 50, 1.0, seed)
    tokens = {
        field: rng.integers(2, 2 + count, (users, MEETINGS[field])).astype(np.int32)
        for field, count in FIELDS.items()
    }
    chosen = []
    for _ in range(audiences):
        direction = rng.normal(size=width).astype(np.float32)
        liking = vectors @ direction + rng.normal(0, np.linalg.norm(direction) / 10, users)
        rows = np.sort(np.argpartition(-liking, 3 * seeds)[: 3 * seeds])
        rows = rng.choice(rows, seeds, replace=False)
        favourites = rng.integers(2, 2 + FIELDS["item"], FAVOURITES)
        tokens["item"][rows, 0] = rng.choice(favourites, len(rows))
        chosen.append(rows)
    return Planted(vectors, tokens, chosen)


def write_tables(planted: Planted, folder: Path, parts: int) -> None:
    """Bags, vectors and features as Parquet, with the columns that the product reads."""
    n = len(planted.vectors)
    ids = pa.array(user_ids(n))
    events = pa.array(np.full(n, sum(MEETINGS.values()), dtype=np.int64))
    write_parts(pa.table([ids, events], ["user_id", "events"]), folder / "features", parts)
    columns, names = [ids], ["user_id"]
    for field, tokens in planted.tokens.items():
        columns += [lists(tokens), lists(np.ones(tokens.shape))]
        names += [f"tokens_{field}", f"counts_{field}"]
    write_parts(pa.table(columns, names), folder / "bags", parts)
    vectors = pa.table([ids, lists(planted.vectors)], ["user_id", "vector"])
    write_parts(vectors, folder / "vectors", parts)


def read_tables(spark: SparkSession, folder: Path, planted: Planted) -> Inputs:
    """What ``read_inputs`` gives, over the planted files."""
    bags = spark.read.parquet(str(folder / "bags"))
    bag_map = F.create_map(
        *(
            part
            for field in FIELDS
            for part in (
                F.lit(field),
                F.struct(
                    F.col(f"tokens_{field}").alias("tokens"),
                    F.col(f"counts_{field}").alias("counts"),
                ),
            )
        )
    )
    users = len(planted.vectors)
    weights = {}
    for field, tokens in planted.tokens.items():
        having = np.bincount(tokens.ravel(), minlength=2 + FIELDS[field])
        weights[field] = inverse_document_frequency(having, users)
        weights[field][:2] = 0.0
    nobody = spark.createDataFrame([], "user_id STRING")
    features = spark.read.parquet(str(folder / "features"))
    return Inputs(
        features=features,
        attributes=nobody,
        bags=bags.select("user_id", bag_map.alias("bags")),
        vectors=spark.read.parquet(str(folder / "vectors")),
        segment_members={},
        vocabulary=nobody,
        titles=nobody,
        token_weights=weights,
        interests=1,
        dimension=planted.vectors.shape[1],
        model_version="planted",
        identities=None,
    )


def seed_lists(spark: SparkSession, planted: Planted, names: Sequence[str]) -> Lists:
    """What ``read_lists`` gives, over the planted seeds."""
    ids = user_ids(len(planted.vectors))
    numbers = np.repeat(np.arange(len(names), dtype=np.int32), [len(s) for s in planted.seeds])
    listed = ids[np.concatenate(planted.seeds)]
    frame = spark.createDataFrame(
        pa.table([pa.array(numbers), pa.array(listed)], ["list", "user_id"])
    )
    entries = frame.withColumns({"rows": F.lit(1), "linked": F.lit(0)}).persist()
    keys = [(name, "seeds") for name in names]
    counts = {k: ListCounts(len(s), len(s), ()) for k, s in zip(keys, planted.seeds, strict=True)}
    return Lists({key: number for number, key in enumerate(keys)}, entries, counts, {})


@dataclasses.dataclass(frozen=True)
class Ready:
    """Everything that the pass needs.

    Attributes:
        roster: The users and their roles to all audiences.
        inputs: Bags and vectors.
        expansions: Every audience, fitted.
        fit_seconds: Of each audience that was fitted itself.
        sample_seconds: Of collecting the samples of those.
    """

    roster: Roster
    inputs: Inputs
    expansions: list[Expansion]
    fit_seconds: list[float]
    sample_seconds: float


def admit(
    spark: SparkSession, folder: Path, planted: Planted, scorer: str, config: ExpandConfig
) -> tuple[Roster, Inputs, list[Admitted]]:
    """Give roles to the planted users; what the audiences are fitted and scored with."""
    names = [f"a{number:03d}" for number in range(len(planted.seeds))]
    audiences = [
        AudienceDefinition(
            name=name,
            seeds=SeedSource(file="planted.csv"),
            scorer=scorer,
            sizes=SizesConfig(),
        )
        for name in names
    ]
    inputs = read_tables(spark, folder, planted)
    lists_of_seeds = seed_lists(spark, planted, names)
    roster = build_roster(inputs, audiences, lists_of_seeds, {}, config.seed)
    admitted = [
        Admitted(a, count_seeds(a, lists_of_seeds, roster), 100, config.valid_days)
        for a in audiences
    ]
    # Reasons read further columns, which are nothing of this benchmark: habits of no feature.
    inputs = dataclasses.replace(inputs, features=with_features(inputs.features))
    inputs = dataclasses.replace(inputs, basis=collect_basis(roster, inputs, admitted))
    return roster, inputs, admitted


def make_ready(
    spark: SparkSession, folder: Path, planted: Planted, scorer: str, fits: int, seed: int
) -> Ready:
    """Give roles, collect samples, fit.

    Only the first ``fits`` audiences are fitted; the others take their models in turn, which cost
    as much to apply.
    """
    config = ExpandConfig(seed=seed)
    roster, inputs, admitted = admit(spark, folder, planted, scorer, config)
    expansions: list[Expansion] = []
    seconds: list[float] = []
    begin = time.perf_counter()
    for audience, sample in collect_samples(roster, inputs, admitted[:fits], config):
        start = time.perf_counter()
        expansions.append(fit_expansion(audience, sample, config, HERE))
        seconds.append(time.perf_counter() - start)
        print(f"  fitted {audience.name} in {seconds[-1]:.2f} s", flush=True)
    sampling = time.perf_counter() - begin - sum(seconds)
    for number, audience in enumerate(admitted[len(expansions) :]):
        model = expansions[number % fits]
        expansions.append(dataclasses.replace(model, audience=audience))
    return Ready(roster, inputs, expansions, seconds, sampling)


def with_features(features: DataFrame) -> DataFrame:
    """The planted features with every column of table user_features, empty."""
    from kinsight.tables import table_schema

    more = {
        field.name: F.lit(None).cast(field.dataType)
        for field in table_schema("user_features").fields
        if field.name not in features.columns
    }
    return features.withColumns(more)


class Passes:
    """The pass over all users, for the first audiences; and what it is compared with."""

    def __init__(self, ready: Ready, planted: Planted) -> None:
        self.ready, self.planted = ready, planted

    def frame(self, audiences: int) -> DataFrame:
        """Scores of all users for the first so many audiences."""
        expansions = self.ready.expansions[:audiences]
        return score_users(self.ready.roster, self.ready.inputs, expansions)

    def scan(self, audiences: int) -> None:
        """The product's pass."""
        to_nowhere(self.frame(audiences))

    def scan_for_nobody(self) -> None:
        """Read, join, decode to Arrow, and score for no audience: what is paid once."""
        to_nowhere(score_users(self.ready.roster, self.ready.inputs, []))

    def multiply(self, audiences: int) -> int:
        """Vectors times one column an audience, in blocks: how many scores are positive."""
        rng = np.random.default_rng(0)
        columns = rng.normal(size=(self.planted.vectors.shape[1], audiences)).astype(np.float32)
        vectors = self.planted.vectors
        blocks = range(0, len(vectors), BLOCK)
        return sum(int((vectors[at : at + BLOCK] @ columns > 0).sum()) for at in blocks)

    def mllib(self, audiences: int) -> None:
        """A logistic regression an audience on its sample, and one pass an audience."""
        frame, roster = self.ready.roster.frame, self.ready.roster
        for expansion in self.ready.expansions[:audiences]:
            name = expansion.audience.name
            role = roster.role(name)
            rows = frame.join(self.ready.inputs.vectors, "user_id").select(
                "user_id",
                array_to_vector("vector").alias("features"),
                (role == MATCHED).cast("double").alias("label"),
                "order",
            )
            ranked = expansion.audience.counts.ranked
            share = min(1.0, ExpandConfig().background_users / ranked)
            drawn = rows.where((F.col("label") == 1.0) | (F.col("order") < share))
            model = LogisticRegression(regParam=0.01, maxIter=50).fit(drawn)
            scored = model.transform(rows.where(F.col("label") == 0.0))
            to_nowhere(scored.select("user_id", "probability"))


def ours(audiences: int) -> str:
    """Name of our contender."""
    return f"kinsight, {audiences} audience{'s' if audiences > 1 else ''}"


def compare_passes(passes: Passes, counts: Sequence[int], repeats: int, mllib: bool) -> Comparison:
    """All passes in turn."""
    contenders = [Contender("kinsight, no audience", "limit", passes.scan_for_nobody)]
    for count in counts:
        contenders += [
            Contender(ours(count), "ours", lambda count=count: passes.scan(count)),
            Contender(
                f"numpy in memory, {count}", "limit", lambda count=count: passes.multiply(count)
            ),
        ]
        if mllib and count <= MLLIB_AUDIENCES:
            contenders.append(
                Contender(
                    f"{MLLIB}, {count}, fits too",
                    "peer",
                    lambda count=count: passes.mllib(count),
                )
            )
    return compare(contenders, repeats)


def report_passes(
    passes: Passes, found: Comparison, counts: Sequence[int], scorer: str, cores: int
) -> None:
    """The section and its file."""
    users, width = passes.planted.vectors.shape
    ready = passes.ready
    rows = {count: passes.frame(count).count() for count in counts}
    rates = {c: rows[c] / found.contenders[ours(c)].median for c in counts}
    told = ", ".join(f"{rows[c]:,} rows for {c} ({rates[c]:,.0f} a second)" for c in counts)
    few, many = min(counts), max(counts)
    fit = statistics.median(ready.fit_seconds)
    about = (
        f"{users:,} users with bags ({sum(MEETINGS.values())} tokens) and vectors of width "
        f"{width}, {len(passes.planted.seeds[0]):,} seeds an audience, scorer {scorer}, {cores} "
        f"cores. The pass reads, joins, decodes and scores all users for all audiences and gives "
        f"back who passes the threshold: {told}. Apart from it, fitting one audience takes "
        f"{fit:.1f} s (median of {len(ready.fit_seconds)}; with its held-out folds). The matrix "
        "product has the vectors in memory."
    )
    if any(name.startswith(MLLIB) for name in found.contenders):
        about += " MLlib's time holds a fit and a pass an audience, on the vectors alone."
    goals = []
    if many > few:
        words = f"time for {many} audiences, {few} = 1"
        goals.append(found.goal(words, ours(many), ours(few), 3.0))
    report(
        f"expand_many_{scorer}_{users}",
        f"Scoring {users:,} users for many audiences at once ({scorer})",
        about,
        found,
        ours(few),
        goals,
        packages=PACKAGES,
        units=(users, "users"),
        more={
            "rows": rows,
            "rows_a_second": rates,
            "fit_seconds": ready.fit_seconds,
            "sample_seconds": ready.sample_seconds,
        },
    )


def check(ready: Ready) -> None:
    """Audiences differ, seeds are found by whoever scores, and every role is right."""
    role = ready.roster.frame.select(F.col("roles")[0].bitwiseAND(STANDING).alias("role"))
    counts = {row[0]: row[1] for row in role.groupBy("role").count().collect()}
    assert set(counts) == {MATCHED, RANKED}, counts
    worst = min(e.chosen.auc for e in ready.expansions)
    assert worst > 0.6, f"a planted audience has an AUC of {worst:.2f} on hidden seeds"


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.expand_many", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--audiences", default="1,10,100", help="numbers, ascending")
    parser.add_argument("--seeds", type=int, default=1_000, help="seeds an audience")
    parser.add_argument("--scorer", choices=(AUTO, *SCORERS), default="logistic")
    parser.add_argument("--fits", type=int, default=3, help="audiences fitted; others share models")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are counted")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--driver-memory", default="3g")
    parser.add_argument("--mllib-users", type=int, default=MLLIB_USERS, help="MLlib up to so many")
    parser.add_argument("--seed", type=int, default=7)
    o = parser.parse_args()
    counts = [int(number) for number in o.audiences.split(",")]
    planted = plant(o.users, o.width, max(counts), o.seeds, o.seed)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as name:
        folder = Path(name)
        write_tables(planted, folder, 2 * o.cores)
        conf: dict[str, Any] = {"spark.driver.memory": o.driver_memory}
        spark = build_session(SparkConfig(master=f"local[{o.cores}]", conf=conf))
        ready = make_ready(spark, folder, planted, o.scorer, min(o.fits, max(counts)), o.seed)
        check(ready)
        passes = Passes(ready, planted)
        found = compare_passes(passes, counts, o.repeats, o.users <= o.mllib_users)
        report_passes(passes, found, counts, o.scorer, o.cores)
        spark.stop()


if __name__ == "__main__":
    main()
