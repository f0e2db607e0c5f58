"""A sample of customers on a map."""

from __future__ import annotations

import altair as alt
import pandas as pd

from kinsight.report.charts.parts import NARROW, AnyChart, colours, described, finish, shapes
from kinsight.report.palette import INK, PAPER


def segment_map(
    frame: pd.DataFrame, width: int, across: str | None = None, up: str | None = None
) -> AnyChart:
    """A sample of customers as points, near each other where they behave alike.

    Args:
        frame: x, y, segment (label), short (mark at the middle), description (shown where a
            point of the segment is pointed at); segments in the order of the legend.
        width: Width in pixels.
        across: What rises from left to right, if anything is known.
        up: What rises from below, if anything is known.
    """
    names = list(dict.fromkeys(frame["segment"]))
    bounds = {axis: _bounds(frame[axis]) for axis in ("x", "y")}
    x = alt.X("x:Q", axis=_axis(across), scale=bounds["x"])
    y = alt.Y("y:Q", axis=_axis(up), scale=bounds["y"])
    # Seven colours times five shapes; the mark at the middle tells which one it is as well.
    legend = alt.Legend(
        columns=3 if width > NARROW else 1,
        labelLimit=width / 3.4 if width > NARROW else width - 40,
        symbolSize=70,
        symbolOpacity=1,
        symbolType="circle",
    )
    encoding = {
        "x": x,
        "y": y,
        "color": alt.Color(
            "segment:N", scale=alt.Scale(domain=names, range=colours(len(names))), legend=legend
        ),
        "shape": alt.Shape(
            "segment:N", scale=alt.Scale(domain=names, range=shapes(len(names))), legend=legend
        ),
    }
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=34, opacity=0.75)
        .encode(**encoding, description="description:N")
    )
    by_segment = ["segment", "short", "description"]
    middles = frame.groupby(by_segment, sort=False)[["x", "y"]].median().reset_index()
    middles = described(middles, list(middles["description"]))
    base = alt.Chart(middles).encode(x=x, y=y, description="description:N")
    discs = base.mark_circle(size=520, color=PAPER, opacity=0.92, stroke=INK, strokeWidth=1)
    labels = base.mark_text(fontWeight="bold", fontSize=11, aria=False).encode(text="short:N")
    height = round(width * (0.66 if width > NARROW else 1.0))
    return finish(alt.layer(points, discs, labels), width, height=height)


def _bounds(places: pd.Series[float]) -> alt.Scale:
    room = 0.04 * (float(places.max()) - float(places.min()) or 1.0)
    return alt.Scale(domain=[places.min() - room, places.max() + room], nice=False, zero=False)


def _axis(title: str | None) -> alt.Axis:
    return alt.Axis(labels=False, grid=False, title=title and f"{title} →")
