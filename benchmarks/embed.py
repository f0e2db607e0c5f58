"""User vectors in Spark's tasks: ours beside other ways through Spark and beside torch alone.

    python -m benchmarks.embed --users 100000 --peer-users 10000 --repeats 3

All encode the same synthetic histories with the same encoder and the same weights. ``--forms`` asks
instead what smaller numbers and ONNX Runtime would give.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import ArrayType, FloatType
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic

from benchmarks.runner import Contender, compare, report, to_nowhere
from benchmarks.shapes import lists, user_ids, write_parts
from kinsight.config import EmbedConfig, SparkConfig
from kinsight.embed.inference import (
    INPUT_COLUMNS,
    OUTPUT_SCHEMA,
    built_encoder,
    by_length,
    encode_batches,
    to_arrow,
)
from kinsight.embed.udf import STRUCT_FIELDS, embed_udf
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.batch import Batch
from kinsight.encoders.encoding import encode_histories
from kinsight.encoders.histories import COLUMNS, Histories, IntArray
from kinsight.encoders.registry import build_encoder, encoder_options
from kinsight.spark import ARROW_ROWS, build_session

SIZES = {"item": 36_000, "event_type": 4, "category": 2_700, "brand": 500, "price": 12}
VOCABULARY = "v1"
ARROW, UDF = "mapInArrow", "pandas UDF"
LIFESTREAM, PREDICT = "lifestream's way", "predict_batch_udf"
SPARK = "Spark alone"
TORCH, HALF, INT8 = "torch alone", "torch alone, bfloat16", "torch alone, int8"
ONNX, ONNX_INT8 = "ONNX Runtime", "ONNX Runtime, int8"
FORMS = (TORCH, HALF, INT8, ONNX, ONNX_INT8)
BATCH = 2_000
USERS_A_BATCH = 256
"""Of those who cut batches by users and not by events."""
TOKENS = EmbedConfig().batch_tokens


def draw_sequences(users: int, seed: int) -> pa.Table:
    """Sequences with lengths of a real shop: median 6, mean 17, 95th percentile 68, at most 500."""
    rng = np.random.default_rng(seed)
    length = np.clip(np.rint(np.exp(rng.normal(np.log(6), 1.45, users))), 1, 500).astype(np.int64)
    events = int(length.sum())
    flat = {name: rng.integers(2, size, events).astype(np.int32) for name, size in SIZES.items()}
    flat["hour_of_week"] = rng.integers(1, 169, events).astype(np.int32)
    flat["seconds"] = 1_700_000_000 + np.cumsum(rng.integers(0, 7_200, events)).astype(np.int64)
    offsets = pa.array(np.concatenate([[0], np.cumsum(length)]).astype(np.int32))
    arrays = [pa.ListArray.from_arrays(offsets, pa.array(flat[name])) for name in COLUMNS]
    names = pa.array(user_ids(users))
    vocabulary = pa.array([VOCABULARY] * users)
    return pa.table([names, *arrays, vocabulary], names=[*INPUT_COLUMNS, "vocabulary_version"])


def make_model(width: int) -> Artifact:
    """A transformer of two layers with fresh weights; what they are does not change the cost."""
    options = {"width": width, "fields": ["item", "category", "gap"]}
    full = encoder_options("transformer", options).model_dump(mode="json")
    encoder = build_encoder("transformer", options, SIZES, seed=1)
    return Artifact.of(encoder, "transformer", full, VOCABULARY, SIZES)


def by_arrow(rows: DataFrame, model: Artifact) -> DataFrame:
    """As stage `embed` does it."""

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return encode_batches(batches, model, TOKENS)

    return rows.select(*INPUT_COLUMNS).mapInArrow(encode, from_arrow_schema(OUTPUT_SCHEMA))


def by_spark_alone(rows: DataFrame, model: Artifact) -> DataFrame:
    """As ``by_arrow``, but nothing is encoded: every vector is zero."""

    def pass_on(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            length = Histories.of_arrow(batch).length
            zero = torch.zeros(len(length), 1, model.dimension)
            yield to_arrow(batch.column("user_id"), length, zero, torch.ones(len(length), 1))

    return rows.select(*INPUT_COLUMNS).mapInArrow(pass_on, from_arrow_schema(OUTPUT_SCHEMA))


def by_udf(rows: DataFrame, model: Artifact) -> DataFrame:
    """As a notebook does it."""
    return rows.select("user_id", embed_udf(model)(F.struct(*STRUCT_FIELDS)).alias("vector"))


def by_lifestream(spark: SparkSession, source: Path, out: Path, model: Artifact) -> None:
    """As pytorch-lifestream's Spark inference does it, in three passes over files.

    All users are sorted by length, batches of equal size come from ``collect_list``, a plain UDF
    takes and gives nested lists, and vectors become a column a coordinate.
    """
    spark.read.parquet(str(source)).withColumn("length", F.size("item")).orderBy(
        "length"
    ).withColumn("number", F.monotonically_increasing_id()).groupBy(
        F.floor(F.col("number") / USERS_A_BATCH).alias("number")
    ).agg(
        F.collect_list("user_id").alias("user_id"),
        F.struct(*(F.collect_list(name).alias(name) for name in COLUMNS)).alias("features"),
        F.collect_list("length").alias("length"),
    ).write.parquet(str(out / "batches"))

    @F.udf("array<array<float>>")
    def infer(features: Any, length: list[int]) -> list[list[float]]:
        flat = {n: np.concatenate([np.asarray(v) for v in features[n]]) for n in COLUMNS}
        return encode_lists(model, flat, np.asarray(length, dtype=np.int64)).tolist()

    spark.read.parquet(str(out / "batches")).repartition(100).select(
        "user_id", infer("features", "length").alias("vectors")
    ).write.parquet(str(out / "vectors"))
    pairs = F.explode(F.arrays_zip("user_id", "vectors")).alias("pair")
    coordinates = [F.col("pair.vectors")[i].alias(f"v{i}") for i in range(model.dimension)]
    spark.read.parquet(str(out / "vectors")).select(pairs).select(
        "pair.user_id", *coordinates
    ).write.parquet(str(out / "columns"))


def by_predict_batch(padded: DataFrame, model: Artifact, width: int) -> DataFrame:
    """Spark ML's ``predict_batch_udf`` on users as they come, padded to one width before."""

    def make() -> Callable[..., Any]:
        # Spark counts the parameters: one an input column, in the order of COLUMNS.
        def predict(
            item: Any, event_type: Any, category: Any, brand: Any, price: Any, hour_of_week: Any,
            seconds: Any, length: Any,
        ) -> Any:  # fmt: skip
            there = np.arange(width) < length[:, None]
            columns = (item, event_type, category, brand, price, hour_of_week, seconds)
            flat = {n: c[there] for n, c in zip(COLUMNS, columns, strict=True)}
            return encode_lists(model, flat, length.astype(np.int64))

        return predict

    predict = predict_batch_udf(
        make,
        return_type=ArrayType(FloatType()),
        batch_size=USERS_A_BATCH,
        input_tensor_shapes=[[width]] * len(COLUMNS) + [[]],
    )
    return padded.select("user_id", predict(*COLUMNS, "length").alias("vector"))


def encode_lists(
    model: Artifact, flat: dict[str, npt.NDArray[Any]], length: IntArray
) -> npt.NDArray[np.float32]:
    """Main vectors of users that stand one after another, as one padded torch batch."""
    encoder = built_encoder(model)
    with torch.inference_mode():
        vectors = encoder.read(encoder.encode(Batch.of(Histories(flat, length))))[:, 0]
    return vectors.numpy()


def padded_rows(sequences: pa.Table) -> pa.Table:
    """The sequences with arrays of one width, zeros at the end, and their lengths."""
    histories = Histories.of_arrow(sequences.combine_chunks().to_batches()[0])
    columns = [lists(histories.padded(name)) for name in COLUMNS]
    names = ["user_id", *COLUMNS, "length"]
    return pa.table([sequences["user_id"], *columns, pa.array(histories.length)], names=names)


def encode_alone(paths: list[Path], model: Artifact, form: str, orders: Any, answers: Any) -> None:
    """A process of the limit: its histories lie in memory, each order encodes them all."""
    torch.set_num_threads(1)
    encoder = built_encoder(model)
    batches = [b for path in paths for b in pq.read_table(path).to_batches(max_chunksize=BATCH)]
    ready = [(Histories.of_arrow(batch), by_length(batch)) for batch in batches]
    exact, _ = encode_histories(encoder, *ready[0], TOKENS)
    if form in (ONNX, ONNX_INT8):
        # Here, as other benchmarks take this module without that package.
        from benchmarks.embed_onnx import in_onnx_runtime

        encode = in_onnx_runtime(encoder, TOKENS, int8=form == ONNX_INT8)
    else:
        used = encoder
        if form == INT8:
            used = quantize_dynamic(encoder, {nn.Linear}, dtype=torch.qint8)

        def encode(histories: Histories, order: IntArray) -> Tensor:
            return encode_histories(used, histories, order, TOKENS, form == HALF)[0]

    found = encode(*ready[0])
    answers.put(float(nn.functional.cosine_similarity(found, exact, dim=2).min()))
    while orders.get(timeout=900):  # a parent that was killed gives no more orders
        for histories, order in ready:
            encode(histories, order)
        answers.put(None)


class Limit:
    """Torch or ONNX Runtime alone on the same number of cores: one process and one thread a core.

    Attributes:
        cosine: The least between a vector of this form and the exact one, over some thousand users.
    """

    def __init__(self, paths: list[Path], model: Artifact, cores: int, form: str = TORCH) -> None:
        spawned = multiprocessing.get_context("spawn")
        self.orders = [spawned.Queue() for _ in range(cores)]
        self.answers = spawned.Queue()
        self.workers = [
            spawned.Process(
                daemon=True,
                target=encode_alone,
                args=(paths[core::cores], model, form, orders, self.answers),
            )
            for core, orders in enumerate(self.orders)
        ]
        for worker in self.workers:
            worker.start()
        self.cosine = min(self.answers.get(timeout=300) for _ in self.workers)

    def encode(self) -> None:
        """Encode everything once."""
        for orders in self.orders:
            orders.put(True)
        for _ in self.workers:
            self.answers.get(timeout=600)

    def stop(self) -> None:
        """End the processes."""
        for orders in self.orders:
            orders.put(False)
        for worker in self.workers:
            worker.join()


def lengths_in_words(sequences: pa.Table) -> str:
    """How many events the users have."""
    length = pa.compute.list_value_length(sequences["item"]).to_numpy()
    return (
        f"{len(length):,} users, {length.sum():,} events (median {np.median(length):.0f} a user, "
        f"mean {length.mean():.1f}, 95th percentile {np.quantile(length, 0.95):.0f}, maximum "
        f"{length.max()})"
    )


def beside_the_limit(spark: SparkSession, o: argparse.Namespace, model: Artifact) -> None:
    """Ours, the pandas UDF, and torch without Spark."""
    sequences = draw_sequences(o.users, o.seed)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        paths = write_parts(sequences, Path(folder) / "sequences", 2 * o.cores)
        rows = spark.read.parquet(str(Path(folder) / "sequences"))
        limit = Limit(paths, model, o.cores)
        contenders = [
            Contender(ARROW, "ours", lambda: to_nowhere(by_arrow(rows, model))),
            Contender(UDF, "ours", lambda: to_nowhere(by_udf(rows, model))),
            Contender(TORCH, "limit", limit.encode),
            Contender(SPARK, "limit", lambda: to_nowhere(by_spark_alone(rows, model))),
        ]
        found = compare(contenders, o.repeats)
        limit.stop()
    beside = found.ratio(SPARK, ARROW)
    report(
        "embed_limit",
        "User vectors beside torch alone",
        f"{lengths_in_words(sequences)}; transformer, 2 layers of width {o.width}; {o.cores} "
        "cores. Torch alone has its histories in memory and writes nothing: the limit on these "
        "cores. Spark alone reads the same, hands it to Python and takes vectors back, all zero.",
        found,
        ARROW,
        [
            found.goal(
                "torch alone, in our time",
                TORCH,
                ARROW,
                0.85,
                at_most=False,
                why=f"{beside:.0%} of our time passes without encoding: Spark reads the histories, "
                "hands them to Python and takes the vectors back.",
            )
        ],
        packages=("pyspark", "torch", "pyarrow", "pandas"),
        units=(o.users, "users"),
    )


def in_other_forms(o: argparse.Namespace, model: Artifact) -> None:
    """Torch, its smaller numbers, and ONNX Runtime, without Spark: what would move the limit."""
    sequences = draw_sequences(o.users, o.seed)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        paths = write_parts(sequences, Path(folder) / "sequences", 2 * o.cores)
        limits = {form: Limit(paths, model, o.cores, form) for form in FORMS}
        contenders = [Contender(form, "limit", limit.encode) for form, limit in limits.items()]
        found = compare(contenders, o.repeats)
        for limit in limits.values():
            limit.stop()
    cosines = ", ".join(f"{form} {limits[form].cosine:.5f}" for form in FORMS[1:])
    report(
        "embed_forms",
        "User vectors in other forms of torch's model",
        f"{lengths_in_words(sequences)}; transformer, 2 layers of width {o.width}; {o.cores} "
        "cores, no Spark. `embed.precision` offers bfloat16. Least cosine of a vector to the "
        f"exact one: {cosines}.",
        found,
        TORCH,
        [],
        packages=("torch", "onnxruntime", "pyarrow"),
        units=(o.users, "users"),
    )


def beside_peers(spark: SparkSession, o: argparse.Namespace, model: Artifact) -> None:
    """Ours, lifestream's way and ``predict_batch_udf``, on fewer users: they are slow."""
    sequences = draw_sequences(o.peer_users, o.seed)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as name:
        folder, out = Path(name), Path(name) / "out"
        write_parts(sequences, folder / "sequences", 2 * o.cores)
        padded = padded_rows(sequences)
        width = pa.compute.list_value_length(padded["item"])[0].as_py()
        write_parts(padded, folder / "padded", 2 * o.cores)
        rows = spark.read.parquet(str(folder / "sequences"))
        equal = spark.read.parquet(str(folder / "padded"))
        contenders = [
            Contender(ARROW, "ours", lambda: to_nowhere(by_arrow(rows, model))),
            Contender(
                LIFESTREAM,
                "peer",
                lambda: by_lifestream(spark, folder / "sequences", out, model),
                prepare=lambda: shutil.rmtree(out, ignore_errors=True),
            ),
            Contender(PREDICT, "peer", lambda: to_nowhere(by_predict_batch(equal, model, width))),
        ]
        found = compare(contenders, o.repeats)
    report(
        "embed_peers",
        "User vectors beside other ways through Spark",
        f"{lengths_in_words(sequences)}; transformer, 2 layers of width {o.width}; {o.cores} "
        f"cores. Lifestream's way writes files between its three passes; {PREDICT} finds its "
        f"users padded to {width} events in random order, {USERS_A_BATCH} a batch.",
        found,
        ARROW,
        [
            found.goal("lifestream's way, in our time", LIFESTREAM, ARROW, 3, at_most=False),
            found.goal(f"{PREDICT}, in our time", PREDICT, ARROW, 3, at_most=False),
        ],
        packages=("pyspark", "torch", "pyarrow", "pandas"),
        units=(o.peer_users, "users"),
    )


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--peer-users", type=int, default=10_000, help="beside peers")
    parser.add_argument("--repeats", type=int, default=3, help="rounds that are counted")
    parser.add_argument(
        "--forms", action="store_true", help="smaller numbers and ONNX Runtime instead, no Spark"
    )
    parser.add_argument("--width", type=int, default=64, help="width of the transformer")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    o = parser.parse_args()
    model = make_model(o.width)
    if o.forms:
        in_other_forms(o, model)
        return
    spark = build_session(SparkConfig(master=f"local[{o.cores}]"))
    spark.conf.set(ARROW_ROWS, str(BATCH))
    # A file a task: small ones would be packed together, and one core left idle.
    spark.conf.set("spark.sql.files.openCostInBytes", "134217728")
    beside_the_limit(spark, o, model)
    beside_peers(spark, o, model)
    spark.stop()


if __name__ == "__main__":
    main()
