"""The part on segments: sizes, a map, profiles, and one card a segment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from kinsight.report import charts
from kinsight.report.figures import Figure, Table, figure
from kinsight.report.segmentation import COLD, Segmentation
from kinsight.report.words import (
    DRAWN,
    FEATURES,
    count,
    decimal,
    feature_label,
    feature_value,
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
        "count": len(segments),
        "sizes": _sizes(segments),
        "map": _map(segmentation) if len(segmentation.map) else None,
        "heatmap": _heatmap(segments),
        "cards": [_card(segment) for segment in segments[:MAXIMUM_CARDS]],
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


def _map(segmentation: Segmentation) -> Figure:
    names = {s["segment_id"]: s["name"] for s in segmentation.segments}
    placed = segmentation.map.assign(
        segment=segmentation.map["segment_id"].map(names),
        short=segmentation.map["segment_id"],
    )
    order = {s["segment_id"]: i for i, s in enumerate(segmentation.segments)}
    placed = placed.sort_values("segment_id", key=lambda ids: ids.map(order), kind="stable")
    placed = placed[_is_inner(placed["x"]) & _is_inner(placed["y"])]
    centres = placed.groupby("segment_id", sort=False).agg(
        n=("x", "size"), x=("x", "median"), y=("y", "median")
    )
    rows = [
        [names[str(name)], str(name), count(row["n"]), decimal(row["x"]), decimal(row["y"])]
        for name, row in centres.iterrows()
    ]
    return figure(
        charts.segment_map,
        placed,
        title="Map",
        note=f"A sample of {plural(len(placed), 'customer')}. Points lie near each other where "
        "customers behave alike; the label stands at the middle of a segment. The two directions "
        "are those in which the segments differ most, so segments that overlap here may still "
        "differ in others. The outermost points are left out.",
        alt=f"Points of {plural(len(placed), 'customer')} in {plural(len(rows), 'segment')}.",
        table=Table(
            ["Segment", "Id", "#Customers drawn", "#Middle, across", "#Middle, up"],
            rows,
            "Where the segments lie on the map",
        ),
    )


def _is_inner(places: pd.Series[float]) -> pd.Series[bool]:
    """Whether a place lies in the middle 98%: a few far points would press all others together."""
    return places.between(places.quantile(0.01), places.quantile(0.99))


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


def _card(segment: dict[str, Any]) -> dict[str, Any]:
    cold = segment["segment_id"] == COLD
    return {
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
