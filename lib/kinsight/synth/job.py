"""Writes a synthetic shop: rows made in the executors, and a configuration that runs on them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from kinsight.errors import ConfigError
from kinsight.progress import Progress
from kinsight.seed_lists import halves, write_ids
from kinsight.synth.delivery import TYPES
from kinsight.synth.draws import Ints
from kinsight.synth.events import bot_rows, user_events
from kinsight.synth.options import SynthOptions
from kinsight.synth.people import (
    attribute_rows,
    draw_people,
    truth_of_bots,
    truth_rows,
    user_names,
)
from kinsight.synth.world import ARCHETYPES, Catalogue, item_rows

BATCH_EVENTS = 200_000
"""Events made at once, about: 40 MB."""
BATCH_USERS = 10_000
"""Rows of users made at once at most."""
TASKS = 64
BOT_EVENTS_A_TASK = 200_000
"""A shop's files are of a time, not of a user: a bot is in several of them."""
ITEMS_A_TASK = 500_000
MOST_USERS_A_TASK = 200_000
LEAST_USERS_A_TASK = 10_000
"""A task writes a file a delivery: of fewer users these would be hundreds of tiny ones."""
SEED_LIST = "new parents"
MOST_SEEDS = 2_000
SEED_USERS = 200_000
"""Seeds are taken from so many first users, so that writing their list costs nothing."""

MakeRows = Callable[[int, int], Iterable[pa.Table]]
"""From the first and one past the last number to rows."""

Piece = tuple[MakeRows, int, int]
"""The work of one task."""


@dataclasses.dataclass(frozen=True)
class SynthShop:
    """What was written.

    Attributes:
        config: Configuration for the stages.
        events: Rows of events, faults included.
        users: Users that are no bots.
        seeds: Ids in the seed list.
    """

    config: Path
    events: int
    users: int
    seeds: int


def write_shop(
    spark: SparkSession, folder: Path, options: SynthOptions, progress: Progress
) -> SynthShop:
    """Write a shop into a new folder.

    The folder then holds ``source/events/delivery=NAME`` (``history``, and one a night),
    ``source/items``, ``source/users``, the Delta table ``truth`` (user_id, archetype,
    archetype_before, drifted_on, is_bot, events), an audience with a seed list and its hidden
    truth, and ``kinsight.yaml``. Equal options give equal rows, whatever the cluster.

    Args:
        spark: Session; its executors must see the folder.
        folder: A new or empty folder.
        options: Size, time and faults.
        progress: Where steps are shown.

    Raises:
        ConfigError: If the folder is not empty.
    """
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"The folder {folder} is not empty.",
            expected="a new folder, so that no old file is mixed with new ones",
            found=f"{sum(1 for _ in folder.iterdir())} entries",
            to_do="name another folder, or delete it",
        )
    source = folder / "source"
    with progress.step("writing events", spark):
        events = _made(spark, _event_pieces(options))
        writer = events.write.mode("errorifexists").partitionBy("delivery")
        if options.format == "csv":
            writer = writer.option("header", "true")
        writer.format(options.format).save((source / "events").as_uri())
    with progress.step("writing items, users and the truth", spark):
        items = functools.partial(_item_rows, options)
        pieces = _pieces(items, options.items, ITEMS_A_TASK)
        _made(spark, pieces).write.parquet((source / "items").as_uri())
        users = functools.partial(_user_rows, options, attribute_rows)
        pieces = _pieces(users, options.users, MOST_USERS_A_TASK)
        _made(spark, pieces).write.parquet((source / "users").as_uri())
        planted = functools.partial(_user_rows, options, truth_rows)
        truth = _made(spark, _pieces(planted, options.users, MOST_USERS_A_TASK))
        bots = spark.createDataFrame(truth_of_bots(options).to_pandas(), truth.schema)
        truth.unionByName(bots).write.format("delta").save((folder / "truth").as_uri())
    with progress.step("counting", spark):
        reader = spark.read.format(options.format).schema("event_id STRING")
        written = reader.option("header", "true").load((source / "events").as_uri()).count()
    seeds = _write_audience(folder, options)
    return SynthShop(_write_config(folder, options), written, options.users, seeds)


@functools.lru_cache(maxsize=1)
def _catalogue(items: int, seed: int) -> Catalogue:
    """The catalogue, made once in each Python worker."""
    return Catalogue.of(items, seed)


def _event_pieces(options: SynthOptions) -> list[Piece]:
    """The work of each task that makes events: some users, or some of a bot's events."""
    users = functools.partial(_events_of_users, options)
    a_task = -(-options.users // TASKS)
    a_task = max(LEAST_USERS_A_TASK, min(a_task, MOST_USERS_A_TASK))
    work = _pieces(users, options.users, a_task)
    for bot in range(options.bots):
        of_bot = functools.partial(_events_of_bot, options, bot)
        work += _pieces(of_bot, options.bot_events, BOT_EVENTS_A_TASK)
    return work


def _events_of_users(options: SynthOptions, begin: int, end: int) -> Iterator[pa.Table]:
    catalogue = _catalogue(options.items, options.seed)
    mean = options.expected_events / options.users
    step = max(1, min(BATCH_USERS, int(BATCH_EVENTS / mean)))
    for first in range(begin, end, step):
        yield user_events(options, catalogue, _numbers(first, min(first + step, end)))


def _events_of_bot(options: SynthOptions, bot: int, begin: int, end: int) -> Iterator[pa.Table]:
    catalogue = _catalogue(options.items, options.seed)
    for first in range(begin, end, BATCH_EVENTS):
        yield bot_rows(options, catalogue, bot, first, min(first + BATCH_EVENTS, end))


def _user_rows(
    options: SynthOptions,
    rows: Callable[[SynthOptions, Ints], pa.Table],
    begin: int,
    end: int,
) -> Iterator[pa.Table]:
    for first in range(begin, end, BATCH_USERS):
        yield rows(options, _numbers(first, min(first + BATCH_USERS, end)))


def _item_rows(options: SynthOptions, begin: int, end: int) -> Iterator[pa.Table]:
    yield item_rows(_catalogue(options.items, options.seed), _numbers(begin, end))


def _numbers(begin: int, end: int) -> Ints:
    return np.arange(begin, end, dtype=np.int64)


def _pieces(rows: MakeRows, count: int, a_task: int) -> list[Piece]:
    """The numbers 0 to count - 1, so many a task."""
    return [(rows, begin, min(begin + a_task, count)) for begin in range(0, count, a_task)]


def _made(spark: SparkSession, pieces: list[Piece]) -> DataFrame:
    """The rows of all pieces, a task each."""
    rows, begin, _ = pieces[0]
    schema = next(iter(rows(begin, begin + 1))).schema

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                rows, begin, end = pieces[number]
                for part in rows(begin, end):
                    yield from part.to_batches(max_chunksize=50_000)

    tasks = len(pieces)
    return spark.range(0, tasks, 1, tasks).mapInArrow(make, from_arrow_schema(schema))


def _write_audience(folder: Path, options: SynthOptions) -> int:
    """A seed list of one archetype and the hidden truth beside it; returns the seeds."""
    number = _numbers(0, min(options.users, SEED_USERS))
    people = draw_people(options, number)
    names = [archetype.name for archetype in ARCHETYPES]
    belongs = people.archetype == names.index(SEED_LIST)
    name = "new-parents"
    enough = belongs & (people.length >= 3)
    seeds, _ = halves(user_names(number[enough]).to_pylist(), f"synth-{options.seed}")
    seeds = seeds[:MOST_SEEDS]
    audience: dict[str, Any] = {"seeds": {"file": f"../seeds/{name}.csv"}, "minimum_seeds": 25}
    write_ids(folder / "seeds" / f"{name}.csv", seeds)
    if options.users <= SEED_USERS:  # of more users not all that belong are known here
        hidden = {*user_names(number[belongs]).to_pylist()} - {*seeds}
        write_ids(folder / "truth-lists" / f"{name}.csv", hidden)
        audience["truth"] = {"file": f"../truth-lists/{name}.csv"}
    (folder / "audiences").mkdir()
    path = folder / "audiences" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(audience, sort_keys=False), encoding="utf-8")
    return len(seeds)


def _write_config(folder: Path, options: SynthOptions) -> Path:
    """The configuration that reads the shop."""
    text = {
        "shop": "synthetic",
        "shop_timezone": "UTC",
        "tables": {"path": "./warehouse"},
        "ingest": {
            "events": [
                {
                    "name": "clicks",
                    "path": "./source/events",
                    "format": options.format,
                    "event_types": {name: name for name in TYPES},
                    "unlisted_event_types": "quarantine",
                }
            ],
            "items": [
                {
                    "name": "items",
                    "path": "./source/items",
                    "category_path": ["department", "category"],
                }
            ],
            "users": [
                {
                    "name": "users",
                    "path": "./source/users",
                    "attributes": ["country", "age_band"],
                    "consent": ["email"],
                }
            ],
            "earliest_event": options.start,
            "max_quarantine_share": 0.5 if options.malformed else 0.01,
        },
        "sequence": {"lookback_days": options.days},
        "segment": {"segments": len(ARCHETYPES)},
        "expand": {"folder": "./audiences"},
    }
    path = folder / "kinsight.yaml"
    head = (
        f"# A synthetic shop; run it: kinsight run --config {path} --as-of {options.as_of}\n"
        f"# Made with: {options.model_dump_json(exclude_defaults=True)}\n"
    )
    path.write_text(head + yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return path
