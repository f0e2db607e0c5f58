"""One batch: the new files of all sources, parsed once, counted by file and reason, and kept."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.config import (
    EventSourceConfig,
    IdentitySourceConfig,
    IngestConfig,
    ItemSourceConfig,
    SourceConfig,
    UserSourceConfig,
)
from kinsight.errors import RefusedError
from kinsight.ingest.files import JAVA_ERRORS, Kind, SourceFile, UnreadableFileError
from kinsight.ingest.inventory import sources_of
from kinsight.ingest.layouts import Layout, group_layouts, probe_files
from kinsight.ingest.mapping import check_time_format
from kinsight.ingest.reading import FILE_ID, read_rows
from kinsight.ingest.rows import (
    RAW,
    REASON,
    event_rows,
    identity_rows,
    item_rows,
    user_rows,
)
from kinsight.labels import plural
from kinsight.runs import StageRun
from kinsight.spark import FrameMap, kept_frames

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
        footer_rows: Rows by file id where Parquet footers or a Delta log tell them.
        keep: Persists rows made from these until the batch is done.
    """

    files: dict[str, SourceFile]
    rows: dict[Kind, DataFrame]
    tallies: dict[Kind, list[Tally]]
    footer_rows: dict[str, int]
    keep: FrameMap


@contextmanager
def open_batch(
    spark: SparkSession, run: StageRun, config: IngestConfig, new: Mapping[str, list[SourceFile]]
) -> Iterator[Batch]:
    """Read, parse and count new files; files that cannot be read are left out or refused.

    The rows are read for the counts that decide whether anything is written, for quarantine and
    for the table. So parsed text is persisted until the context is left; Parquet is read as fast as
    persisted rows (1.0 and 1.1 CPU seconds for 1.5 M events) and is not.

    Args:
        spark: The session.
        run: Shows the step; warned about files left out.
        config: Sources and what to do about unreadable files.
        new: Files by source.

    Raises:
        RefusedError: If a file cannot be read and ``on_unreadable_file`` is ``refuse``, or if a
            column is missing.
        ConfigError: If a column's type or a time pattern cannot be used.
    """
    with kept_frames() as keep:
        reader = _Reader(spark, run, config, keep)
        with run.step(f"reading {plural(sum(map(len, new.values())), 'file')}"):
            reader.read(new)
        yield reader.batch


def check_columns(
    spark: SparkSession, run: StageRun, config: IngestConfig, new: Mapping[str, list[SourceFile]]
) -> None:
    """Bind the mapped columns of one new file a source, the last by name; no row is read.

    Args:
        spark: The session.
        run: Tells the time; nothing is written.
        config: Sources.
        new: Files by source.

    Raises:
        RefusedError: If a mapped or required column is missing, or the file cannot be read.
        ConfigError: If a column's type or a time pattern cannot be used.
    """
    for _, source in sources_of(config):
        if source.name in new:
            check_time_format(spark, source)
            probes = probe_files(spark, source, new[source.name][-1:])
            for probe in probes:
                if probe.unreadable is not None and config.on_unreadable_file == "refuse":
                    raise _unreadable(probe.unreadable) from None
            for layout in group_layouts(source, probes):
                _rows_of(spark, layout, config, run)


class _Reader:
    """Fills a batch."""

    def __init__(
        self, spark: SparkSession, run: StageRun, config: IngestConfig, keep: FrameMap
    ) -> None:
        self.spark = spark
        self.run = run
        self.config = config
        self.batch = Batch({}, {}, {}, {}, keep)

    def read(self, new: Mapping[str, list[SourceFile]]) -> None:
        """Look at all files and bind all columns first: mistakes show before long work."""
        layouts: dict[Kind, list[Layout]] = {}
        for kind, source in sources_of(self.config):
            if source.name in new:
                check_time_format(self.spark, source)
                layouts.setdefault(kind, []).extend(self._layouts(source, new[source.name]))
        layouts = {kind: found for kind, found in layouts.items() if found}
        rows = {kind: self._parse(found) for kind, found in layouts.items()}
        for kind, found in layouts.items():
            self._count(kind, found, rows[kind])

    def _layouts(self, source: SourceConfig, files: list[SourceFile]) -> list[Layout]:
        """The layouts of the files of a source, unreadable ones left out or refused."""
        probes = probe_files(self.spark, source, files)
        for probe in probes:
            if probe.unreadable is not None:
                self._leave_out(probe.unreadable)
            else:
                self.batch.files[probe.file.id] = probe.file
                if probe.rows is not None:
                    self.batch.footer_rows[probe.file.id] = probe.rows
        return group_layouts(source, probes)

    def _parse(self, layouts: list[Layout]) -> DataFrame:
        """The rows of layouts of one kind, with a reason where they are refused."""
        parsed = (_rows_of(self.spark, layout, self.config, self.run) for layout in layouts)
        rows = reduce(DataFrame.unionByName, parsed)
        is_text = any(layout.format not in ("parquet", "delta") for layout in layouts)
        return self.batch.keep(rows) if is_text else rows

    def _count(self, kind: Kind, layouts: list[Layout], rows: DataFrame) -> None:
        """Count the rows of one kind; begin again without a file that fails meanwhile."""
        self.batch.rows[kind] = rows
        try:
            self.batch.tallies[kind] = _tally(rows, kind)
        except JAVA_ERRORS as error:
            file = _failed_file(error, layouts)
            if file is None:
                raise
            if file.delta is not None:
                # Its rows may have left with a file that this one replaces: all of it or nothing.
                raise _unreadable(UnreadableFileError(file.path, _innermost(error))) from None
            self._leave_out(UnreadableFileError(file.path, _innermost(error)))
            del self.batch.files[file.id], self.batch.rows[kind]
            rows.unpersist()
            left = [layout.without(file) for layout in layouts]
            left = [layout for layout in left if layout.files]
            if left:
                self._count(kind, left, self._parse(left))

    def _leave_out(self, error: UnreadableFileError) -> None:
        """Warn about an unreadable file, or refuse it."""
        if self.config.on_unreadable_file == "refuse":
            raise _unreadable(error) from None
        self.run.warn(
            f"left out until the next run, because it cannot be read: {error.path}: {error.why}"
        )


def _rows_of(spark: SparkSession, layout: Layout, config: IngestConfig, run: StageRun) -> DataFrame:
    """The rows of a layout, with a reason where they are refused; not read yet."""
    raw, path, source = read_rows(spark, layout), layout.files[0].path, layout.source
    if isinstance(source, EventSourceConfig):
        return event_rows(raw, source, config, run.started_at, path)
    if isinstance(source, ItemSourceConfig):
        return item_rows(raw, source, path)
    if isinstance(source, UserSourceConfig):
        return user_rows(raw, source, path)
    assert isinstance(source, IdentitySourceConfig)
    return identity_rows(raw, source, path)


def _unreadable(error: UnreadableFileError) -> RefusedError:
    return RefusedError(
        f"A source file cannot be read: {error.path}",
        expected="a whole file of its format that may be opened",
        found=error.why,
        to_do="replace or remove the file, or set ingest.on_unreadable_file: skip to go on "
        "without it until it can be read (files of a Delta table are never skipped)",
    )


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
