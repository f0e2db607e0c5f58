"""What must hold before anything is written, and what must add up before anything is published."""

from __future__ import annotations

from collections import Counter

from kinsight.config import IngestConfig
from kinsight.errors import IntegrityError, RefusedError
from kinsight.ingest.batch import Batch, Tally
from kinsight.ingest.inventory import Inventory
from kinsight.ingest.output import FileCounts
from kinsight.labels import plural

_REASONS_SHOWN = 3
_EXAMPLE_LENGTH = 200


def check_batch(batch: Batch, config: IngestConfig, inventory: Inventory) -> list[str]:
    """Refuse a batch that is not fit to be written.

    Args:
        batch: The parsed and counted batch.
        config: The share of refused rows that is too much.
        inventory: The new files, and those of earlier runs: a source that brought rows before may
            have an empty file.

    Returns:
        A warning for each source with refused rows.

    Raises:
        RefusedError: If a source has no rows, too many refused ones, or changed meanwhile.
        IntegrityError: If a Parquet footer or Delta's log tells another number of rows than were
            read.
    """
    warnings = []
    by_source: dict[str, list[Tally]] = {source: [] for source in inventory.new}
    for tally in (tally for tallies in batch.tallies.values() for tally in tallies):
        if tally.file_id is None:
            raise RefusedError(
                "A source file changed while it was read.",
                expected="files that stay as they are during a run",
                found=f"{tally.rows} rows of a file that was listed with another size or time",
                to_do="run again when the files are complete",
            )
        by_source[batch.files[tally.file_id].source].append(tally)
    for source, tallies in by_source.items():
        read = sum(tally.rows for tally in tallies)
        if read == 0 and source not in {file.source for file in inventory.known}:
            files = inventory.new[source]
            raise RefusedError(
                f"Source {source} is empty.",
                expected="at least one row in a file that can be read",
                found=f"none in {plural(len(files), 'file')}, such as {files[0].path}",
                to_do="check the export that writes the file",
            )
        refused = sum(tally.rows for tally in tallies if tally.reason is not None)
        if refused > config.max_quarantine_share * read:
            raise RefusedError(
                f"Source {source} has too many rows that cannot be taken.",
                expected=f"at most {config.max_quarantine_share:.1%} (max_quarantine_share)",
                found=f"{refused:,} of {read:,} rows ({refused / read:.1%}): "
                + _top_reasons(tallies, examples=True),
                to_do=f"correct the mapping of source {source}, or the files",
            )
        if refused:
            warnings.append(
                f"{refused:,} of {read:,} rows of source {source} went to quarantine: "
                + _top_reasons(tallies, examples=False)
            )
    _check_footers(batch)
    return warnings


def check_counts(counts: list[FileCounts]) -> None:
    """Compare what was read of each file with what the tables hold.

    Raises:
        IntegrityError: If rows were lost or doubled.
    """
    for c in counts:
        if c.read != c.accepted + c.quarantined + c.deduplicated:
            raise IntegrityError(
                f"Rows were lost or doubled: {c.file.path}",
                expected=f"{c.read:,} rows, as many as were read",
                found=f"{c.accepted:,} accepted, {c.quarantined:,} quarantined and "
                f"{c.deduplicated:,} deduplicated",
                to_do="run again; if it stays, this is a mistake in Kinsight: please report it",
            )


def _check_footers(batch: Batch) -> None:
    read: Counter[str | None] = Counter()
    for tallies in batch.tallies.values():
        for tally in tallies:
            read[tally.file_id] += tally.rows
    for file_id, rows in batch.footer_rows.items():
        if file_id in batch.files and read[file_id] != rows:
            raise IntegrityError(
                f"A file was not read whole: {batch.files[file_id].path}",
                expected=f"{rows:,} rows, as its footer or the table's log tells",
                found=f"{read[file_id]:,} rows",
                to_do="check the file, then run again",
            )


def _top_reasons(tallies: list[Tally], *, examples: bool) -> str:
    """The commonest reasons with their counts, and one row of each where asked for."""
    rows: Counter[str] = Counter()
    example: dict[str, str] = {}
    for tally in tallies:
        if tally.reason is not None:
            rows[tally.reason] += tally.rows
            if tally.example is not None:
                first = min(tally.example, example.get(tally.reason, tally.example))
                example[tally.reason] = first
    ordered = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    parts = [
        f"{count:,} x {reason}"
        + (f", such as {example[reason][:_EXAMPLE_LENGTH]}" if examples else "")
        for reason, count in ordered[:_REASONS_SHOWN]
    ]
    hidden = len(ordered) - len(parts)
    return "; ".join(parts) + (f"; and {hidden} more reasons" if hidden else "")
