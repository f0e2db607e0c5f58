"""The part on movement: where customers were at the last date and where they are now."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from kinsight.report import charts
from kinsight.report.anchors import anchor
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
    cells = _moves(segmentation)
    return {
        "anchor": anchor("flows", segmentation.name),
        "previous": day(segmentation.previous_as_of),
        "known": count(known),
        "stayed": count(stayed),
        "stayed_share": percent(stayed / max(1, known)),
        "new": count(moves.loc[moves["previous"].isna(), "users"].sum()),
        "gone": count(moves.loc[moves["now"].isna(), "users"].sum()),
        "flows": _flows(segmentation, cells),
        "matrix": _matrix(segmentation, cells),
        "lineage": _lineage(segmentation) if len(segmentation.lineage) else None,
        "kinds": [
            (kind, text)
            for kind, text in KINDS.items()
            if kind in set(segmentation.lineage["kind"])
        ],
    }


@dataclasses.dataclass(frozen=True)
class _Moves:
    """Customers by where they were and are, the smaller segments taken together.

    Attributes:
        cells: previous, now (ids or one of NEW, GONE, OTHER), kind, users.
        then: What is in ``previous``, from the top.
        now: What is in ``now``, from the top.
        then_labels: Names of those of ``then``.
        now_labels: Names of those of ``now``.
    """

    cells: pd.DataFrame
    then: list[str]
    now: list[str]
    then_labels: dict[str, str]
    now_labels: dict[str, str]


def _moves(segmentation: Segmentation) -> _Moves:
    moves = segmentation.movement
    names = {s["segment_id"]: s["name"] for s in segmentation.segments}
    now_ids = [i for i in names if i in set(moves["now"])]
    then_ids = sorted(
        set(moves["previous"].dropna()),
        key=lambda i: (now_ids.index(i) if i in now_ids else len(now_ids), i),
    )
    drawn_now, drawn_then = now_ids[:MAXIMUM_DRAWN], then_ids[:MAXIMUM_DRAWN]
    cells = pd.DataFrame(
        {
            "previous": [_cell_id(i, drawn_then, NEW) for i in moves["previous"]],
            "now": [_cell_id(i, drawn_now, GONE) for i in moves["now"]],
            "kind": [_kind(r.previous, r.now) for r in each_row(moves)],
            "users": moves["users"].to_numpy(),
        }
    )
    cells = cells.groupby(["previous", "now", "kind"], as_index=False)["users"].sum()
    then = [i for i in [*drawn_then, OTHER, NEW] if i in set(cells["previous"])]
    now = [i for i in [*drawn_now, OTHER, GONE] if i in set(cells["now"])]
    return _Moves(
        cells,
        then,
        now,
        {i: segmentation.previous_names.get(i, i) for i in then},
        {i: names.get(i, i) for i in now},
    )


def _kind(previous: str | None, now: str | None) -> str:
    if pd.isna(previous):
        return "new"
    if pd.isna(now):
        return "left"
    return "stayed" if previous == now else "moved"


def _flows(segmentation: Segmentation, moves: _Moves) -> Figure:
    became = _what_became(segmentation.lineage)
    now_labels = {
        i: f"{label} ({became[i]})" if i in became else label
        for i, label in moves.now_labels.items()
    }
    by_id = moves.cells.assign(
        previous=pd.Categorical(moves.cells["previous"], moves.then),
        now=pd.Categorical(moves.cells["now"], moves.now),
    )
    named = by_id.assign(
        previous=by_id["previous"].cat.rename_categories(_distinct(moves.then_labels)),
        now=by_id["now"].cat.rename_categories(_distinct(now_labels)),
    )
    largest = moves.cells.sort_values("users", ascending=False, kind="stable")
    rows = [
        [moves.then_labels[r.previous], now_labels[r.now], r.kind, count(r.users)]
        for r in each_row(largest)
    ]
    kinds = moves.cells.groupby("kind")["users"].sum()
    share = percent(
        kinds.get("moved", 0) / max(1, kinds.drop(["new", "left"], errors="ignore").sum())
    )
    return figure(
        charts.segment_flows,
        named,
        title="Flows",
        note=f"Left: the segments of {day(segmentation.previous_as_of)}. Right: those of today. "
        "A band is as wide as its number of customers.",
        alt=f"Bands from the segments of {day(segmentation.previous_as_of)} to those of today; "
        f"{share} of customers known at both dates moved.",
        table=Table(["Then", "Now", "What", "#Customers"], rows, "Flows, largest first"),
        narrow=by_id,
    )


def _what_became(lineage: pd.DataFrame) -> dict[str, str]:
    """Segments of today that did not simply go on, with a word for what made them."""
    words = {"born": "new", "split": "split", "merged": "merged"}
    return {
        r.segment_id: words[r.kind]
        for r in each_row(lineage)
        if r.kind in words and isinstance(r.segment_id, str)
    }


def _distinct(labels: dict[str, str]) -> dict[str, str]:
    """Labels with their id where two would be equal."""
    all_labels = list(labels.values())
    return {i: f"{v} ({i})" if all_labels.count(v) > 1 else v for i, v in labels.items()}


def _matrix(segmentation: Segmentation, moves: _Moves) -> Figure:
    counts = moves.cells.pivot_table(
        index="previous", columns="now", values="users", aggfunc="sum", fill_value=0
    ).reindex(index=moves.then, columns=moves.now)
    ids = counts.stack().rename("users").reset_index()
    ids["share"] = ids["users"] / ids.groupby("previous")["users"].transform("sum")
    then_labels, now_labels = _distinct(moves.then_labels), _distinct(moves.now_labels)
    named = ids.assign(previous=ids["previous"].map(then_labels), now=ids["now"].map(now_labels))
    table_rows = [
        [
            then_labels[i],
            *(count(counts.loc[i, j]) for j in moves.now),
            count(counts.loc[i].sum()),
        ]
        for i in moves.then
    ]
    return figure(
        charts.movement_matrix,
        named,
        title="From segment to segment",
        note=f"Each row: the customers of a segment on {day(segmentation.previous_as_of)}, and "
        "the share of them in each segment of today. Strong cells in the diagonal: they stayed.",
        alt="Heatmap of shares of customers by earlier segment (rows) and segment of today "
        "(columns).",
        table=Table(
            ["Then", *(f"#{now_labels[i]}" for i in moves.now), "#All"],
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
