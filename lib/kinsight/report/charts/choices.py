"""How the number of segments was chosen."""

from __future__ import annotations

import altair as alt
import pandas as pd

from kinsight.report.charts.parts import AnyChart, described, finish
from kinsight.report.palette import BLUE, VERMILION


def choice_curve(frame: pd.DataFrame, width: int, measure: str) -> AnyChart:
    """A measure of each number of segments that was tried, the chosen one marked.

    Args:
        frame: segments, value, low, high (low and high are the value where it has no spread),
            is_chosen.
        width: Width in pixels.
        measure: What the value is.
    """
    frame = described(
        frame,
        [
            f"{r.segments} segments: {measure} {r.value:.2f}{', chosen' if r.is_chosen else ''}"
            for r in frame.itertuples()
        ],
    )
    base = alt.Chart(frame).encode(
        x=alt.X(
            "segments:Q",
            title="number of segments",
            scale=alt.Scale(zero=False, padding=12),
            axis=alt.Axis(format="d", tickMinStep=1, tickCount=max(2, width // 60), grid=False),
        )
    )
    y = alt.Y("value:Q", title=measure, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4))
    band = base.mark_area(color=BLUE, opacity=0.15, aria=False).encode(
        y=alt.Y("low:Q", title=measure), y2="high:Q"
    )
    line = base.mark_line(color=BLUE, strokeWidth=2, aria=False).encode(y=y)
    points = base.mark_point(filled=True, opacity=1).encode(
        y=y,
        color=alt.condition("datum.is_chosen", alt.value(VERMILION), alt.value(BLUE)),
        size=alt.condition("datum.is_chosen", alt.value(140), alt.value(36)),
        description="description:N",
    )
    return finish(alt.layer(band, line, points), width, height=170)
