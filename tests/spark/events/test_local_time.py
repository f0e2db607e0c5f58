"""Times are told and kept in UTC, wherever the machine stands."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import functions as F
from rich.console import Console

from kinsight.errors import RefusedError
from kinsight.ingest.job import run_ingest
from kinsight.lookup import find_user
from kinsight.sequence.job import run_sequence
from kinsight.show import print_all, show_user
from kinsight.workspace import Workspace


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python's clock as that of a machine in New York."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def test_a_machine_in_new_york_tells_and_keeps_times_in_utc(
    workspace: Callable[..., Workspace], tmp_path: Path, new_york: None
) -> None:
    # The clocks of New York show 01:30 twice in this night.
    times = ["2024-11-03 05:30:00", "2024-11-03 06:30:00"]
    path = tmp_path / "events.csv"
    lines = [f"u1,{at},purchase,i1" for at in times]
    path.write_text("\n".join(["user_id,event_time,event_type,item_id", *lines, ""]))
    shop = workspace(ingest={"events": [{"name": "events", "path": str(path)}]})
    run_ingest(shop)
    bounds = [F.col(f"{end}_event_time").cast("string") for end in ("first", "last")]
    (kept,) = shop.tables.read("ingested_files").select(*bounds).collect()
    assert list(kept) == times

    run_sequence(shop, shop.as_of("2024-11-04"))
    user = find_user(shop, "u1", "2024-11-04")
    assert [f"{event['event_time']:%Y-%m-%d %H:%M:%S %Z}" for event in user.events] == [
        f"{at} UTC" for at in reversed(times)
    ]
    console = Console(width=200, record=True, file=io.StringIO())
    print_all(console, show_user(user))
    shown = console.export_text()
    assert all(f"{at} " in shown for at in times)

    with pytest.raises(RefusedError, match="from 2024-11-03 05:30 to 2024-11-03 06:30"):
        run_sequence(shop, shop.as_of("2023-01-01"))
