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
from kinsight.report.sections.trust import (
    levels_table,
    recall_figure,
    scorers_table,
    similarity_figure,
    truth_table,
)
from kinsight.report.words import NONE, count, day, decimal, findable, percent, plural, times

MAXIMUM_DETAILED = 30
VERDICTS = {
    "strong": "strong signal",
    "fair": "fair signal",
    "weak": "weak signal",
    "none": "no signal",
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
            *(reason["label"] or reason["token"] for reason in row.get("reasons") or []),
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
        "scorers": scorers_table(row) if row["scorers"] else None,
        "levels": levels_table(row) if row["levels"] else None,
        "reasons": _reasons(row),
        "truth": truth_table(row, audience.measures) if "truth_auc" in audience.measures else None,
        "curve": recall_figure(row["audience"], curves) if len(chosen) else None,
        "similarity": similarity_figure(chosen),
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


def _reasons(row: dict[str, Any]) -> Figure | None:
    """What the seeds do more than others; None where nothing is sure."""
    reasons = row.get("reasons") or []
    if not reasons:
        return None
    frame = pd.DataFrame(
        {
            "reason": _distinct(reasons),
            "lift": [reason["lift"] for reason in reasons],
            "share": [reason["share"] for reason in reasons],
            "base_share": [reason["base_share"] for reason in reasons],
        }
    )
    first = frame.iloc[0]
    rows = [
        [r.reason, times(r.lift), percent(r.share), percent(r.base_share)] for r in each_row(frame)
    ]
    return figure(
        charts.audience_reasons,
        frame,
        title="What the seeds do more than others",
        note="How many times more than the customers to choose from, made smaller where few seeds "
        "tell it. Of a thing: its share of what a customer does; of a habit: the share of "
        "customers who are among the fifth that has it most, or least.",
        alt=f"Bars of {plural(len(frame), 'reason')}; first: {first['reason']}, "
        f"{times(first['lift'])}.",
        table=Table(
            ["Reason", "#Lift", "#Among seeds", "#Among the others"],
            rows,
            f"What sets the seeds of {row['audience']} apart",
        ),
    )


def _distinct(reasons: list[dict[str, Any]]) -> list[str]:
    """Labels of reasons, with their field where a category and an item are called the same."""
    labels = [reason["label"] or reason["token"] for reason in reasons]
    return [
        f"{label} ({reason['field'].split('_')[0]})" if labels.count(label) > 1 else label
        for label, reason in zip(labels, reasons, strict=True)
    ]


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
