"""What a batch becomes in the tables, and what the tables then hold of each of its files."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Iterable
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from kinsight.ingest.batch import Batch
from kinsight.ingest.files import SourceFile
from kinsight.ingest.identity import (
    IS_REPEATED,
    is_identical,
    suspects,
    with_event_ids,
    with_repetitions,
)
from kinsight.ingest.reading import FILE_ID
from kinsight.ingest.rows import RAW, REASON
from kinsight.ingest.sessions import with_sessions
from kinsight.runs import StageRun
from kinsight.tables import table_schema

BROADCAST_IDS = 2_000_000
"""Up to so many new ids (some 50 MB as hashes in a table) go to tasks that read stored ones."""


@dataclasses.dataclass(frozen=True)
class FileCounts:
    """What became of the rows of one file."""

    file: SourceFile
    read: int
    accepted: int
    quarantined: int
    deduplicated: int
    identical: int
    first_event_time: dt.datetime | None
    last_event_time: dt.datetime | None


def accepted_rows(spark: SparkSession, batch: Batch, table: str) -> DataFrame:
    """The rows of a batch that go to one table; none where it has no such files."""
    rows = next((rows for kind, rows in batch.rows.items() if kind == table), None)
    if rows is None:
        return spark.createDataFrame([], table_schema(table))
    return rows.where(F.col(REASON).isNull()).drop(REASON, RAW)


def refused_rows(spark: SparkSession, batch: Batch, at: dt.datetime) -> DataFrame:
    """The rows of a batch that go to quarantine."""
    refused = [
        rows.where(F.col(REASON).isNotNull()).select(FILE_ID, REASON, RAW)
        for rows in batch.rows.values()
    ]
    if not refused:
        return spark.createDataFrame([], table_schema("quarantine"))
    files = F.broadcast(file_table(spark, batch.files.values()))
    rows = reduce(DataFrame.unionByName, refused).join(files, FILE_ID)
    return rows.withColumn("quarantined_at", F.lit(at))


def file_table(spark: SparkSession, files: Iterable[SourceFile]) -> DataFrame:
    """Kind, source and path of files by source_file_id."""
    rows = [(file.kind, file.source, file.id, file.path) for file in files]
    schema = f"kind STRING, source STRING, {FILE_ID} STRING, path STRING"
    return spark.createDataFrame(rows, schema)


def split_repeated(
    spark: SparkSession, batch: Batch, events: DataFrame, stored: DataFrame | None
) -> tuple[DataFrame, Counter[str]]:
    """Leave out repeated deliveries of mapped event ids, and count them by file."""
    mapped = sum(tally.with_event_id for tally in batch.tallies.get("events", ()))
    if not mapped:
        return events, Counter()
    suspected = batch.keep(suspects(events, stored, mapped <= BROADCAST_IDS))
    if suspected.isEmpty():
        return events, Counter()
    files = file_table(spark, batch.files.values())
    marked = batch.keep(with_repetitions(events, files, suspected))
    repeated = marked.where(IS_REPEATED).groupBy(FILE_ID).count().collect()
    kept = marked.where(~F.col(IS_REPEATED)).drop(IS_REPEATED)
    # An id that is null is on no other event: such rows stay here.
    alone = events.join(suspected, "event_id", "left_anti").select(*events.columns)
    return alone.unionByName(kept), Counter(dict(repeated))


def complete_events(
    events: DataFrame, batch: Batch, gap_minutes: float, stored: DataFrame | None
) -> DataFrame:
    """Give events their ids, sessions and date, laid out as the table keeps them.

    Delta's own optimised write would give the same one file a date for twice the work (31
    against 17 CPU seconds for 1.5 M events): it sorts what is sorted here, and more.
    """
    tallies = [tally for tally in batch.tallies.get("events", ()) if tally.reason is None]
    without_id = any(tally.with_event_id < tally.rows for tally in tallies)
    without_session = any(tally.without_session for tally in tallies)
    if without_session:
        # One shuffle: numbering identical rows and finding sessions both look at one user
        # at a time.
        events = events.repartition("user_id")
    elif without_id:
        # Identical rows share their time too: an id that stands for everybody is in many tasks.
        events = events.repartition("user_id", "event_time")
    if without_id:
        events = with_event_ids(events)
    if without_session:
        events = with_sessions(events, gap_minutes, stored)
    dated = events.withColumn("event_date", F.to_date("event_time"))
    # One file a date, more only for dates that would make one task write very much.
    by_date = dated.hint("rebalance", "event_date")
    return by_date.sortWithinPartitions("event_date", "user_id", "event_time", "event_id")


def count_files(run: StageRun, batch: Batch, deduplicated: Counter[str]) -> list[FileCounts]:
    """What became of each file, counted in the tables at the versions just written."""
    read: Counter[str | None] = Counter()
    for tally in (tally for tallies in batch.tallies.values() for tally in tallies):
        read[tally.file_id] += tally.rows
    times = F.min("event_time"), F.max("event_time")
    held = {
        "quarantine": _by_file(run, batch, "quarantine", F.count("*")),
        "items": _by_file(run, batch, "items", F.count("*")),
        "users": _by_file(run, batch, "users", F.count("*")),
        "identities": _by_file(run, batch, "identities", F.count("*")),
        "events": _by_file(run, batch, "events", F.count("*"), F.count_if(is_identical()), *times),
    }
    counts = []
    for file in batch.files.values():
        accepted, *of_events = held[file.kind].get(file.id, (0,))
        identical, first, last = of_events or (0, None, None)
        counts.append(
            FileCounts(
                file=file,
                read=read[file.id],
                accepted=accepted,
                quarantined=held["quarantine"].get(file.id, (0,))[0],
                deduplicated=deduplicated[file.id],
                identical=identical,
                first_event_time=first,
                last_event_time=last,
            )
        )
    return counts


def listed_files(spark: SparkSession, counts: Iterable[FileCounts], at: dt.datetime) -> DataFrame:
    """The rows of ``ingested_files``, run_id aside."""
    rows = [
        (
            c.file.source,
            c.file.kind,
            c.file.id,
            c.file.path,
            c.file.size,
            c.file.modified,
            c.read,
            c.accepted,
            c.quarantined,
            c.deduplicated,
            c.identical,
            c.first_event_time,
            c.last_event_time,
            at,
        )
        for c in counts
    ]
    fields = [field for field in table_schema("ingested_files") if field.name != "run_id"]
    return spark.createDataFrame(rows, StructType(fields))


def _by_file(
    run: StageRun, batch: Batch, table: str, *measures: Column
) -> dict[str, tuple[Any, ...]]:
    """Measures of a table at the version just written, by file of the batch."""
    if table not in run.outputs:
        return {}
    rows = run.tables.read(table, run.outputs[table]).where(F.col(FILE_ID).isin(list(batch.files)))
    found = rows.groupBy(FILE_ID).agg(*measures).collect()
    return {row[0]: tuple(map(_in_utc, row[1:])) for row in found}


def _in_utc(value: Any) -> Any:
    """A measure as it is, but a time as UTC: Spark gives local ones without their zone."""
    return value.astimezone(dt.timezone.utc) if isinstance(value, dt.datetime) else value
