"""The job of stage `ingest`: new and changed files to tables, each file's rows as a whole."""

from __future__ import annotations

from collections import Counter

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.ingest.batch import Batch, open_batch
from kinsight.ingest.gates import check_batch, check_counts
from kinsight.ingest.inventory import (
    KINDS,
    TABLES,
    Inventory,
    KnownFile,
    sources_of,
    take_inventory,
)
from kinsight.ingest.output import (
    FileCounts,
    accepted_rows,
    complete_events,
    count_files,
    listed_files,
    refused_rows,
    split_repeated,
)
from kinsight.ingest.reading import FILE_ID
from kinsight.labels import plural
from kinsight.runs import StageRun, StageSummary
from kinsight.workspace import Workspace


def run_ingest(workspace: Workspace) -> StageSummary:
    """Read the files that are new or changed since the last run, and publish the tables.

    A changed file's old rows go as its new ones come, in the same commit; so do those of files
    that a Delta table no longer has. ``ingested_files`` is written last, so that the next run
    repeats a killed one whole.

    Args:
        workspace: Session, configuration and tables.

    Returns:
        What was done; all tables stay as they are where no file is new.

    Raises:
        RefusedError: If a source is missing, empty, unreadable or mostly malformed.
        IntegrityError: If the rows read are not the rows that the tables hold.
    """
    config = workspace.config.ingest
    with workspace.run("ingest", None, config) as run:
        with run.step("looking for new files"):
            inventory = take_inventory(workspace.spark, run, config)
        if not inventory.new and not inventory.gone:
            files = plural(inventory.unchanged, "file")
            workspace.progress.say(f"nothing is new or changed among {files}")
        for warning in inventory.warnings():
            run.warn(warning)
        with open_batch(workspace.spark, run, config, inventory.new) as batch:
            for warning in check_batch(batch, config, inventory):
                run.warn(warning)
            counts = _write(workspace, run, inventory, batch)
        for warning in (
            *lost_rows(inventory, counts),
            *doubled_files(inventory, counts),
            *unlike_origins(inventory, counts),
        ):
            run.warn(warning)
        run.publish_unchanged(table for table in TABLES if table not in run.outputs)
        run.counts.update(_totals(counts), files_unchanged=inventory.unchanged)
        run.counts["files_moved"] = len(inventory.moved)
        run.counts["files_removed"] = len(inventory.gone)
        run.counts["rows_removed"] = sum(file.accepted for file in inventory.gone)
        return run.summary()


def _write(
    workspace: Workspace, run: StageRun, inventory: Inventory, batch: Batch
) -> list[FileCounts]:
    """Commit the tables in order, each only if rows come or go, and the list of files last."""
    spark, config = workspace.spark, workspace.config.ingest
    keys = replaced_ids(inventory, batch, [source.name for _, source in sources_of(config)])
    if keys["quarantine"]:
        with run.step("writing quarantine"):
            refused = refused_rows(spark, batch, run.started_at)
            run.write("quarantine", refused, {FILE_ID: keys["quarantine"]})
    for table in ("items", "users", "identities"):
        if keys[table]:
            with run.step(f"writing {table}"):
                run.write(table, accepted_rows(spark, batch, table), {FILE_ID: keys[table]})
    deduplicated: Counter[str] = Counter()
    if keys["events"]:
        with run.step("writing events"):
            stored = stored_events(run, inventory, keys["events"])
            events = accepted_rows(spark, batch, "events")
            events, deduplicated = split_repeated(spark, batch, events, stored)
            complete = complete_events(events, batch, config.session_gap_minutes, stored)
            run.write("events", complete, {FILE_ID: keys["events"]})
    with run.step("counting"):
        counts = count_files(run, batch, deduplicated)
    check_counts(counts)
    if keys["ingested_files"]:
        listed = listed_files(spark, counts, run.started_at)
        run.write("ingested_files", listed, {FILE_ID: keys["ingested_files"]})
    return counts


def stored_events(run: StageRun, inventory: Inventory, replaced: list[str]) -> DataFrame | None:
    """Events of earlier runs that stay; None where there are none."""
    stay = {file.id for file in inventory.known if file.kind == "events"} - set(replaced)
    return run.read("events").where(~F.col(FILE_ID).isin(replaced)) if stay else None


def replaced_ids(inventory: Inventory, batch: Batch, sources: list[str]) -> dict[str, list[str]]:
    """By table, the file ids whose rows a batch replaces; none where a table stays as it is."""
    keys: dict[str, set[str]] = {table: set(inventory.stale.get(table, ())) for table in TABLES}
    refused = any(tally.reason for tallies in batch.tallies.values() for tally in tallies)
    for kind in KINDS:
        files = [file for file in batch.files.values() if file.kind == kind]
        new = {file.id for file in files}
        old = set(inventory.replaced_by(files, sources))
        old |= {file.id for file in inventory.gone if file.kind == kind}
        keys[kind] |= new | old
        keys["ingested_files"] |= new | old
        if refused or old:
            keys["quarantine"] |= new | old
    return {table: sorted(ids) for table, ids in keys.items()}


def lost_rows(inventory: Inventory, counts: list[FileCounts]) -> list[str]:
    """A warning for each source whose table lost files with more rows than its new ones have."""
    net: Counter[str] = Counter()
    for file in inventory.gone:
        net[file.source] += file.accepted
    for count in counts:
        net[count.file.source] -= count.accepted
    return [
        f"{rows:,} rows of source {source} are gone: its Delta table no longer has them"
        for source, rows in net.items()
        if rows > 0
    ]


def unlike_origins(inventory: Inventory, counts: list[FileCounts]) -> list[str]:
    """A warning for each file that replaced one as moved and holds something else."""
    before = {file.id: file for file in inventory.known}
    origins = {new: before[old] for new, old in inventory.moved.items()}
    return [
        f"source {count.file.source}: {count.file.path} replaced the rows of {origin.path}, which "
        "had its name, size and modification time, but its rows are others: put that file back "
        "under another name and ingest again, and let files keep the time of their making"
        for count in counts
        if (origin := origins.get(count.file.id)) is not None
        and (count.read, count.first_event_time, count.last_event_time)
        != (origin.read, origin.first_event_time, origin.last_event_time)
    ]


def doubled_files(inventory: Inventory, counts: list[FileCounts]) -> list[str]:
    """A warning for each source of events whose new files look like vanished ones renamed.

    They do where as many rows lie between the same times, or where no file read before is left
    and the new ones reach back to the first event that was ever read. A folder that holds one
    new day each night does neither.
    """
    warnings = []
    vanished: dict[str, list[KnownFile]] = {}
    for file in inventory.vanished:
        if file.first_event_time is not None:
            vanished.setdefault(file.source, []).append(file)
    for source, before in vanished.items():
        ids = {file.id for file in before}
        spans = {(file.read, file.first_event_time, file.last_event_time) for file in before}
        first = min(file.first_event_time for file in before if file.first_event_time)
        events = (f for f in inventory.known if f.source == source and f.first_event_time)
        none_left = all(file.id in ids for file in events)
        again = [
            count.file.path
            for count in counts
            if count.file.source == source
            and count.first_event_time is not None
            and (
                (count.read, count.first_event_time, count.last_event_time) in spans
                or (none_left and count.first_event_time <= first)
            )
        ]
        if again:
            warnings.append(
                f"source {source}: {plural(len(again), 'new file')}, such as {again[0]}, may hold "
                f"the events of files that are gone, such as {before[0].path}, under other names "
                "(compressed, copied): then each of these events counts twice from now on; see "
                "`Files under other names` in docs/sources.md for how to take them out"
            )
    return warnings


def _totals(counts: list[FileCounts]) -> dict[str, int]:
    totals = {"files_read": len(counts)}
    for name in ("read", "accepted", "quarantined", "deduplicated", "identical"):
        totals[f"rows_{name}"] = sum(getattr(count, name) for count in counts)
    for kind in KINDS:
        totals[f"{kind}_read"] = sum(c.read for c in counts if c.file.kind == kind)
        totals[f"{kind}_accepted"] = sum(c.accepted for c in counts if c.file.kind == kind)
    return totals
