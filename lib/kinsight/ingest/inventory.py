"""Which files are new, and which stored rows they replace."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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
    deduplicated: int = 0


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The files of the sources against those already read.

    Attributes:
        known: What ``ingested_files`` lists.
        new: Files to read, by source: new ones, and changed ones under their new id.
        unchanged: Number of files that were read before and are left alone.
        remapped: Sources with such files whose settings changed since the last run.
        stale: By table, ids of rows that ``ingested_files`` does not list: a run was killed between
            writing them and listing their files.
    """

    known: list[KnownFile]
    new: dict[str, list[SourceFile]]
    unchanged: int
    remapped: list[str]
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
    columns = (FILE_ID, "kind", "source", "path", "rows_deduplicated")
    known = [KnownFile(*row) for row in run.read("ingested_files").select(*columns).collect()]
    done = {file.id for file in known}
    places = {(file.kind, file.path) for file in known}
    fresh = [file for files in listed.values() for file in files if file.id not in done]
    if any((file.kind, file.path) in places for file in fresh):
        # An event that a changed file held may go with it; then its copies elsewhere count.
        done -= {file.id for file in known if file.deduplicated}
    new = {name: [f for f in files if f.id not in done] for name, files in listed.items()}
    last = run.log.newest("events")
    settings = json.loads(last.record.config) if last else {}
    return Inventory(
        known=known,
        new={name: files for name, files in new.items() if files},
        unchanged=sum(len(listed[name]) - len(new[name]) for name in listed),
        remapped=[
            source.name
            for kind, source in sources_of(config)
            if len(new[source.name]) < len(listed[source.name])
            and _is_remapped(source, settings.get(kind, []))
        ],
        stale=_stale_ids(run, last.record.outputs if last else {}, {file.id for file in known}),
    )


def _is_remapped(source: SourceConfig, before: list[dict[str, Any]]) -> bool:
    """Whether a source had other settings, its path aside, in the configuration before."""
    now = source.model_dump(mode="json", exclude={"path"})
    then = next((settings for settings in before if settings["name"] == source.name), now)
    return any(then.get(key, value) != value for key, value in now.items())


def _stale_ids(
    run: StageRun, published: Mapping[str, int], known: set[str]
) -> dict[str, list[str]]:
    """Ids in the tables that are not listed.

    Only a table that moved since the last published run is looked at, so it costs nothing unless
    a run was killed.
    """
    stale = {}
    for table in ("quarantine", *KINDS):
        version = run.tables.version(table)
        if version != published.get(table, 0):
            rows = run.tables.read(table, version).select(FILE_ID).distinct().collect()
            stale[table] = sorted({row[0] for row in rows} - known)
    return {table: ids for table, ids in stale.items() if ids}
