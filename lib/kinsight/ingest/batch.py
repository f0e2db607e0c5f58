"""One batch: the new files of all sources, parsed once, counted by file and reason, and kept."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.config import (
    EventSourceConfig,
    IngestConfig,
    ItemSourceConfig,
    SourceConfig,
    UserSourceConfig,
)
from kinsight.errors import RefusedError
from kinsight.ingest.files import JAVA_ERRORS, Kind, SourceFile, UnreadableFileError
from kinsight.ingest.inventory import sources_of
from kinsight.ingest.layouts import Layout, group_layouts, probe_files
from kinsight.ingest.reading import FILE_ID, read_rows
from kinsight.ingest.rows import RAW, REASON, event_rows, item_rows, user_rows
from kinsight.runs import StageRun

_READ_FAILURE = re.compile(r"Encountered error while reading file (.+?)\.\s+SQLSTATE")


@dataclasses.dataclass(frozen=True)
class Tally:
    """Rows of one file with one reason; the reason of good rows is None.

    Attributes:
        file_id: The file; None if it changed since it was listed.
        reason: Why the rows are refused.
        rows: How many.
        with_event_id: Good events whose id is mapped.
        without_session: Good events whose session is not.
        example: One refused row as JSON, the first in the order of the text.
    """

    file_id: str | None
    reason: str | None
    rows: int
    with_event_id: int = 0
    without_session: int = 0
    example: str | None = None


@dataclasses.dataclass
class Batch:
    """The parsed rows of new files.

    Attributes:
        files: All files that were read, by id.
        rows: Rows by kind, see ``kinsight.ingest.rows``; kinds without new files are absent.
        tallies: Counts by kind, file and reason.
        footer_rows: Rows by file id where Parquet footers tell them.
    """

    files: dict[str, SourceFile]
    rows: dict[Kind, DataFrame]
    tallies: dict[Kind, list[Tally]]
    footer_rows: dict[str, int]

    def unpersist(self) -> None:
        """Free the kept rows."""
        for rows in self.rows.values():
            rows.unpersist()


def read_batch(
    spark: SparkSession,
    run: StageRun,
    config: IngestConfig,
    new: Mapping[str, list[SourceFile]],
) -> Batch:
    """Read, parse and count new files; files that cannot be read are left out or refused.

    The rows are read for the counts that decide whether anything is written, for quarantine and
    for the table. So parsed CSV is persisted; Parquet is read as fast as persisted rows (1.0 and
    1.1 CPU seconds for 1.5 M events) and is not.

    Args:
        spark: The session.
        run: Warned about files left out.
        config: Sources and what to do about unreadable files.
        new: Files by source.

    Raises:
        RefusedError: If a file cannot be read and ``on_unreadable_file`` is ``refuse``, or if a
            column is missing.
    """
    batch = Batch({}, {}, {}, {})
    by_kind: dict[Kind, list[tuple[SourceConfig, list[SourceFile]]]] = {}
    for kind, source in sources_of(config):
        if source.name in new:
            by_kind.setdefault(kind, []).append((source, list(new[source.name])))
    for kind, sources in by_kind.items():
        layouts = [
            layout
            for source, files in sources
            for layout in _readable_layouts(spark, run, config, source, files, batch)
        ]
        _read_kind(spark, run, config, kind, layouts, batch)
    return batch


def _readable_layouts(
    spark: SparkSession,
    run: StageRun,
    config: IngestConfig,
    source: SourceConfig,
    files: list[SourceFile],
    batch: Batch,
) -> list[Layout]:
    """Look at the files of a source and leave unreadable ones out, or refuse them."""
    probes = probe_files(spark, source, files)
    for probe in probes:
        if probe.unreadable is not None:
            _leave_out(run, config, probe.unreadable)
        else:
            batch.files[probe.file.id] = probe.file
    layouts = group_layouts(source, probes)
    for layout in layouts:
        batch.footer_rows.update(layout.footer_rows)
    return layouts


def _read_kind(
    spark: SparkSession,
    run: StageRun,
    config: IngestConfig,
    kind: Kind,
    layouts: list[Layout],
    batch: Batch,
) -> None:
    """Parse and count the rows of one kind; a file that fails meanwhile is left out or refused."""
    while layouts:
        parsed = [_parse(spark, layout, config, run.started_at) for layout in layouts]
        rows = reduce(DataFrame.unionByName, parsed)
        if any(layout.format == "csv" for layout in layouts):
            rows = rows.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            batch.tallies[kind] = _tally(rows, kind)
        except JAVA_ERRORS as error:
            rows.unpersist()
            file = _failed_file(error, layouts)
            if file is None:
                raise
            _leave_out(run, config, UnreadableFileError(file.path, _innermost(error)))
            del batch.files[file.id]
            layouts = [left for layout in layouts if (left := layout.without(file)).files]
        else:
            batch.rows[kind] = rows
            return


def _parse(
    spark: SparkSession, layout: Layout, config: IngestConfig, now: dt.datetime
) -> DataFrame:
    rows, path = read_rows(spark, layout), layout.files[0].path
    if isinstance(layout.source, EventSourceConfig):
        return event_rows(rows, layout.source, config, now, path)
    if isinstance(layout.source, ItemSourceConfig):
        return item_rows(rows, layout.source, path)
    assert isinstance(layout.source, UserSourceConfig)
    return user_rows(rows, layout.source, path)


def _tally(rows: DataFrame, kind: Kind) -> list[Tally]:
    """Count the rows by file and reason: one pass, which also fills the persisted rows."""
    measures = [F.count("*")]
    if kind == "events":
        good = F.col(REASON).isNull()
        measures += [
            F.count_if(good & F.col("event_id").isNotNull()),
            F.count_if(good & F.col("session_id").isNull()),
        ]
    by_reason = [Tally(*row) for row in rows.groupBy(FILE_ID, REASON).agg(*measures).collect()]
    if not any(tally.reason for tally in by_reason):
        return by_reason
    # Beside the counts, the text of the examples would turn their hash aggregate into a sort.
    refused = rows.where(F.col(REASON).isNotNull())
    first = refused.groupBy(FILE_ID, REASON).agg(F.min(RAW)).collect()
    examples = {(row[0], row[1]): row[2] for row in first}
    return [
        dataclasses.replace(tally, example=examples.get((tally.file_id, tally.reason)))
        for tally in by_reason
    ]


def _leave_out(run: StageRun, config: IngestConfig, error: UnreadableFileError) -> None:
    """Warn about an unreadable file, or refuse it."""
    if config.on_unreadable_file == "refuse":
        raise RefusedError(
            f"A source file cannot be read: {error.path}",
            expected="a whole file of its format that may be opened",
            found=error.why,
            to_do="replace or remove the file, or set ingest.on_unreadable_file: skip to go on "
            "without it until it can be read",
        ) from None
    run.warn(f"left out until the next run, because it cannot be read: {error.path}: {error.why}")


def _failed_file(error: Exception, layouts: list[Layout]) -> SourceFile | None:
    """The file at which a Spark job failed, if Spark says that reading it was the problem."""
    found = _READ_FAILURE.search(str(error))
    if found is None:
        return None
    uri = re.sub("^file:/+", "file:/", found.group(1))
    return next((f for layout in layouts for f in layout.files if f.uri == uri), None)


def _innermost(error: Exception) -> str:
    """The last `Caused by` of a Java stack trace, or the first line of the message."""
    text = str(error)
    causes = re.findall(r"^Caused by: (.+)$", text, re.MULTILINE)
    return str(causes[-1]) if causes else text.splitlines()[0]
