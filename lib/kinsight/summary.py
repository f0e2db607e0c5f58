"""What a person reads at the end of a command: stages, segments, audiences, the report's path."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyspark.sql import functions as F
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kinsight.dates import AsOf
from kinsight.runs import StageSummary
from kinsight.workspace import Workspace

FILE_WIDTH = 120
REASONS_TOLD = 4


def screen() -> Console:
    """Standard output; wide lines where it is a file, whose width nobody told."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def print_stages(console: Console, summaries: Sequence[StageSummary]) -> None:
    """One line a stage: seconds and what it counted and measured."""
    table = _table("Stages", "stage", "as of", "seconds", "what it did")
    for summary in summaries:
        # Figures of single audiences stand in their own table, rows of tables in table runs.
        facts = [
            f"{_words(name)} {value:,}"
            for name, value in summary.counts.items()
            if value and "." not in name and not name.endswith("_rows")
        ]
        facts += [
            f"{_words(name)} {value:.3g}"
            for name, value in summary.metrics.items()
            if "." not in name
        ]
        date = str(summary.as_of or "")
        table.add_row(summary.stage, date, f"{summary.seconds:.1f}", ", ".join(facts))
    console.print(table)


def print_results(
    console: Console, workspace: Workspace, as_of: AsOf, summaries: Sequence[StageSummary]
) -> None:
    """The segments, the audiences and the report that the stages published.

    Args:
        console: Where to print.
        workspace: Session, configuration and tables.
        as_of: Their date.
        summaries: The stages that ran; only what they published is shown.
    """
    by_stage = {summary.stage: summary for summary in summaries}
    if "segment" in by_stage:
        _print_segments(console, workspace, as_of, by_stage["segment"])
    if "expand" in by_stage:
        _print_audiences(console, workspace, as_of, by_stage["expand"])
    for path in by_stage["report"].producer["report"] if "report" in by_stage else ():
        console.print(f"Report  {path}", soft_wrap=True)


def _print_segments(
    console: Console, workspace: Workspace, as_of: AsOf, summary: StageSummary
) -> None:
    rows = (
        workspace.tables.read("segments", summary.outputs["segments"])
        .where((F.col("as_of") == F.lit(as_of.date)) & (F.col("parent_id").isNull()))
        .where(F.col("segmentation").isin(summary.producer["segmentation"]))
        .select("segment_id", "name", "size", "share", F.get("name_terms", F.lit(0)))
        .orderBy(F.desc("size"), "segment_id")
        .collect()
    )
    table = _table(f"Segments as of {as_of.date}", "id", "name", "users", "share", "lift")
    for segment_id, name, size, share, term in rows:
        lift = (
            "" if term is None or term["held_out_lift"] is None else f"{term['held_out_lift']:.1f}"
        )
        table.add_row(segment_id, escape(name), f"{size:,}", f"{share:.1%}", lift)
    table.caption = "lift: of the name's first term, on other users and other days"
    console.print(table)


def _print_audiences(
    console: Console, workspace: Workspace, as_of: AsOf, summary: StageSummary
) -> None:
    rows = (
        workspace.tables.read("audiences", summary.outputs["audiences"])
        .where(F.col("as_of") == F.lit(as_of.date))
        .where(F.col("audience").isin(summary.producer["audience"]))
        .select(
            "audience",
            "status",
            "seeds_matched",
            "members",
            "scorer",
            "verdict",
            "scorers",
            "reasons",
        )
        .orderBy("audience")
        .collect()
    )
    table = _table(
        f"Audiences as of {as_of.date}",
        *("audience", "verdict", "seeds", "members", "scorer"),
        *("AUC", "activity", "truth AUC", "activity on truth"),
    )
    for name, status, seeds, members, scorer, verdict, scorers, _ in rows:
        auc = {row["scorer"]: row["auc"] for row in scorers}
        found = [auc.get(scorer), auc.get("activity")]
        found += [summary.metrics.get(f"{name}.truth{part}_auc") for part in ("", "_activity")]
        table.add_row(
            name,
            verdict if status == "published" else status,
            f"{seeds:,}",
            f"{members:,}",
            scorer or "",
            *("" if value is None else f"{value:.3f}" for value in found),
        )
    table.caption = "AUC on hidden seeds; truth AUC on users known to belong and never learned from"
    console.print(table)
    for name, *_, reasons in rows:
        if reasons:
            told = ", ".join(f"{r['label']} ({r['lift']:.1f} x)" for r in reasons[:REASONS_TOLD])
            console.print(f"Seeds of {escape(name)} do more of: {escape(told)}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    numbers = {
        "seconds",
        "users",
        "share",
        "lift",
        "seeds",
        "members",
        "AUC",
        "activity",
        "truth AUC",
        "activity on truth",
    }
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")
