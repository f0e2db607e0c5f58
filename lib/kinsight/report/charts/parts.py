"""What the charts share: theme, axes, bars with their values, cells with their numbers."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from kinsight.report.palette import BLUE, CATEGORIES, INK, LINE, SOFT

AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart

STEP = 28  # pixels a row of bars or cells
NARROW = 480  # pixels; drawings for phones are narrower
LABEL_SHARE = 0.34  # of the width that category labels may take
NARROWEST_TEXT_CELL = 34  # pixels that "100%" needs

_THEME: dict[str, Any] = {
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titlePadding": 10,
        "labelPadding": 6,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "ticks": False,
        "domain": False,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 12,
        "title": None,
        "orient": "top",
        "symbolType": "square",
        "symbolStrokeWidth": 0,
    },
    "text": {"color": INK, "fontSize": 12},
}


def value_bars(frame: pd.DataFrame, category: str, value: str, width: int) -> AnyChart:
    """Horizontal bars with their value written at the end."""
    room = alt.Scale(domain=[0, float(frame[value].max()) * 1.18 or 1.0])
    x = alt.X(f"{value}:Q", axis=None, scale=room)
    base = alt.Chart(frame).encode(x=x, y=category_axis(category, width))
    drawn = base.mark_bar(height=18, color=BLUE)
    text = base.mark_text(align="left", dx=6, aria=False).encode(text="text:N")
    return alt.layer(drawn.encode(description="description:N"), text)


def with_cell_text(
    cells: alt.Chart, frame: pd.DataFrame, column: str, row: str, width: int
) -> AnyChart:
    """Write the numbers into the cells where they are wide enough to hold them."""
    room = width - min(LABEL_SHARE * width, 8 * max(len(label) for label in frame[row]))
    if room / frame[column].nunique() < NARROWEST_TEXT_CELL:
        return cells
    text = (
        alt.Chart(frame)
        .mark_text(fontSize=11, aria=False)
        .encode(x=column_axis(column, width), y=category_axis(row, width), text="text:N")
    )
    return alt.layer(cells, text)


def category_axis(field: str, width: int) -> alt.Y:
    """A discrete vertical axis in the order of the frame."""
    axis = alt.Axis(grid=False, labelLimit=LABEL_SHARE * width, labelColor=INK)
    return alt.Y(f"{field}:N", sort=None, title=None, axis=axis, scale=alt.Scale(padding=0))


def column_axis(field: str, width: int) -> alt.X:
    """A discrete horizontal axis in the order of the frame, labels slanted above the cells."""
    angle = -40 if width > NARROW else -90
    axis = alt.Axis(
        grid=False,
        orient="top",
        labelAngle=angle,
        labelAlign="left",
        labelLimit=150,
        labelColor=INK,
    )
    return alt.X(f"{field}:N", sort=None, title=None, axis=axis)


def described(frame: pd.DataFrame, texts: list[str]) -> pd.DataFrame:
    """The frame with the text that a mark shows when it is pointed at."""
    texted: pd.DataFrame = frame.assign(description=texts)
    return texted


def colours(number: int) -> list[str]:
    """Colours of so many categories; they repeat after seven."""
    return [CATEGORIES[i % len(CATEGORIES)] for i in range(number)]


def shapes(number: int) -> list[str]:
    """Shapes of so many categories: one a round of the colours."""
    known = ("circle", "triangle-up", "square", "diamond", "cross")
    return [known[i // len(CATEGORIES) % len(known)] for i in range(number)]


def finish(chart: AnyChart, width: int, height: int | None = None) -> AnyChart:
    """Size and theme; discrete axes take their height from the number of rows."""
    finished: AnyChart = chart.properties(
        width=width,
        height=height or alt.Step(STEP),
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
    ).configure(**_THEME)
    return finished
