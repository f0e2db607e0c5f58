"""An epoch of training from Parquet through petastorm, beside the same epoch on tensors in memory.

    python -m benchmarks.train --users 30000 --repeats 3

Both take the same steps on the same batches, from the same first weights, and end with the same
weights.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.embed import SIZES, draw_sequences, lengths_in_words
from benchmarks.runner import Contender, compare, report
from benchmarks.shapes import write_parts
from kinsight.config import TrainConfig
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.registry import build_encoder
from kinsight.objectives.base import TrainingSet
from kinsight.objectives.registry import build_objectives
from kinsight.progress import Progress
from kinsight.train.loader import SequenceLoader, Survey
from kinsight.train.loop import fit, repeatable

LOADED, MEMORY = "petastorm", "tensors in memory"


def train(
    config: TrainConfig, survey: Survey, batches: Callable[[int], Iterator[Batch]]
) -> Encoder:
    """One epoch, as stage `train` does it."""
    with repeatable(config.seed, config.threads):
        encoder = build_encoder("transformer", {}, SIZES, config.seed)
        data = TrainingSet(
            item_frequency=torch.ones(SIZES["item"], dtype=torch.float64),
            users=survey.users,
            users_with_order=survey.users_with_order,
            longest=survey.longest,
            batch_tokens=config.batch_tokens,
            type_frequency=torch.ones(SIZES["event_type"], dtype=torch.float64),
            purchase=None,
            sizes=SIZES,
        )
        objectives = build_objectives(config.objective, encoder, data)
        held_out = survey.held_out.take(np.arange(100))
        quiet = Progress(quiet=True)
        fit(encoder, objectives, batches, survey.users, held_out, config, quiet)
    return encoder


def digest(encoder: Any) -> dict[str, float]:
    """What must be equal: a sum over all weights."""
    return {"weights": float(sum(p.double().abs().sum() for p in encoder.parameters()))}


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=5, help="rounds that are counted")
    parser.add_argument("--seed", type=int, default=7)
    o = parser.parse_args()
    config = TrainConfig(epochs=1, holdout_share=0.01, seed=o.seed)
    sequences = draw_sequences(o.users, o.seed)
    length = pa.compute.list_value_length(sequences["item"])
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        table = sequences.append_column("length", length)
        paths = write_parts(table, Path(folder) / "sequences", 4)
        loader = SequenceLoader.of([path.as_uri() for path in paths], config)
        survey = loader.survey()
        ready = list(loader.batches(1))
        contenders = [
            Contender(LOADED, "ours", lambda: train(config, survey, loader.batches), check=digest),
            Contender(
                MEMORY, "limit", lambda: train(config, survey, lambda _: iter(ready)), check=digest
            ),
        ]
        found = compare(contenders, o.repeats)
    ours, limit = (found.contenders[name].figures for name in (LOADED, MEMORY))
    if ours != limit:
        raise SystemExit(f"the weights differ: {ours}, {limit}")
    report(
        "train",
        "An epoch of training beside tensors in memory",
        f"{lengths_in_words(sequences)}, of whom {survey.users:,} have at least "
        f"{config.minimum_length}; transformer, 2 layers of width 64, next_item with 1,024 drawn "
        f"candidates among {SIZES['item']:,} items, batches of {config.batch_tokens:,} events, "
        "2 cores. The same steps from the same batches, which end with the same weights.",
        found,
        LOADED,
        [found.goal("tensors in memory, in our time", MEMORY, LOADED, 0.85, at_most=False)],
        packages=("torch", "petastorm", "pyarrow", "pandas"),
        units=(survey.users, "users"),
    )


if __name__ == "__main__":
    main()
