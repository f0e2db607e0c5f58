"""The part on movement: where customers were at the last date and where they are now."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kinsight.report import charts
from kinsight.report.figures import Figure, Table, each_row, figure
from kinsight.report.segmentation import Segmentation
from kinsight.report.words import NONE, count, day, percent

MAXIMUM_DRAWN = 16
NEW = "Newly seen"
GONE = "No longer seen"
OTHER = "Other segments"
KINDS = {
    "continued": "Kept its id: mostly the same customers as before.",
    "born": "New: no earlier segment holds enough of these customers.",
    "split": "Came out of a segment that was divided.",
    "merged": "Went into a segment that holds several earlier ones.",
    "retired": "Gone: its customers are spread over other segments.",
}


def movement_section(segmentation: Segmentation) -> dict[str, Any] | None:
    """Values of the template's part on movement; None on the first date."""
    if segmentation.previous_as_of is None or segmentation.movement.empty:
        return None
    moves = segmentation.movement
    both = moves.dropna(subset=["previous", "now"])
    stayed = int(both.loc[both["previous"] == both["now"], "users"].sum())
    known = int(both["users"].sum())
    return {
        "previous": day(segmentation.previous_as_of),
        "known": count(known),
        "stayed": count(stayed),
        "stayed_share": percent(stayed / max(1, known)),
        "new": count(moves.loc[moves["previous"].isna(), "users"].sum()),
        "gone": count(moves.loc[moves["now"].isna(), "users"].sum()),
        "matrix": _matrix(segmentation),
        "lineage": _lineage(segmentation) if len(segmentation.lineage) else None,
        "kinds": [
            (kind, text)
            for kind, text in KINDS.items()
            if kind in set(segmentation.lineage["kind"])
        ],
    }


def _matrix(segmentation: Segmentation) -> Figure:
    moves = segmentation.movement
    names = {s["segment_id"]: s["name"] for s in segmentation.segments}
    now_ids = [i for i in names if i in set(moves["now"])]
    then_ids = sorted(
        set(moves["previous"].dropna()),
        key=lambda i: (now_ids.index(i) if i in now_ids else len(now_ids), i),
    )
    drawn_now, drawn_then = now_ids[:MAXIMUM_DRAWN], then_ids[:MAXIMUM_DRAWN]
    cells = moves.assign(
        previous=[_cell_id(i, drawn_then, NEW) for i in moves["previous"]],
        now=[_cell_id(i, drawn_now, GONE) for i in moves["now"]],
    )
    counts = cells.pivot_table(
        index="previous", columns="now", values="users", aggfunc="sum", fill_value=0
    )
    rows = [i for i in [*drawn_then, OTHER, NEW] if i in counts.index]
    columns = [i for i in [*drawn_now, OTHER, GONE] if i in counts.columns]
    counts = counts.reindex(index=rows, columns=columns)
    ids = counts.stack().rename("users").reset_index()
    ids["share"] = ids["users"] / ids.groupby("previous")["users"].transform("sum")
    then_labels = {i: segmentation.previous_names.get(i, i) for i in rows}
    now_labels = {i: names.get(i, i) for i in columns}
    named = ids.assign(previous=ids["previous"].map(then_labels), now=ids["now"].map(now_labels))
    table_rows = [
        [then_labels[i], *(count(counts.loc[i, j]) for j in columns), count(counts.loc[i].sum())]
        for i in rows
    ]
    return figure(
        charts.movement_matrix,
        named,
        title="From segment to segment",
        note=f"Each row: the customers of a segment on {day(segmentation.previous_as_of)}, and "
        "the share of them in each segment of today. Dark cells in the diagonal: they stayed.",
        alt="Heatmap of shares of customers by earlier segment (rows) and segment of today "
        "(columns).",
        table=Table(
            ["Then", *(f"#{now_labels[i]}" for i in columns), "#All"],
            table_rows,
            "Customers by segment then (rows) and now (columns)",
        ),
        narrow=ids,
    )


def _cell_id(segment_id: str | None, drawn: list[str], missing: str) -> str:
    if segment_id is None or pd.isna(segment_id):
        return missing
    return segment_id if segment_id in drawn else OTHER


def _lineage(segmentation: Segmentation) -> Table:
    names = {s["segment_id"]: s["name"] for s in segmentation.segments}
    rows = [
        [
            row.kind,
            _named(row.previous_id, segmentation.previous_names),
            _named(row.segment_id, names),
            count(row.users_common),
            percent(row.overlap),
        ]
        for row in each_row(segmentation.lineage)
    ]
    columns = ["What happened", "Then", "Now", "#Customers in both", "#Overlap"]
    return Table(columns, rows, "How segments came from those of the last date")


def _named(segment_id: str | None, names: dict[str, str]) -> str:
    if segment_id is None or pd.isna(segment_id):
        return NONE
    return f"{names.get(segment_id, '')} ({segment_id})".strip()
