"""The map of a segmentation and how far it can be believed."""

from __future__ import annotations

import functools

import pandas as pd

from kinsight.report import charts
from kinsight.report.figures import Figure, Table, figure
from kinsight.report.places import Places
from kinsight.report.segmentation import Segmentation
from kinsight.report.words import count, decimal, feature_label, listing, percent, plural

FOLLOWED = 0.3  # correlation from which an axis is said to follow a number
NAMED = 2  # numbers named at an axis


def map_figure(segmentation: Segmentation) -> Figure | None:
    """The map; None where there is none."""
    if segmentation.places is None:
        return None
    drawn = _drawn(segmentation, segmentation.places.points)
    titles = {axis: _followed(segmentation.places, axis) for axis in ("x", "y")}
    middles = drawn.groupby(["segment", "short"], sort=False).agg(
        n=("x", "size"), x=("x", "median"), y=("y", "median")
    )
    rows = [
        [str(name[0]), count(row["n"]), decimal(row["x"], 1), decimal(row["y"], 1)]
        for name, row in middles.iterrows()
        if isinstance(name, tuple)
    ]
    return figure(
        functools.partial(charts.segment_map, across=titles["x"], up=titles["y"]),
        drawn,
        title="Map",
        note=f"A sample of {plural(len(drawn), 'customer')}. Points are near each other where "
        "customers behave alike; the label stands at the middle of a segment. Distances between "
        f"far points mean little. {_axes(titles)}",
        alt=f"Points of {plural(len(drawn), 'customer')} in {plural(len(rows), 'segment')}.",
        table=Table(
            ["Segment", "#Customers drawn", "#Middle, across", "#Middle, up"],
            rows,
            "Where the segments lie on the map",
        ),
        aside=_belief(segmentation.places),
    )


def _drawn(segmentation: Segmentation, points: pd.DataFrame) -> pd.DataFrame:
    by_id = {s["segment_id"]: s for s in segmentation.segments}
    order = {segment_id: place for place, segment_id in enumerate(by_id)}
    points = points.sort_values("segment_id", key=lambda ids: ids.map(order), kind="stable")
    shown = [by_id[segment_id] for segment_id in points["segment_id"]]
    drawn: pd.DataFrame = pd.DataFrame(
        {
            "x": points["x"].to_numpy(),
            "y": points["y"].to_numpy(),
            "segment": [f"{s['segment_id']} · {s['name']}" for s in shown],
            "short": [s["segment_id"] for s in shown],
            "description": [
                f"{s['segment_id']} · {s['name']}: {count(s['size'])} customers, "
                f"{percent(s['share'])}"
                for s in shown
            ],
        }
    )
    return drawn


def _followed(places: Places, axis: str) -> str | None:
    """The numbers that rise or fall along an axis, in words."""
    along = places.directions[places.directions["axis"] == axis]
    strong = along[along["correlation"].abs() >= FOLLOWED].head(NAMED)
    rising = strong["correlation"] > 0
    parts = [
        f"{word} {listing([feature_label(name).lower() for name in strong.loc[mask, 'feature']])}"
        for word, mask in (("rising:", rising), ("falling:", ~rising))
        if mask.any()
    ]
    return "; ".join(parts) or None


def _axes(titles: dict[str, str | None]) -> str:
    told = [
        f"{way}, {title}"
        for way, title in (("From left to right", titles["x"]), ("from below", titles["y"]))
        if title
    ]
    if not told:
        return "The two directions follow no readable number: only nearness counts."
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]} (correlation {decimal(FOLLOWED, 1)} or more)."


def _belief(places: Places) -> str:
    truth = places.truth
    if truth is None:
        return ""
    told = (
        f"How true is it? Of the {truth.neighbours} customers most like a customer, "
        f"{percent(truth.kept)} are also among the {truth.neighbours} nearest on the map "
        f"({percent(truth.by_chance)} would be by chance)."
    )
    if truth.same_segment > truth.same_segment_before:
        told += (
            f" Of the nearest on the map, {percent(truth.same_segment)} are in the same segment; "
            f"of the most alike, {percent(truth.same_segment_before)}: islands look more separate "
            "here than customers are."
        )
    return told
