"""Which files are new, and which stored rows they replace."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from kinsight.config import IngestConfig, SourceConfig
from kinsight.errors import RefusedError
from kinsight.ingest.delta import Listing, list_source
from kinsight.ingest.files import Kind, SourceFile
from kinsight.ingest.reading import FILE_ID
from kinsight.runs import StageRun

KINDS: tuple[Kind, ...] = ("events", "items", "users", "identities")
TABLES = ("quarantine", "items", "users", "identities", "events", "ingested_files")
"""In the order of commits."""


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A file that ``ingested_files`` lists."""

    id: str
    kind: Kind
    source: str
    path: str
    size: int = 0
    modified_milliseconds: int = 0
    read: int = 0
    accepted: int = 0
    deduplicated: int = 0
    first_event_time: dt.datetime | None = None
    last_event_time: dt.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The files of the sources against those already read.

    Attributes:
        known: What ``ingested_files`` lists.
        new: Files to read, by source: new ones, and changed ones under their new id.
        unchanged: Number of files that were read before and are left alone.
        remapped: Sources with such files whose settings changed since the last run.
        gone: Files that their Delta table no longer has: their rows go. Files that vanish from a
            folder are not gone: many shops move what was read away.
        moved: By the id of a new file, that of the file read before that lies there now.
        vanished: Files read before that are no longer in their folder, without those that moved.
        stale: By table, ids of rows that ``ingested_files`` does not list: a run was killed between
            writing them and listing their files.
    """

    known: list[KnownFile]
    new: dict[str, list[SourceFile]]
    unchanged: int
    remapped: list[str]
    gone: list[KnownFile]
    moved: dict[str, str]
    vanished: list[KnownFile]
    stale: dict[str, list[str]]

    def warnings(self) -> list[str]:
        """What a person should know before the files are read."""
        return [
            f"the settings of source {source} changed; files read before keep the rows of the "
            "old settings until they change, for instance by `touch`"
            for source in self.remapped
        ]

    def states(self, files: Iterable[SourceFile]) -> Counter[str]:
        """How many of these files are new, changed and moved."""
        places = {(known.kind, known.path) for known in self.known}
        states: Counter[str] = Counter()
        for file in files:
            if file.id in self.moved:
                states["moved"] += 1
            else:
                states["changed" if (file.kind, file.path) in places else "new"] += 1
        return states

    def replaced_by(self, files: Iterable[SourceFile], sources: Sequence[str]) -> list[str]:
        """Ids of the earlier states of files, at their place or at the one that they moved from.

        A source that is configured no longer counts as renamed if one of its files comes again.

        Args:
            files: New files.
            sources: Names of all configured sources.
        """
        places = {(file.kind, file.path, file.source) for file in files}
        renamed = {(file.kind, file.path) for file in files}
        moved = {self.moved.get(file.id) for file in files}
        return [
            known.id
            for known in self.known
            if (known.kind, known.path, known.source) in places
            or known.id in moved
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
    for identity_source in config.identities:
        yield "identities", identity_source


def take_inventory(spark: SparkSession, run: StageRun, config: IngestConfig) -> Inventory:
    """List all sources, once, and compare with ``ingested_files``.

    The versions of Delta tables are recorded as inputs of the run.

    Raises:
        RefusedError: If a source has no files or cannot be listed.
    """
    listings = {s.name: list_source(spark, s, kind) for kind, s in sources_of(config)}
    known = _known_files(run)
    gone = _gone_files(config, listings, known)
    for name, listing in listings.items():
        if listing.root is not None:
            run.inputs[f"source {name}"] = listing.version
    listed = {name: listing.files for name, listing in listings.items()}
    done = {file.id for file in known}
    events = {file.path for file in known if file.kind == "events"}
    fresh = [file for files in listed.values() for file in files if file.id not in done]
    vanished = _vanished_files(listings, known)
    moved = moved_files(fresh, vanished)
    origins = set(moved.values())
    replaced = [
        file
        for file in fresh
        if file.kind == "events" and (file.path in events or file.id in moved)
    ]
    if replaced or any(file.kind == "events" for file in gone):
        # An event that such a file held may go with it; then its copies elsewhere count.
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
        gone=gone,
        moved=moved,
        vanished=[file for file in vanished if file.id not in origins],
        stale=_stale_ids(run, last.record.outputs if last else {}, {file.id for file in known}),
    )


def _known_files(run: StageRun) -> list[KnownFile]:
    """What ``ingested_files`` lists."""
    rows = run.read("ingested_files").select(
        F.col(FILE_ID).alias("id"),
        "kind",
        "source",
        "path",
        F.col("size_bytes").alias("size"),
        F.unix_millis("modified_at").alias("modified_milliseconds"),
        *(F.col(f"rows_{name}").alias(name) for name in ("read", "accepted", "deduplicated")),
        "first_event_time",
        "last_event_time",
    )
    return [_known_file(row) for row in rows.collect()]


def _known_file(row: Row) -> KnownFile:
    # Spark gives local times.
    times = {
        name: None if row[name] is None else row[name].astimezone(dt.timezone.utc)
        for name in ("first_event_time", "last_event_time")
    }
    return KnownFile(**row.asDict() | times)


def _vanished_files(listings: Mapping[str, Listing], known: Sequence[KnownFile]) -> list[KnownFile]:
    """Files read before, of sources that are files, that are not listed any more."""
    listed = {
        name: {file.path for file in listing.files}
        for name, listing in listings.items()
        if listing.root is None
    }
    return [file for file in known if file.path not in listed.get(file.source, {file.path})]


def moved_files(fresh: Iterable[SourceFile], vanished: Iterable[KnownFile]) -> dict[str, str]:
    """By the id of a new file, that of the vanished one with its name, size and time.

    A file that moves keeps them: into a folder of what was read, with the whole project, or
    behind a link that now points elsewhere. Of several files alike each is taken once, in the
    order of the paths. Where files of one name all have one time, such as that of a build, it
    tells none from another, and none counts as moved.

    Args:
        fresh: Files with new ids.
        vanished: Files read before that are not listed any more.
    """
    alike: dict[Hashable, list[str]] = {}
    sizes: dict[Hashable, set[int]] = {}
    for known in sorted(vanished, key=lambda file: file.path, reverse=True):
        alike.setdefault(_likeness(known), []).append(known.id)
        sizes.setdefault(_origin(known), set()).add(known.size)
    moved = {}
    for file in sorted(fresh, key=lambda file: file.path):
        if alike.get(_likeness(file)) and len(sizes[_origin(file)]) == 1:
            moved[file.id] = alike[_likeness(file)].pop()
    return moved


def _likeness(file: SourceFile | KnownFile) -> Hashable:
    """What a file keeps when it moves within its source."""
    return *_origin(file), file.size


def _origin(file: SourceFile | KnownFile) -> tuple[Hashable, ...]:
    """What tells one file of a source from another that was made at another time."""
    name = PurePosixPath(file.path).name
    return file.kind, file.source, name, file.modified_milliseconds


def _gone_files(
    config: IngestConfig, listings: Mapping[str, Listing], known: Sequence[KnownFile]
) -> list[KnownFile]:
    """Files read before that are not in the newest version of their Delta table.

    All that a source brought before counts as its table's: so a source that was files and becomes
    a table, or whose table moved, does not bring its rows twice.
    """
    names = {source.name for _, source in sources_of(config)}
    gone: list[KnownFile] = []
    for kind, source in sources_of(config):
        listing = listings[source.name]
        if listing.root is None:
            continue
        live = {file.path for file in listing.files}
        before = [
            file
            for file in known
            if file.kind == kind
            and (
                file.source == source.name
                or (file.source not in names and listing.holds(file.path))
            )
        ]
        if not live and not before:
            raise RefusedError(
                f"Source {source.name} has no files: its Delta table is empty.",
                expected=f"at least one row in {listing.root}",
                found=f"no files in version {listing.version}",
                to_do=f"correct `path` or `table` of source {source.name}",
            )
        gone += [file for file in before if file.path not in live]
    return gone


def _is_remapped(source: SourceConfig, before: list[dict[str, Any]]) -> bool:
    """Whether a source had other settings, its place aside, in the configuration before."""
    now = source.model_dump(mode="json", exclude={"path", "table"})
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
