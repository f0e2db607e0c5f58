"""How the number of segments was chosen: what each number that was tried did."""

from __future__ import annotations

import functools

import pandas as pd

from kinsight.report import charts
from kinsight.report.figures import Figure, Table, each_row, figure
from kinsight.report.segmentation import Segmentation
from kinsight.report.words import decimal, plural


def choice_figures(segmentation: Segmentation) -> list[Figure]:
    """One figure a measure; none where the configuration names the number."""
    tried = segmentation.choices
    if len(tried) < 2:
        return []
    spread = tried["stability_std"]
    stability = tried.assign(
        value=tried["stability"],
        low=tried["stability"] - spread,
        high=tried["stability"] + spread,
    )
    silhouette = tried.assign(
        value=tried["silhouette"], low=tried["silhouette"], high=tried["silhouette"]
    )
    reasons = tried["choice_reason"].dropna().to_list()
    return [
        _figure(
            stability,
            "stability",
            (f"The number was chosen for this: {reasons[0]}. " if reasons else "")
            + "How alike the segments are when two halves of the customers make them: 1 the same, "
            "0 chance. The band is one standard deviation; the large mark is the number chosen.",
        ),
        _figure(
            silhouette,
            "silhouette",
            "How far the segments stand apart, from -1 to 1. Customers of a shop are rarely far "
            "apart: small figures are common.",
        ),
    ]


def _figure(frame: pd.DataFrame, measure: str, note: str) -> Figure:
    rows = [
        [
            f"{r.segments}{' (chosen)' if r.is_chosen else ''}",
            decimal(r.value, 3),
            f"{decimal(r.low, 3)} to {decimal(r.high, 3)}",
        ]
        for r in each_row(frame)
    ]
    chosen = frame[frame["is_chosen"]]
    told = (
        f"; chosen: {plural(int(chosen['segments'].iloc[0]), 'segment')}, {measure} "
        f"{decimal(chosen['value'].iloc[0], 3)}"
        if len(chosen)
        else ""
    )
    return figure(
        functools.partial(charts.choice_curve, measure=measure),
        frame[["segments", "value", "low", "high", "is_chosen"]],
        title=f"How many segments: {measure}",
        note=note,
        alt=f"Line of the {measure} of {plural(len(frame), 'number')} of segments{told}.",
        table=Table(
            ["#Segments", f"#{measure.capitalize()}", "#Spread"],
            rows,
            f"{measure.capitalize()} by number of segments",
        ),
    )
