"""How users' sequences reach torch: Arrow buffers against the pandas UDF, beside torch alone.

    python -m benchmarks.embed_transport --users 20000 --repeats 5

All forms encode the same synthetic table with the same numeric core, in turn (A B C, B C A, …), so
that a busy machine slows all of them about alike; the ratios within a round are compared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from benchmarks.results import circumstances, save, table
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
from kinsight.spark import build_session

SIZES = {"item": 36_000, "event_type": 4, "category": 2_700, "brand": 500, "price": 12}
VOCABULARY = "v1"
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
    names = pa.array([f"u{user:08d}" for user in range(users)])
    vocabulary = pa.array([VOCABULARY] * users)
    return pa.table([names, *lists, vocabulary], names=[*INPUT_COLUMNS, "vocabulary_version"])


def write_parts(sequences: pa.Table, folder: Path, parts: int) -> list[Path]:
    """The table as Parquet files of equally many users, one a task."""
    folder.mkdir()
    cuts = np.linspace(0, len(sequences), parts + 1).astype(int)
    paths = [folder / f"part-{part:02d}.parquet" for part in range(parts)]
    for path, begin, end in zip(paths, cuts[:-1], cuts[1:], strict=True):
        pq.write_table(sequences.slice(begin, end - begin), path)
    return paths


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
        begin = time.perf_counter()
        for histories, order in ready:
            encode_histories(encoder, histories, order, TOKENS)
        answers.put(time.perf_counter() - begin)


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

    def seconds(self) -> float:
        """Encode everything once; the seconds of the slowest process."""
        for orders in self.orders:
            orders.put(True)
        return max(self.answers.get(timeout=600) for _ in self.workers)

    def stop(self) -> None:
        """End the processes."""
        for orders in self.orders:
            orders.put(False)
        for worker in self.workers:
            worker.join()


def timed(frame: DataFrame) -> float:
    """Seconds to compute every row and throw it away."""
    begin = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - begin


def measure(users: int, repeats: int, width: int, cores: int, seed: int) -> dict[str, Any]:
    """All forms in turn, after one round that is not counted."""
    sequences = draw_sequences(users, seed)
    length = pa.compute.list_value_length(sequences["item"]).to_numpy()
    model = make_model(width)
    found = circumstances("pyspark", "torch", "pyarrow", "pandas")
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        paths = write_parts(sequences, Path(folder) / "sequences", 2 * cores)
        spark = build_session(SparkConfig(master=f"local[{cores}]"))
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH))
        # A file a task: small ones would be packed together, and one core left idle.
        spark.conf.set("spark.sql.files.openCostInBytes", "134217728")
        rows = spark.read.parquet(str(Path(folder) / "sequences"))
        limit = Limit(paths, model, cores)
        forms: dict[str, Callable[[], float]] = {
            "mapInArrow": lambda: timed(by_arrow(rows, model)),
            "pandas UDF": lambda: timed(by_udf(rows, model)),
            "torch alone": limit.seconds,
        }
        seconds: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(repeats + 1):
            first = turn % len(forms)
            for name in [*forms][first:] + [*forms][:first]:
                taken = forms[name]()
                print(f"round {turn}  {name:12s} {taken:6.2f} s{'  (warm-up)' * (turn == 0)}")
                if turn:
                    seconds[name].append(round(taken, 3))
        limit.stop()
        spark.stop()
    return found | {
        "users": users,
        "events": int(length.sum()),
        "lengths": {
            "median": float(np.median(length)),
            "mean": round(float(length.mean()), 1),
            "p95": float(np.quantile(length, 0.95)),
            "max": int(length.max()),
        },
        "encoder": f"transformer, 2 layers of width {width}",
        "cores": cores,
        "seed": seed,
        "seconds": seconds,
        "median_seconds": {name: round(statistics.median(s), 2) for name, s in seconds.items()},
        "times_mapInArrow": {
            name: [round(a / b, 3) for a, b in zip(s, seconds["mapInArrow"], strict=True)]
            for name, s in seconds.items()
        },
    }


def describe(result: dict[str, Any]) -> str:
    """The section of RESULTS.md."""
    lengths = result["lengths"]
    rows = []
    for name, seconds in result["seconds"].items():
        ratios = result["times_mapInArrow"][name]
        rows.append(
            [
                name,
                f"{min(seconds):.2f}",
                f"{result['median_seconds'][name]:.2f}",
                f"{result['users'] / min(seconds):,.0f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            ]
        )
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return "\n\n".join(
        [
            f"{result['users']:,} users, {result['events']:,} events "
            f"(median {lengths['median']:.0f} a user, mean {lengths['mean']}, "
            f"95th percentile {lengths['p95']:.0f}, maximum {lengths['max']}); "
            f"{result['encoder']}; {result['cores']} cores; "
            f"{len(result['seconds']['mapInArrow'])} rounds in turn.",
            table(
                ["form", "fastest s", "median s", "users/s at best", "time, mapInArrow = 1"], rows
            ),
            "The last column is the median of the ratios within a round, and their range. Torch "
            "alone has its histories in memory and writes nothing: the limit on these cores.",
            f"{result['date']}, commit {result['commit']}, {versions}, Python {result['python']}, "
            f"{result['machine']}, load {result['load_at_start']} at the start: "
            "above the number of cores, other work slowed the rounds unevenly. "
            "Again: `python -m benchmarks.embed_transport`.",
        ]
    )


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embed_transport", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are counted")
    parser.add_argument("--width", type=int, default=64, help="width of the transformer")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    options = vars(parser.parse_args())
    result = measure(**options)
    text = describe(result)
    print(text)
    save("embed_transport", result, "How sequences reach torch in the executors", text)


if __name__ == "__main__":
    main()
