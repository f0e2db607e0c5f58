"""The part on audiences: what was found, how far to trust it, who the members are."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from kinsight.report import charts
from kinsight.report.anchors import anchor
from kinsight.report.audiences import Audience
from kinsight.report.data import ReportData
from kinsight.report.figures import Figure, Table, each_row, figure
from kinsight.report.words import NONE, count, day, decimal, findable, percent, plural, times

MAXIMUM_DETAILED = 30
ACTIVITY, RANDOM = "activity", "random"
VERDICTS = {
    "strong": "strong signal",
    "fair": "fair signal",
    "weak": "weak signal",
    "none": "no signal",
}
LINES = {
    "chosen": "this audience",
    ACTIVITY: "most active customers first",
    RANDOM: "random customers",
}


def audiences_section(data: ReportData) -> dict[str, Any]:
    """Values of the template's part on audiences."""
    segmentation = data.segmentations[0] if data.segmentations else None
    segments = segmentation.segments if segmentation else []
    return {
        "overview": _overview(data.audiences) if data.audiences else None,
        "details": [_detail(a, segments) for a in data.audiences[:MAXIMUM_DETAILED]],
        "hidden": max(0, len(data.audiences) - MAXIMUM_DETAILED),
    }


def _overview(audiences: list[Audience]) -> Table:
    with_truth = any("truth_auc" in audience.measures for audience in audiences)
    rows = [
        [
            row["audience"],
            row["status"],
            VERDICTS.get(row["verdict"] or "", NONE),
            count(row["seeds_matched"]),
            count(row["members"]),
            decimal(measures.get("auc"), 3),
            decimal(measures.get("activity_auc"), 3),
            *([decimal(measures.get("truth_auc"), 3)] if with_truth else []),
            day(row["valid_until"]),
        ]
        for row, measures in ((audience.row, audience.measures) for audience in audiences)
    ]
    columns = ["Audience", "Status", "Verdict", "#Seeds matched", "#Members"]
    columns += ["#AUC", "#AUC of activity", *(["#AUC on the truth"] if with_truth else [])]
    columns.append("Use until")
    return Table(columns, rows, "All audiences of the date")


def _detail(audience: Audience, segments: list[dict[str, Any]]) -> dict[str, Any]:
    row, curves = audience.row, audience.curves
    chosen = curves[curves["is_chosen"]] if len(curves) else curves
    return {
        "anchor": anchor("audience", row["audience"]),
        "words": findable(
            row["audience"],
            VERDICTS.get(row["verdict"] or "", row["status"]),
            row["scorer"],
            row["verdict_text"],
        ),
        "name": row["audience"],
        "published": row["status"] == "published",
        "refusal": (row["refusal_reason"] or "").splitlines(),
        "verdict": VERDICTS.get(row["verdict"] or ""),
        "verdict_class": row["verdict"] if row["verdict"] in VERDICTS else "none",
        "verdict_text": row["verdict_text"],
        "seeds": [
            ("Seeds sent", count(row["seeds_sent"]), "rows of the list"),
            ("Matched", count(row["seeds_matched"]), f"needed: {count(row['seeds_needed'])}"),
            ("Unknown", count(row["seeds_unknown"]), "ids without history"),
            ("Repeated", count(row["seeds_duplicate"]), "ids listed twice"),
            ("Not eligible", count(row["seeds_ineligible"]), "outside the allowed customers"),
        ],
        "facts": _facts(row),
        "scorer": row["scorer"],
        "scorer_reason": row["scorer_reason"],
        "scorers": _scorers(row) if row["scorers"] else None,
        "levels": _levels(row) if row["levels"] else None,
        "truth": _truth(row, audience.measures) if "truth_auc" in audience.measures else None,
        "curve": _curve(row["audience"], curves) if len(chosen) else None,
        "similarity": _similarity(chosen) if _has_similarity(chosen) else None,
        "origin": _origin(audience, segments) if segments and len(audience.members) else None,
    }


def _facts(row: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("Members", count(row["members"])),
        ("Customers to choose from", count(row["users_eligible"])),
        ("Left out by suppression", count(row["users_suppressed"])),
    ]
    if row["churn"] is not None:
        previous: dt.date | None = row["previous_as_of"]
        facts.append((f"Left since {day(previous)}", percent(row["churn"])))
    if row["valid_until"] is not None:
        facts.append(("Use until", day(row["valid_until"])))
    return facts


def _scorers(row: dict[str, Any]) -> Table:
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


def _truth(row: dict[str, Any], measures: dict[str, float]) -> Table:
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


def _levels(row: dict[str, Any]) -> Table:
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


def _curve(name: str, curves: pd.DataFrame) -> Figure:
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


def _has_similarity(chosen: pd.DataFrame) -> bool:
    return len(chosen) > 0 and bool(chosen["similarity"].notna().any())


def _similarity(chosen: pd.DataFrame) -> Figure:
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


def _origin(audience: Audience, segments: list[dict[str, Any]]) -> Figure | None:
    counts = audience.members.dropna(subset=["segment_id"]).groupby("segment_id")["users"].sum()
    total = counts.sum()
    known = [s for s in segments if s["segment_id"] in counts.index]
    if not known:
        return None
    frame = pd.DataFrame(
        {
            "segment": [s["name"] for s in known],
            "users": [counts[s["segment_id"]] for s in known],
            "base_share": [s["share"] for s in known],
        }
    )
    frame["share"] = frame["users"] / total
    frame = frame.sort_values(["share", "segment"], ascending=[False, True]).head(12)
    top = frame.iloc[0]
    rows = [
        [r.segment, count(r.users), percent(r.share), percent(r.base_share)]
        for r in each_row(frame)
    ]
    return figure(
        charts.audience_origin,
        frame.drop(columns="users"),
        title="Which segments the members come from",
        note="Bar: share of the audience. Mark: the segment's share of all customers. "
        "A bar beyond its mark: the audience leans to this segment.",
        alt=f"Bars by segment; most members ({percent(top['share'])}) come from {top['segment']}.",
        table=Table(
            ["Segment", "#Members", "#Share of audience", "#Share of all"],
            rows,
            "Members by segment",
        ),
    )
