"""The part on the data: what came in, what was refused, what the histories are made of."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kinsight.report import charts
from kinsight.report.data import ReportData
from kinsight.report.figures import Figure, Table, each_row, figure
from kinsight.report.quality import HISTORY_LENGTHS, Quality
from kinsight.report.words import count, day, percent, plural


def quality_section(data: ReportData) -> dict[str, Any]:
    """Values of the template's part on the data."""
    quality = data.quality
    return {
        "sources": _sources(quality) if len(quality.sources) else None,
        "refused": _refused(quality) if len(quality.refused) else None,
        "refused_hidden": quality.refused_reasons - len(quality.refused),
        "events": _events(quality) if len(quality.events) else None,
        "types": _types(quality) if len(quality.types) else None,
        "histories": _histories(quality) if quality.users else None,
        "facts": _facts(data),
    }


def _sources(quality: Quality) -> Table:
    rows = [
        [
            f"{row.source} ({row.kind})",
            count(row.files),
            count(row.rows_read),
            count(row.rows_accepted),
            count(row.rows_quarantined),
            count(row.rows_deduplicated),
            count(row.rows_identical),
            day(row.first_event_time) if pd.notna(row.first_event_time) else "",
            day(row.last_event_time) if pd.notna(row.last_event_time) else "",
        ]
        for row in each_row(quality.sources)
    ]
    columns = [
        "Source",
        "#Files",
        "#Rows read",
        "#Accepted",
        "#Refused",
        "#Repeated id, left out",
        "#Identical rows, kept",
        "First event",
        "Last event",
    ]
    return Table(columns, rows, "What the shop delivered, by source")


def _refused(quality: Quality) -> list[dict[str, Any]]:
    return [
        {
            "source": row.source,
            "reason": row.reason,
            "rows": count(row.rows),
            "examples": list(dict.fromkeys([row.first_example, row.last_example])),
        }
        for row in each_row(quality.refused)
    ]


def _events(quality: Quality) -> Figure:
    events = quality.events
    types = list(dict.fromkeys(events["event_type"]))
    by_start = events.pivot_table(
        index="start", columns="event_type", values="events", aggfunc="sum", fill_value=0
    )
    total = by_start.sum(axis=1)
    table = Table(
        [quality.period.capitalize(), *(f"#{name}" for name in types)],
        [
            [f"{start:%Y-%m-%d}", *(count(row[name]) for name in types)]
            for start, row in by_start.iterrows()
        ],
        f"Events by {quality.period} and type",
    )
    return figure(
        charts.events_over_time,
        events,
        title=f"Events by {quality.period}",
        note="A sudden gap or peak is often a delivery problem and not a habit of the customers. "
        f"The first and the last {quality.period} may be cut by the window.",
        alt=f"Stacked bars of events by {quality.period}: between {total.min():,} and "
        f"{total.max():,}, from {by_start.index.min():%d %B %Y} on.",
        table=table,
    )


def _types(quality: Quality) -> Table:
    total = quality.types["events"].sum()
    rows = [
        [row.event_type, count(row.events), percent(row.events / total)]
        for row in each_row(quality.types)
    ]
    return Table(["Event type", "#Events", "#Share"], rows, "Events by type")


def _histories(quality: Quality) -> Figure:
    users = quality.users or {}
    labels = [label for label, _, _ in HISTORY_LENGTHS]
    frame = pd.DataFrame({"history": labels, "users": [users[label] for label in labels]})
    most = frame.loc[frame["users"].idxmax()]
    rows = [
        [label, count(users[label]), percent(users[label] / max(1, users["users"]))]
        for label in labels
    ]
    return figure(
        charts.history_lengths,
        frame,
        title="Customers by number of events",
        note="Long histories tell more. Customers with a single visit can hardly be told apart.",
        alt=f"Bars: most customers ({most['users']:,}) have {most['history']} events.",
        table=Table(["Events", "#Customers", "#Share"], rows, "Customers by number of events"),
    )


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """Short sentences on hot and cold customers, each with a heading."""
    users = data.quality.users
    facts = []
    if users:
        facts.append(
            (
                "Hot customers",
                f"{plural(users['hot'], 'customer')} had more events than the configured cap and "
                "kept only the latest ones; bots look like this."
                if users["hot"]
                else "No customer had more events than the configured cap.",
            )
        )
    for segmentation in data.segmentations:
        cold = sum(s["size"] for s in segmentation.segments if s["segment_id"] == "cold")
        total = sum(s["size"] for s in segmentation.segments if s["level"] == 0)
        facts.append(
            (
                "Cold customers",
                f"{plural(cold, 'customer')} ({percent(cold / max(1, total))}) have fewer than "
                f"{data.minimum_events} events: too few to say what they like. "
                "They have a segment of their own.",
            )
        )
    return facts
