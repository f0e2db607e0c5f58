"""Segments side by side: sizes, profiles, a heatmap of their averages."""

from __future__ import annotations

import altair as alt
import pandas as pd

from kinsight.report.charts.parts import (
    AnyChart,
    category_axis,
    column_axis,
    described,
    finish,
    value_bars,
    with_cell_text,
)
from kinsight.report.palette import BLUE, PAPER, SOFT, VERMILION

RATIO_LIMIT = 2.0  # log2: ratios are drawn from a quarter to four times
_RATIO_AXIS = alt.Axis(
    values=[-2, -1, 0, 1, 2],
    labelExpr="{'-2':'¼×','-1':'½×','0':'average','1':'2×','2':'4×'}[datum.value]",
)


def segment_sizes(frame: pd.DataFrame, width: int) -> AnyChart:
    """Share of customers in each segment.

    Args:
        frame: segment (label), size, share; in the order of the axis.
        width: Width in pixels.
    """
    frame = described(
        frame, [f"{r.segment}: {r.size:,} ({r.share:.1%})" for r in frame.itertuples(index=False)]
    )
    frame["text"] = [f"{share:.1%}" for share in frame["share"]]
    return finish(value_bars(frame, "segment", "share", width), width)


def profile(frame: pd.DataFrame, width: int) -> AnyChart:
    """One segment's readable numbers as multiples of all customers' average.

    Args:
        frame: feature (label), log_ratio (base 2), text; in the order of the axis.
        width: Width in pixels.
    """
    frame = described(frame, [f"{r.feature}: {r.text}" for r in frame.itertuples()])
    frame["drawn"] = frame["log_ratio"].clip(-RATIO_LIMIT, RATIO_LIMIT)
    limits = alt.Scale(domain=[-RATIO_LIMIT, RATIO_LIMIT])
    bars = (
        alt.Chart(frame)
        .mark_bar(height=14)
        .encode(
            x=alt.X("drawn:Q", title=None, scale=limits, axis=_RATIO_AXIS),
            y=category_axis("feature", width),
            color=alt.condition("datum.drawn < 0", alt.value(VERMILION), alt.value(BLUE)),
            description="description:N",
        )
    )
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(color=SOFT).encode(x="x:Q")
    return finish(alt.layer(bars, zero), width)


def feature_heatmap(frame: pd.DataFrame, width: int) -> AnyChart:
    """Segments by features: how far each lies above or below all customers' average.

    Args:
        frame: segment (label), feature (label), log_ratio (base 2), text; in axis order.
        width: Width in pixels.
    """
    frame = described(frame, [f"{r.segment}, {r.feature}: {r.text}" for r in frame.itertuples()])
    frame["strength"] = frame["log_ratio"].abs().clip(upper=RATIO_LIMIT)
    frame["side"] = ["below" if value < 0 else "above" for value in frame["log_ratio"]]
    cells = (
        alt.Chart(frame)
        .mark_rect(stroke=PAPER, strokeWidth=2)
        .encode(
            x=column_axis("feature", width),
            y=category_axis("segment", width),
            color=alt.Color(
                "side:N",
                scale=alt.Scale(domain=["above", "below"], range=[BLUE, VERMILION]),
                legend=alt.Legend(
                    labelExpr="datum.label == 'above' ? 'above average' : 'below average'"
                ),
            ),
            opacity=alt.Opacity(
                "strength:Q",
                scale=alt.Scale(domain=[0, RATIO_LIMIT], range=[0.03, 0.55]),
                legend=None,
            ),
            description="description:N",
        )
    )
    return finish(with_cell_text(cells, frame, "feature", "segment", width), width)
