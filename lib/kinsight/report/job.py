"""Stage `report`: the published tables of a date to one HTML file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from kinsight.config import ReportConfig
from kinsight.dates import AsOf
from kinsight.errors import ConfigError
from kinsight.report.data import collect
from kinsight.report.html import render, write_whole
from kinsight.report.sources import Sources
from kinsight.runs import StageSummary
from kinsight.workspace import Workspace


def run_report(workspace: Workspace, as_of: AsOf, *, latest_input: bool = False) -> StageSummary:
    """Write ``FOLDER/report-DATE.html`` from what succeeded runs published for a date.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date.
        latest_input: Show the newest ingest instead of the one that the date's histories read.

    Returns:
        The summary; ``producer["report"]`` holds the path of the file.

    Raises:
        ConfigError: If the folder is not a local one.
        RefusedError: If nothing was published for the date.
    """
    path = report_path(workspace.config.report, as_of.date)
    with workspace.run("report", as_of, workspace.config.report, latest_input) as run:
        sources = Sources(run, as_of, latest_input)
        data = collect(workspace, sources)
        with run.step("draw charts and write the file"):
            page = render(data, dt.datetime.now(dt.timezone.utc))
            write_whole(path, page)
        run.counts["segmentations"] = len(data.segmentations)
        run.counts["segments"] = sum(len(s.segments) for s in data.segmentations)
        run.counts["audiences"] = len(data.audiences)
        run.counts["bytes"] = len(page.encode())
        run.producer = {"report": [str(path)]}
    return run.summary()


def report_path(config: ReportConfig, date: dt.date) -> Path:
    """Where the report of a date goes.

    Raises:
        ConfigError: If the folder is not a local one.
    """
    if "://" in config.folder:
        raise ConfigError(
            "The report is written to a local folder.",
            expected="a path in report.folder",
            found=config.folder,
            to_do="write it to a local folder and copy it from there",
        )
    return Path(config.folder) / f"report-{date.isoformat()}.html"
