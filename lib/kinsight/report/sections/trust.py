"""How far an audience can be trusted: curves, sizes, ways of ranking, the hidden truth."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kinsight.report import charts
from kinsight.report.figures import Figure, Table, each_row, figure
from kinsight.report.words import NONE, count, decimal, percent, plural, times

ACTIVITY, RANDOM = "activity", "random"
LINES = {
    "chosen": "this audience",
    ACTIVITY: "most active customers first",
    RANDOM: "random customers",
}


def scorers_table(row: dict[str, Any]) -> Table:
    """All ways of ranking that were tried, the best first."""
    best_first = sorted(row["scorers"], key=lambda s: -(s["auc"] or 0.0))
    rows = [
        [
            f"{s['scorer']} (chosen)" if s["scorer"] == row["scorer"] else s["scorer"],
            f"{decimal(s['auc'], 3)} ± {decimal(s['auc_std'], 3)}"
            if s["auc_std"] is not None
            else decimal(s["auc"], 3),
            percent(s["recall"]),
            times(s["lift"]),
            decimal(s["seconds"], 1),
        ]
        for s in best_first
    ]
    at = percent(row["reference_share"]) if row["reference_share"] else "the reference size"
    return Table(
        ["Way of ranking", "#AUC", "#Seeds found", "#Lift", "#Seconds"],
        rows,
        f"All ways of ranking that were tried, measured on hidden seeds; found and lift at {at}",
    )


def truth_table(row: dict[str, Any], measures: dict[str, float]) -> Table:
    """How well the ranking finds customers that it was never told of."""
    at = percent(row["reference_share"])
    rows = [
        [
            LINES["chosen"],
            decimal(measures["truth_auc"], 3),
            percent(measures.get("truth_recall")),
        ],
        [LINES[ACTIVITY], decimal(measures.get("truth_activity_auc"), 3), NONE],
        [LINES[RANDOM], decimal(0.5, 3), percent(measures.get("truth_random_recall"))],
    ]
    found = plural(int(measures.get("truth_users", 0)), "customer")
    return Table(
        ["Order", "#AUC", f"#Found in the first {at}"],
        rows,
        f"{found} of the hidden truth, whom nothing that ranks has seen",
    )


def levels_table(row: dict[str, Any]) -> Table:
    """The sizes to choose from."""
    rows = [
        [
            level["level"],
            percent(level["share"]),
            count(level["reach"]),
            percent(level["held_out_recall"]),
            times(level["held_out_lift"]),
            decimal(level["score_threshold"], 3),
        ]
        for level in row["levels"]
    ]
    columns = ["Level", "#Share", "#Customers", "#Hidden seeds found", "#Lift", "#Lowest score"]
    return Table(columns, rows, "Sizes to choose from; each holds the ones above it")


def recall_figure(name: str, curves: pd.DataFrame) -> Figure:
    """Hidden seeds found by size, beside activity and chance."""
    parts = [
        curves[mask].assign(kind=kind, line=LINES[kind])
        for kind, mask in (
            ("chosen", curves["is_chosen"]),
            (ACTIVITY, (curves["scorer"] == ACTIVITY) & ~curves["is_chosen"]),
            (RANDOM, (curves["scorer"] == RANDOM) & ~curves["is_chosen"]),
        )
    ]
    drawn = pd.concat(parts).rename(columns={"recall_low": "low", "recall_high": "high"})
    columns = ["line", "kind", "share", "reach", "recall", "low", "high", "lift"]
    drawn = drawn[columns].sort_values(["kind", "share"])
    middle = drawn[drawn["kind"] == "chosen"].iloc[len(parts[0]) // 2]
    rows = [
        [
            r.line,
            percent(r.share),
            count(r.reach),
            percent(r.recall),
            f"{percent(r.low)} to {percent(r.high)}",
            times(r.lift),
        ]
        for r in each_row(drawn)
    ]
    return figure(
        charts.recall_curve,
        drawn.drop(columns=["reach", "lift"]),
        title="How far it can be trusted",
        note="Part of the seeds was hidden and looked for again. The higher the line, the more of "
        "them are found in a small audience. The band is the 95% interval. A line no higher than "
        "that of the most active customers says that the seeds are merely active.",
        alt=f"Curve of {name}: the top {percent(middle['share'])} of customers hold "
        f"{percent(middle['recall'])} of the hidden seeds.",
        table=Table(
            [
                "Order",
                "#Share taken",
                "#Customers",
                "#Hidden seeds found",
                "#95% interval",
                "#Lift",
            ],
            rows,
            "Hidden seeds found by size",
        ),
    )


def similarity_figure(chosen: pd.DataFrame) -> Figure | None:
    """How alike the members stay as the audience grows; None where it was not measured."""
    if chosen.empty or chosen["similarity"].isna().all():
        return None
    drawn = chosen.dropna(subset=["similarity"]).sort_values("reach")
    first, last = drawn.iloc[0], drawn.iloc[-1]
    rows = [[count(r.reach), percent(r.share), decimal(r.similarity)] for r in each_row(drawn)]
    return figure(
        charts.similarity_curve,
        drawn[["share", "reach", "similarity"]],
        title="Similarity by size",
        note="How alike the customers are to the middle of the seeds, on average (1: the same "
        "direction of taste). It usually falls as the audience grows.",
        alt=f"Line from {decimal(first['similarity'])} at {plural(int(first['reach']), 'customer')}"
        f" to {decimal(last['similarity'])} at {plural(int(last['reach']), 'customer')}.",
        table=Table(["#Customers", "#Share", "#Similarity"], rows, "Similarity by size"),
    )
