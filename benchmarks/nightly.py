"""Two nights of the whole pipeline on a synthetic shop: seconds a stage, memory, and the limits.

    python -m benchmarks.nightly --users 100000

The shop comes from `kinsight synth`; both nights are `kinsight run` in processes of their own. The
first reads everything and trains; the second reads one more delivery and keeps the model. Then the
limits of the stages that have one run on the same files. With --first-night the first is all.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import faiss
import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import yaml

from benchmarks.embed import TORCH, Limit
from benchmarks.event_log import STAGES, logged_to, longest, steps_of, tasks_of
from benchmarks.results import FOLDER, circumstances, save, table
from benchmarks.runner import Goal, goal_table, reference_work, said, tree_mib
from kinsight.embed.inference import INPUT_COLUMNS
from kinsight.encoders.artifact import read_artifact

AS_OF = dt.date(2024, 7, 1)
SAMPLE_SECONDS = 1.0
"""Between looks at the memory of all processes: each costs some milliseconds of a core."""
EVERY_NIGHT = tuple(stage for stage in STAGES if stage != "train")
SCALE_FROM, MOST_GROWTH = 100_000, 1.2
"""Users from which on the cost of one may grow by a fifth at most."""
NIGHTS = ("first", "second")
AUDIENCES = 100
"""Of the matrix product that is the limit of an expansion's pass: some more than there are cost
next to nothing."""


def kinsight(*arguments: str, **environment: str) -> tuple[float, float]:
    """Run a command; its wall seconds and the most memory (PSS) of its process tree, MiB."""
    begin, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kinsight", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
        )
        while process.poll() is None:
            peak = max(peak, tree_mib(psutil.Process(process.pid)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"kinsight {' '.join(arguments)}\n{output.read()[-4000:]}")
    return time.perf_counter() - begin, peak


def delta_rows(path: Path) -> ds.Dataset:
    """The newest version of a Delta table, read without a JVM."""
    found = deltalake.DeltaTable(str(path))
    files = [file.removeprefix("file://") for file in found.file_uris()]
    return ds.dataset(files, format="parquet", partitioning="hive")


def stage_seconds(warehouse: Path, as_of: dt.date | None = None) -> dict[str, list[float]]:
    """By stage, the seconds of its runs in their order.

    Args:
        warehouse: Folder of the tables.
        as_of: Only runs of this date, and `ingest`, which has none.
    """
    rows = delta_rows(warehouse / "runs").to_table(
        columns=["stage", "as_of", "started_at", "finished_at"]
    )
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for row in sorted(rows.to_pylist(), key=lambda row: row["started_at"]):
        if as_of is None or row["as_of"] in (None, as_of):
            took = row["finished_at"] - row["started_at"]
            seconds[row["stage"]].append(took.total_seconds())
    return seconds


def timed(work: Callable[[], Any]) -> float:
    """Seconds of some work, the better of two runs."""
    found = []
    for _ in range(2):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def limit_seconds(folder: Path, as_of: dt.date, scratch: Path) -> dict[str, float]:
    """What the costly work of stages takes outside of Spark, on the same data and cores."""
    events = str(folder / "source" / "events" / "*" / "*.parquet")
    warehouse = folder / "warehouse"
    sequences = delta_rows(warehouse / "sequences").to_table(
        columns=[*INPUT_COLUMNS], filter=ds.field("as_of") == str(as_of)
    )
    half = len(sequences) // 2
    paths = [scratch / "one.parquet", scratch / "two.parquet"]
    for path, part in zip(paths, (sequences[:half], sequences[half:]), strict=True):
        pa.parquet.write_table(part, path)
    models = [p for p in (warehouse / "_models").iterdir() if not p.name.startswith((".", "_"))]
    alone = Limit(paths, read_artifact(models[0]), 2, TORCH)
    embed = timed(alone.encode)
    alone.stop()
    column = delta_rows(warehouse / "embeddings").to_table(
        columns=["vector"], filter=ds.field("as_of") == str(as_of)
    )["vector"]
    users = len(column)
    vectors = np.ascontiguousarray(
        column.combine_chunks().flatten().to_numpy().reshape(users, -1), dtype=np.float32
    )
    centroids = vectors[:: max(1, users // 12)][:12]
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(centroids)
    weights = np.ascontiguousarray(vectors[:AUDIENCES].T)
    return {
        "sequence": timed(lambda: polars_sequences(events, scratch / "sequences.parquet")),
        "embed": embed,
        "segment": timed(lambda: index.search(vectors, 2)),
        "expand": timed(lambda: vectors @ weights),
    }


def polars_sequences(events: str, out: Path) -> None:
    """The events sorted by user and time, as lists; no vocabulary is made."""
    pl.scan_parquet(events).select("user_id", "event_time", "event_type", "item_id", "price").sort(
        "user_id", "event_time"
    ).group_by("user_id", maintain_order=True).agg(
        pl.all().exclude("user_id").tail(200)
    ).collect().write_parquet(out)


def configure(folder: Path, train: dict[str, Any], conf: dict[str, str], **spark: str) -> Path:
    """Set training and Spark in a synthetic shop's configuration; its path.

    Spark logs its events to FOLDER/log.
    """
    config = folder / "kinsight.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    conf = conf | logged_to(folder / "log")
    settings |= {"train": train, "spark": {"conf": conf, **spark}}
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return config


def run_night(config: Path, as_of: dt.date) -> dict[str, Any]:
    """`kinsight run` for a date: ``wall`` seconds, ``peak_mib``, and by stage seconds and tasks."""
    log = config.parent / "log"
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir()
    wall, peak = kinsight("run", "-c", str(config), "--as-of", str(as_of), "--quiet")
    seconds = stage_seconds(config.parent / "warehouse", as_of)
    return {
        "wall": wall,
        "peak_mib": peak,
        "stages": {stage: took[-1] for stage, took in seconds.items() if took},
        "tasks": tasks_of(log),
        "steps": steps_of(log),
    }


def run_nights(
    folder: Path, users: int, epochs: int, memory: str, nights: tuple[str, ...]
) -> dict[str, Any]:
    """Make a shop and run its nights, or the first alone; what they took."""
    made, _ = kinsight("synth", str(folder), "--users", str(users), "--nights", "2", "--quiet")
    print(f"  made the shop in {made:,.0f} s", flush=True)
    config = configure(folder, {"epochs": epochs}, {"spark.driver.memory": memory})
    night = AS_OF - dt.timedelta(days=1)
    delivery = folder / "source" / "events" / f"delivery={night}"
    delivery.rename(folder / "later")
    result: dict[str, Any] = {"users": users, "synth_seconds": made}
    for name in nights:
        if name == "second":
            (folder / "later").rename(delivery)
        result[name] = run_night(config, AS_OF if name == "second" else night)
        took, peak = result[name]["wall"], result[name]["peak_mib"]
        print(f"  {name} night {took:,.0f} s, at most {peak:,.0f} MiB", flush=True)
    counts = delta_rows(folder / "warehouse" / "events").count_rows()
    before = delta_rows(folder / "warehouse" / "events").count_rows(
        filter=ds.field("event_date") < str(night)
    )
    size = {
        path.name: sum(file.stat().st_size for file in path.rglob("*.parquet"))
        for path in sorted((folder / "warehouse").iterdir())
        if path.is_dir()
    }
    return result | {"events": counts, "new_events": counts - before, "bytes": size}


def shown(result: dict[str, Any], nights: tuple[str, ...]) -> str:
    """Seconds of each stage of the nights beside the limit, and its tasks on the last."""
    limits, last, rows = result["limits"], nights[-1], []
    for stage in STAGES:
        took = [result[night]["stages"].get(stage) for night in nights]
        tasks = result[last]["tasks"].get(stage, {})
        rows.append(
            [
                stage,
                *("" if seconds is None else f"{seconds:.1f}" for seconds in took),
                *([f"{limits[stage]:.2f}" if stage in limits else ""] if limits else ()),
                f"{tasks.get('core_seconds', 0):.1f}",
                f"{tasks.get('shuffle', 0) / 1e6:,.0f}",
                tasks.get("jobs", 0),
            ]
        )
    whole = [f"{result[night]['wall']:.1f}" for night in nights]
    rest = [""] * (4 if limits else 3)
    rows.append(["whole, with starting", *whole, *rest])
    memory = [f"{result[night]['peak_mib']:,.0f}" for night in nights]
    rows.append(["most memory, MiB PSS", *memory, *rest])
    tasks = [f"{word} on the {last}" for word in ("core s", "shuffled MB", "Spark jobs")]
    columns = [
        "",
        *(f"{night} night s" for night in nights),
        *(["limit s"] if limits else ()),
        *tasks,
    ]
    steps = longest(result[last]["steps"])
    return f"{table(columns, rows)}\n\nLongest steps of the {last} night: {steps}."


def scale_curve() -> None:
    """One table of all sizes that were measured, in RESULTS.md."""
    found = [json.loads(p.read_text()) for p in (FOLDER / "results").glob("*night*_*.json")]
    found.sort(key=lambda result: result["users"])
    rows = []
    for result in found:
        second, millions = result.get("second"), result["users"] / 1e6
        nights = [result[night] for night in NIGHTS if night in result]
        rows.append(
            [
                f"{result['users']:,}",
                f"{result['events']:,}",
                f"{nights[0]['wall']:,.0f}",
                f"{untrained(result) / millions:,.0f}",
                f"{second['wall']:,.0f}" if second else "",
                *(f"{second['stages'][s] / millions:,.0f}" if second else "" for s in EVERY_NIGHT),
                f"{second['wall'] / millions:,.0f}" if second else "",
                f"{max(night['peak_mib'] for night in nights):,.0f}",
                result["circumstances"]["commit"][:8],
            ]
        )
    first = ["first night s", "without training, s a million"]
    columns = ["users", "events", *first, "second night s", *EVERY_NIGHT, "whole"]
    about = (
        "Stages and whole: seconds a million users of the second night, which reads one more "
        "delivery and does not train. Small shops pay for starting Spark and for its jobs."
    )
    goals = [
        *growth({r["users"]: untrained(r) for r in found}, "first night without training"),
        *growth({r["users"]: r["second"]["wall"] for r in found if "second" in r}, "second night"),
    ]
    curve = {
        "sizes": [result["users"] for result in found],
        "goals": [goal.as_json() for goal in goals],
    }
    text = "\n\n".join([about, table([*columns, "peak MiB", "commit"], rows), goal_table(goals)])
    save("scale", curve, "Scale curve", text)


def untrained(result: dict[str, Any]) -> float:
    """Seconds of the first night but for training, which larger shops do not pay more for."""
    first = result["first"]
    return float(first["wall"] - first["stages"]["train"])


def growth(seconds: dict[int, float], what: str) -> list[Goal]:
    """How the cost of a user grows with their number, from SCALE_FROM on."""
    cost = {users: took / users for users, took in seconds.items()}
    words = "cost a user at {:,}, {}, that at {:,} = 1"
    return [
        Goal(words.format(users, what, SCALE_FROM), cost[users] / cost[SCALE_FROM], MOST_GROWTH)
        for users in cost
        if users > SCALE_FROM and SCALE_FROM in cost
    ]


def beside_limits(result: dict[str, Any]) -> Goal:
    """The stages that have a limit beside the sum of the limits."""
    second, limits = result["second"], result["limits"]
    limited = sum(second["stages"][stage] for stage in limits)
    busy = sum(second["tasks"].get(stage, {}).get("core_seconds", 0) for stage in limits)
    why = (
        f"these stages' tasks took {busy:.0f} core seconds, on two cores {busy / limited / 2:.0%} "
        "of their time; the driver plans, commits and fits meanwhile. The "
        "limits know neither a vocabulary, nor names, profiles and reasons, nor any fit."
    )
    ratio = limited / sum(limits.values())
    return Goal("stages with a limit, second night, limits = 1", ratio, 2, why=why)


def said_of_limits(result: dict[str, Any]) -> str:
    """What the limits do, and how much of the night has one."""
    second, limits = result["second"]["stages"], result["limits"]
    share = sum(second[stage] for stage in limits) / sum(second.values())
    return (
        "Limits, on the second night's data: Polars makes lists of the latest 200 events and no "
        "vocabulary, torch alone encodes, FAISS finds two of 12 centroids, numpy multiplies "
        f"vectors with weights of {AUDIENCES} audiences. Stages with a limit are {share:.0%} of "
        "the second night. "
    )


def beside_first_night(result: dict[str, Any]) -> Goal:
    """The second night beside the first."""
    return Goal(
        "second night, first night without training = 1",
        result["second"]["wall"] / untrained(result),
        0.25,
        why="only ingest is incremental; the other stages make the date's tables anew, for all "
        "users.",
    )


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nightly", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=2, help="of the first night's training")
    parser.add_argument("--driver-memory", default="2g")
    parser.add_argument("--keep", type=Path, help="a new folder that keeps the shop")
    parser.add_argument(
        "--first-night",
        action="store_true",
        help="neither the second one nor the limits, which hold the shop in memory",
    )
    o = parser.parse_args()
    facts = circumstances("pyspark", "torch", "polars", "faiss-cpu")
    reference = reference_work()
    nights = NIGHTS[:1] if o.first_night else NIGHTS
    scratch = Path(tempfile.mkdtemp(prefix="kinsight-bench-"))
    try:
        folder = o.keep or scratch / "shop"
        result = run_nights(folder, o.users, o.epochs, o.driver_memory, nights)
        result["limits"] = {} if o.first_night else limit_seconds(folder, AS_OF, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    goals = [] if o.first_night else [beside_limits(result), beside_first_night(result)]
    new = result["new_events"]
    later = f"of which {new:,} ({new / result['events']:.1%}) come on the second night; "
    about = (
        f"{o.users:,} users, {result['events']:,} events, {'' if o.first_night else later}2 cores, "
        f"{o.driver_memory} for Spark's driver; at most {o.epochs} epochs. "
        f"{'' if o.first_night else said_of_limits(result)}"
        f"A fixed piece of numpy work took {reference:.2f} s before."
    )
    result |= {"circumstances": facts, "about": about, "goals": [g.as_json() for g in goals]}
    parts = [about, shown(result, nights), goal_table(goals), said(facts)]
    text = "\n\n".join(part for part in parts if part)
    title, name = ("A night", "first_night") if o.first_night else ("Two nights", "nightly")
    save(f"{name}_{o.users}", result, f"{title} of {o.users:,} users", text)
    scale_curve()
    print(text)


if __name__ == "__main__":
    main()
