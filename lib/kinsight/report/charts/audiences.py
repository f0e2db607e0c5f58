"""Audiences: how far to trust them, and where their members come from."""

from __future__ import annotations

import altair as alt
import pandas as pd

from kinsight.report.charts.parts import (
    AnyChart,
    category_axis,
    described,
    finish,
    value_bars,
)
from kinsight.report.palette import BLUE, GREY, INK, VERMILION


def recall_curve(frame: pd.DataFrame, width: int) -> AnyChart:
    """Hidden seeds found against the size of the audience, for three orders of the customers.

    Args:
        frame: line (label), kind (chosen, activity or random), share, recall, low, high.
        width: Width in pixels.
    """
    frame = described(
        frame,
        [f"{r.line}: top {r.share:.1%} hold {r.recall:.1%}" for r in frame.itertuples()],
    )
    kinds = ["chosen", "activity", "random"]
    labels = {r.kind: r.line for r in frame.itertuples()}
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=kinds, range=[BLUE, VERMILION, GREY]),
        legend=alt.Legend(
            labelExpr=f"({labels})[datum.label]",
            symbolType="stroke",
            symbolStrokeWidth=2.5,
            symbolOpacity=1,
        ),
    )
    x = alt.X("share:Q", title="share of customers taken", axis=alt.Axis(format="~%", tickCount=5))
    base = alt.Chart(frame).encode(x=x, color=colour)
    band = base.transform_filter("datum.kind == 'chosen'").mark_area(opacity=0.15, aria=False)
    y_title = "hidden seeds found"
    lines = base.mark_line(strokeWidth=2, aria=False).encode(
        y=alt.Y("recall:Q", title=y_title),
        strokeDash=alt.StrokeDash(
            "kind:N", scale=alt.Scale(domain=kinds, range=[[1, 0], [6, 3], [2, 3]]), legend=None
        ),
    )
    points = base.mark_point(filled=True, size=36, opacity=1).encode(
        y="recall:Q", description="description:N"
    )
    chart = alt.layer(
        band.encode(
            y=alt.Y("low:Q", title=y_title, axis=alt.Axis(format="~%", tickCount=5)), y2="high:Q"
        ),
        lines,
        points,
    )
    return finish(chart, width, height=230)


def similarity_curve(frame: pd.DataFrame, width: int) -> AnyChart:
    """How alike to the seeds an audience stays as it grows.

    Args:
        frame: share, reach, similarity (mean cosine).
        width: Width in pixels.
    """
    frame = described(
        frame,
        [f"{r.reach:,} customers: similarity {r.similarity:.2f}" for r in frame.itertuples()],
    )
    base = alt.Chart(frame).encode(
        x=alt.X("reach:Q", title="customers reached", axis=alt.Axis(format="~s", tickCount=5)),
        y=alt.Y(
            "similarity:Q",
            title="similarity to the seeds",
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=4),
        ),
    )
    line = base.mark_line(color=BLUE, strokeWidth=2, aria=False)
    points = base.mark_point(filled=True, size=36, color=BLUE, opacity=1)
    return finish(alt.layer(line, points.encode(description="description:N")), width, height=160)


def audience_reasons(frame: pd.DataFrame, width: int) -> AnyChart:
    """What the seeds of an audience do more than others.

    Args:
        frame: reason (label), lift, share (among the seeds), base_share; in axis order.
        width: Width in pixels.
    """
    frame = described(
        frame,
        [
            f"{r.reason}: {r.share:.1%} among the seeds, {r.base_share:.1%} among the others"
            for r in frame.itertuples()
        ],
    )
    frame["text"] = [f"{lift:.1f}×" for lift in frame["lift"]]
    return finish(value_bars(frame, "reason", "lift", width), width)


def audience_origin(frame: pd.DataFrame, width: int) -> AnyChart:
    """Which segments an audience comes from, beside the segments' share of all customers.

    Args:
        frame: segment (label), share (of the audience), base_share (of all); in axis order.
        width: Width in pixels.
    """
    frame = described(
        frame,
        [
            f"{r.segment}: {r.share:.1%} of the audience, {r.base_share:.1%} of all customers"
            for r in frame.itertuples()
        ],
    )
    base = alt.Chart(frame).encode(y=category_axis("segment", width), description="description:N")
    x = alt.X("share:Q", title=None, axis=alt.Axis(format="~%", tickCount=4))
    bars = base.mark_bar(height=14, color=BLUE).encode(x=x)
    ticks = base.mark_tick(color=INK, thickness=2, height=20).encode(x="base_share:Q")
    return finish(alt.layer(bars, ticks), width)
