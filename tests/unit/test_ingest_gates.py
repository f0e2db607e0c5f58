"""What refuses a batch before it is written, and what must add up afterwards."""

from __future__ import annotations

import pytest

from kinsight.config import IngestConfig
from kinsight.errors import IntegrityError, RefusedError
from kinsight.ingest.batch import Batch, Tally
from kinsight.ingest.gates import check_batch, check_counts
from kinsight.ingest.inventory import Inventory, KnownFile
from kinsight.ingest.output import FileCounts
from tests.unit.test_ingest_files import FILE

CONFIG = IngestConfig.model_validate({"events": [{"name": "log", "path": "/data"}]})


def seen(*known: KnownFile) -> Inventory:
    return Inventory(
        known=list(known),
        new={"log": [FILE]},
        unchanged=0,
        remapped=[],
        gone=[],
        moved={},
        vanished=[],
        stale={},
    )


def batch(*tallies: Tally, footer_rows: int | None = None) -> Batch:
    footers = {} if footer_rows is None else {FILE.id: footer_rows}
    return Batch({FILE.id: FILE}, {}, {"events": list(tallies)}, footers, lambda rows: rows)


def good(rows: int) -> Tally:
    return Tally(FILE.id, None, rows)


def bad(rows: int, reason: str = "price is not a number", example: str = "{}") -> Tally:
    return Tally(FILE.id, reason, rows, example=example)


def test_a_source_without_rows_is_refused_unless_it_brought_some_before() -> None:
    with pytest.raises(RefusedError, match=r"log is empty[\s\S]*/data/a\.csv"):
        check_batch(batch(), CONFIG, seen())
    known = KnownFile("x", "events", "log", "/data/yesterday.csv")
    assert check_batch(batch(), CONFIG, seen(known)) == []


def test_refused_rows_up_to_the_share_are_a_warning_with_the_top_reasons() -> None:
    several = [bad(1, f"reason {n}") for n in range(3)]
    (warning,) = check_batch(batch(good(93), bad(4), *several), CONFIG, seen())
    assert warning == (
        "7 of 100 rows of source log went to quarantine: 4 x price is not a number; "
        "1 x reason 0; 1 x reason 1; and 1 more reasons"
    )


def test_more_refused_rows_refuse_the_source_with_counts_and_an_example() -> None:
    rows = batch(good(80), bad(20, example='{"price":"cheap"}'))
    with pytest.raises(RefusedError) as caught:
        check_batch(rows, CONFIG, seen())
    assert caught.value.expected == "at most 10.0% (max_quarantine_share)"
    assert caught.value.found == (
        '20 of 100 rows (20.0%): 20 x price is not a number, such as {"price":"cheap"}'
    )


def test_a_file_that_changed_while_it_was_read_is_refused() -> None:
    with pytest.raises(RefusedError, match="changed while it was read"):
        check_batch(batch(Tally(None, None, 5)), CONFIG, seen())


def test_a_footer_that_tells_more_rows_than_were_read_is_an_error() -> None:
    assert check_batch(batch(good(10), footer_rows=10), CONFIG, seen()) == []
    with pytest.raises(IntegrityError, match="11 rows"):
        check_batch(batch(good(10), footer_rows=11), CONFIG, seen())


def test_rows_that_are_in_no_table_are_an_error() -> None:
    whole = FileCounts(FILE, 10, 7, 2, 1, 0, None, None)
    check_counts([whole])
    with pytest.raises(IntegrityError, match="lost or doubled"):
        check_counts([FileCounts(FILE, 10, 7, 2, 0, 0, None, None)])
