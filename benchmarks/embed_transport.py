"""How users' sequences reach torch: Arrow buffers against the pandas UDF, beside torch alone.

    python -m benchmarks.embed_transport --users 20000 --repeats 5

All forms encode the same synthetic table with the same numeric core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from benchmarks.runner import Contender, Goal, compare, report, to_nowhere
from benchmarks.shapes import user_ids, write_parts
from kinsight.config import EmbedConfig, SparkConfig
from kinsight.embed.inference import (
    INPUT_COLUMNS,
    OUTPUT_SCHEMA,
    built_encoder,
    by_length,
    encode_batches,
    encode_histories,
    to_histories,
)
from kinsight.embed.udf import STRUCT_FIELDS, embed_udf
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.histories import COLUMNS
from kinsight.encoders.registry import build_encoder, encoder_options
from kinsight.spark import ARROW_ROWS, build_session

SIZES = {"item": 36_000, "event_type": 4, "category": 2_700, "brand": 500, "price": 12}
VOCABULARY = "v1"
ARROW, UDF, TORCH = "mapInArrow", "pandas UDF", "torch alone"
BATCH = 2_000
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
    lists = [pa.ListArray.from_arrays(offsets, pa.array(flat[name])) for name in COLUMNS]
    names = pa.array(user_ids(users))
    vocabulary = pa.array([VOCABULARY] * users)
    return pa.table([names, *lists, vocabulary], names=[*INPUT_COLUMNS, "vocabulary_version"])


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


def by_udf(rows: DataFrame, model: Artifact) -> DataFrame:
    """As a notebook does it."""
    return rows.select("user_id", embed_udf(model)(F.struct(*STRUCT_FIELDS)).alias("vector"))


def torch_alone(paths: list[Path], model: Artifact, orders: Any, answers: Any) -> None:
    """A process of the limit: its histories lie in memory, each order encodes them all."""
    torch.set_num_threads(1)
    encoder = built_encoder(model)
    batches = [b for path in paths for b in pq.read_table(path).to_batches(max_chunksize=BATCH)]
    ready = [(to_histories(batch), by_length(batch)) for batch in batches]
    answers.put(None)
    while orders.get(timeout=900):  # a parent that was killed gives no more orders
        for histories, order in ready:
            encode_histories(encoder, histories, order, TOKENS)
        answers.put(None)


class Limit:
    """Torch alone on the same number of cores: one process and one thread a core."""

    def __init__(self, paths: list[Path], model: Artifact, cores: int) -> None:
        spawned = multiprocessing.get_context("spawn")
        self.orders = [spawned.Queue() for _ in range(cores)]
        self.answers = spawned.Queue()
        self.workers = [
            spawned.Process(
                daemon=True,
                target=torch_alone,
                args=(paths[core::cores], model, orders, self.answers),
            )
            for core, orders in enumerate(self.orders)
        ]
        for worker in self.workers:
            worker.start()
        for _ in self.workers:
            self.answers.get(timeout=300)

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


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embed_transport", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are counted")
    parser.add_argument("--width", type=int, default=64, help="width of the transformer")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    o = parser.parse_args()
    sequences = draw_sequences(o.users, o.seed)
    length = pa.compute.list_value_length(sequences["item"]).to_numpy()
    model = make_model(o.width)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        paths = write_parts(sequences, Path(folder) / "sequences", 2 * o.cores)
        spark = build_session(SparkConfig(master=f"local[{o.cores}]"))
        spark.conf.set(ARROW_ROWS, str(BATCH))
        # A file a task: small ones would be packed together, and one core left idle.
        spark.conf.set("spark.sql.files.openCostInBytes", "134217728")
        rows = spark.read.parquet(str(Path(folder) / "sequences"))
        limit = Limit(paths, model, o.cores)
        contenders = [
            Contender(ARROW, "ours", lambda: to_nowhere(by_arrow(rows, model))),
            Contender(UDF, "ours", lambda: to_nowhere(by_udf(rows, model))),
            Contender(TORCH, "limit", limit.encode),
        ]
        found = compare(contenders, o.repeats)
        limit.stop()
        spark.stop()
    report(
        "embed_transport",
        "How sequences reach torch in the executors",
        f"{o.users:,} users, {length.sum():,} events (median {np.median(length):.0f} a user, mean "
        f"{length.mean():.1f}, 95th percentile {np.quantile(length, 0.95):.0f}, maximum "
        f"{length.max()}); transformer, 2 layers of width {o.width}; {o.cores} cores. Torch alone "
        "has its histories in memory and writes nothing: the limit on these cores.",
        found,
        ARROW,
        [Goal("torch alone, in our time", found.ratio(TORCH, ARROW), 0.85, at_most=False)],
        packages=("pyspark", "torch", "pyarrow", "pandas"),
        units=(o.users, "users"),
    )


if __name__ == "__main__":
    main()
