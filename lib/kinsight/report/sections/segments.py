"""The part on segments: sizes, a map, profiles, and one card a segment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from kinsight.report import charts
from kinsight.report.anchors import anchor
from kinsight.report.figures import Figure, Table, figure
from kinsight.report.sections.choices import choice_figures
from kinsight.report.sections.places import map_figure
from kinsight.report.segmentation import COLD, Segmentation
from kinsight.report.words import (
    DRAWN,
    FEATURES,
    count,
    day,
    decimal,
    feature_label,
    feature_value,
    findable,
    percent,
    plural,
    ratio_to_base,
    times,
)

MAXIMUM_CARDS = 40
TOP_TERMS = 5


def segments_section(segmentation: Segmentation) -> dict[str, Any]:
    """Values of the template's part on one segmentation."""
    segments = segmentation.segments
    return {
        "name": segmentation.name,
        "anchors": {
            part: anchor(part, segmentation.name)
            for part in ("sizes", "differences", "map", "choices")
        },
        "sizes": _sizes(segments),
        "map": map_figure(segmentation),
        "choices": choice_figures(segmentation),
        "heatmap": _heatmap(segments),
        "cards": [_card(segmentation, segment) for segment in segments[:MAXIMUM_CARDS]],
        "cards_hidden": max(0, len(segments) - MAXIMUM_CARDS),
    }


def _sizes(segments: list[dict[str, Any]]) -> Figure:
    largest = segments[0]
    frame = pd.DataFrame(
        {
            "segment": [s["name"] for s in segments],
            "size": [s["size"] for s in segments],
            "share": [s["share"] for s in segments],
        }
    )
    rows = [
        [
            s["name"],
            s["segment_id"],
            count(s["size"]),
            percent(s["share"]),
            decimal(s["cohesion"]),
        ]
        for s in segments
    ]
    columns = ["Segment", "Id", "#Customers", "#Share", "#Cohesion"]
    return figure(
        charts.segment_sizes,
        frame,
        title="Sizes",
        note="Share of all customers. Every customer is in exactly one segment.",
        alt=f"Bars of {plural(len(segments), 'segment')}; the largest, {largest['name']}, holds "
        f"{percent(largest['share'])} of customers.",
        table=Table(
            columns, rows, "Sizes of the segments. Cohesion: 1 where all members are alike."
        ),
        narrow=frame.assign(segment=_short_names(segments)),
    )


def _heatmap(segments: list[dict[str, Any]]) -> Figure | None:
    drawn = [f for f in DRAWN if any(_log_ratio(s, f) is not None for s in segments)]
    if not drawn:
        return None
    cells = [
        {
            "segment": s["name"],
            "id": s["segment_id"],
            "feature": feature_label(f),
            "log_ratio": _log_ratio(s, f) or 0.0,
            "text": times(ratio_to_base(s["profile"].get(f), s["base_profile"].get(f))),
        }
        for s in segments[:MAXIMUM_CARDS]
        for f in drawn
    ]
    frame = pd.DataFrame(cells)
    base = segments[0]["base_profile"]
    rows = [
        ["All customers", *(feature_value(f, base.get(f)) for f in drawn)],
        *([s["name"], *(feature_value(f, s["profile"].get(f)) for f in drawn)] for s in segments),
    ]
    strongest = max(cells, key=lambda cell: abs(cell["log_ratio"]))
    return figure(
        charts.feature_heatmap,
        frame,
        title="How the segments differ",
        note="Each cell: the segment's average beside that of all customers. 2.0× is twice the "
        "average, 0.5× half of it.",
        alt=f"Heatmap of {plural(len(segments), 'segment')} by {plural(len(drawn), 'number')}. "
        f"Farthest from the average: {strongest['segment']}, {strongest['feature']} at "
        f"{strongest['text']}.",
        table=Table(
            ["Segment", *(f"#{feature_label(f)}" for f in drawn)],
            rows,
            "Averages of the segments. Times of day and weekends: share of events.",
        ),
        narrow=frame.assign(segment=frame["id"]),
    )


def _card(segmentation: Segmentation, segment: dict[str, Any]) -> dict[str, Any]:
    cold = segment["segment_id"] == COLD
    fields = ("top_categories", "top_brands", "top_items")
    shown = [term for field in fields for term in segment[field][:TOP_TERMS] if not cold]
    return {
        "anchor": anchor("segment", segmentation.name, segment["segment_id"]),
        "exact_share": f"{segment['share']:.6f}",
        "words": findable(
            segment["name"],
            segment["segment_id"],
            *(term["label"] or term["token"] for term in shown),
            segment["description"],
        ),
        "change": _change(segmentation, segment),
        "name": segment["name"],
        "id": segment["segment_id"],
        "parent": segment["parent_id"],
        "size": count(segment["size"]),
        "share": percent(segment["share"]),
        "description": segment["description"],
        "terms": [
            (title, _terms(segment, title, field))
            for title, field in (
                ("Categories", "top_categories"),
                ("Brands", "top_brands"),
                ("Items", "top_items"),
            )
            if segment[field] and not cold
        ],
        "rule": segment["rule"],
        "precision": percent(segment["rule_precision"]),
        "recall": percent(segment["rule_recall"]),
        "profile": _profile(segment),
    }


def _change(segmentation: Segmentation, segment: dict[str, Any]) -> tuple[str, str] | None:
    """(points of share won or lost since the last date, rise, fall or even)."""
    moves = segmentation.movement
    then = moves.dropna(subset=["previous"]) if len(moves) else moves
    before = then.loc[then["previous"] == segment["segment_id"], "users"].sum() if len(then) else 0
    if not before:
        return None
    points = 100 * (segment["share"] - before / then["users"].sum())
    text = f"{points:+.1f} points since {day(segmentation.previous_as_of)}"
    if abs(points) < 0.05:
        return f"as large as on {day(segmentation.previous_as_of)}", "even"
    return text.replace("-", "−"), "rise" if points > 0 else "fall"


def _terms(segment: dict[str, Any], title: str, field: str) -> Table:
    rows = [
        [
            term["label"] or term["token"],
            times(term["lift"]),
            times(term["held_out_lift"]),
            percent(term["share"]),
            percent(term["base_share"]),
        ]
        for term in segment[field][:TOP_TERMS]
    ]
    columns = [title, "#Lift", "#Checked", "#Here", "#All"]
    return Table(columns, rows, f"{title} of {segment['name']}")


def _profile(segment: dict[str, Any]) -> Figure | None:
    drawn = [f for f in DRAWN if _log_ratio(segment, f) is not None]
    if not drawn:
        return None
    own, base = segment["profile"], segment["base_profile"]
    frame = pd.DataFrame(
        {
            "feature": [feature_label(f) for f in drawn],
            "log_ratio": [_log_ratio(segment, f) for f in drawn],
            "text": [
                f"{feature_value(f, own[f])}, all customers {feature_value(f, base[f])}"
                for f in drawn
            ],
        }
    )
    order = [*(f for f in FEATURES if f in own), *sorted(f for f in own if f not in FEATURES)]
    rows = [
        [
            feature_label(f),
            feature_value(f, own[f]),
            feature_value(f, base.get(f)),
            times(ratio_to_base(own[f], base.get(f))),
        ]
        for f in order
    ]
    strongest = max(drawn, key=lambda f: abs(_log_ratio(segment, f) or 0.0))
    return figure(
        charts.profile,
        frame,
        title="Beside all customers",
        note="",
        alt=f"Bars of {segment['name']} beside all customers; farthest from the average: "
        f"{feature_label(strongest)}, {times(ratio_to_base(own[strongest], base[strongest]))}.",
        table=Table(["Average", "#Here", "#All", "#Ratio"], rows, f"Averages of {segment['name']}"),
        small=True,
    )


def _log_ratio(segment: dict[str, Any], feature: str) -> float | None:
    """Binary logarithm of segment over base, within four doublings; None without meaning."""
    ratio = ratio_to_base(segment["profile"].get(feature), segment["base_profile"].get(feature))
    return None if ratio is None else float(np.clip(math.log2(max(ratio, 1 / 16)), -4, 4))


def _short_names(segments: list[dict[str, Any]]) -> list[str]:
    """Names cut for a phone, with the id where the cut would make two of them equal."""
    cut = [
        s["name"] if len(s["name"]) <= 24 else s["name"][:23].rstrip(" ·") + "…" for s in segments
    ]
    return [
        name if cut.count(name) == 1 else f"{name[:18]} {s['segment_id']}"
        for name, s in zip(cut, segments, strict=True)
    ]
