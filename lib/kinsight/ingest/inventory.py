"""Which files are new, and which stored rows they replace."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from pyspark.sql import SparkSession

from kinsight.config import IngestConfig, SourceConfig
from kinsight.ingest.files import Kind, SourceFile, list_files
from kinsight.ingest.reading import FILE_ID
from kinsight.runs import StageRun

KINDS: tuple[Kind, ...] = ("events", "items", "users")
TABLES = ("quarantine", "items", "users", "events", "ingested_files")  # in order of commits


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A file that ``ingested_files`` lists."""

    id: str
    kind: Kind
    source: str
    path: str


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The files of the sources against those already read.

    Attributes:
        known: What ``ingested_files`` lists.
        new: Files to read, by source: new ones, and changed ones under their new id.
        unchanged: Files that were read before.
        stale: By table, ids of rows that ``ingested_files`` does not list: a run was killed between
            writing them and listing their files.
    """

    known: list[KnownFile]
    new: dict[str, list[SourceFile]]
    unchanged: int
    stale: dict[str, list[str]]

    def replaced_by(self, files: Iterable[SourceFile], sources: Sequence[str]) -> list[str]:
        """Ids of the earlier states of files.

        A source that is configured no longer counts as renamed if one of its files comes again.

        Args:
            files: New files.
            sources: Names of all configured sources.
        """
        places = {(file.kind, file.path, file.source) for file in files}
        renamed = {(file.kind, file.path) for file in files}
        return [
            known.id
            for known in self.known
            if (known.kind, known.path, known.source) in places
            or (known.source not in sources and (known.kind, known.path) in renamed)
        ]


def sources_of(config: IngestConfig) -> Iterator[tuple[Kind, SourceConfig]]:
    """All sources with what their rows become, in the order of the configuration."""
    for source in config.events:
        yield "events", source
    for item_source in config.items:
        yield "items", item_source
    for user_source in config.users:
        yield "users", user_source


def take_inventory(spark: SparkSession, run: StageRun, config: IngestConfig) -> Inventory:
    """List all sources, once, and compare with ``ingested_files``.

    Raises:
        RefusedError: If a source has no files or cannot be listed.
    """
    listed = {source.name: list_files(spark, source, kind) for kind, source in sources_of(config)}
    rows = run.read("ingested_files").select(FILE_ID, "kind", "source", "path").collect()
    known = [KnownFile(*row) for row in rows]
    ids = {file.id for file in known}
    new = {name: [f for f in files if f.id not in ids] for name, files in listed.items()}
    return Inventory(
        known=known,
        new={name: files for name, files in new.items() if files},
        unchanged=sum(map(len, listed.values())) - sum(map(len, new.values())),
        stale=_stale_ids(run, ids),
    )


def _stale_ids(run: StageRun, known: set[str]) -> dict[str, list[str]]:
    """Ids in the tables that are not listed.

    Only a table that moved since the last published run is looked at, so it costs nothing unless
    a run was killed.
    """
    record = run.log.newest("events")
    published = record.record.outputs if record else {}
    stale = {}
    for table in ("quarantine", *KINDS):
        version = run.tables.version(table)
        if version == published.get(table, 0):
            continue
        rows = run.tables.read(table, version).select(FILE_ID).distinct().collect()
        stale[table] = sorted({row[0] for row in rows} - known)
    return {table: ids for table, ids in stale.items() if ids}
