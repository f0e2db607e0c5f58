"""The charts: a small data frame in, an Altair chart out. No Spark; notebooks use them too.

Every function takes ``width``, that of the whole drawing in pixels. Marks carry a ``description``,
which the report shows when a mark is pointed at.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from kinsight.report.chart_parts import (
    AnyChart,
    category_axis,
    colours,
    column_axis,
    described,
    finish,
    value_bars,
    with_cell_text,
)
from kinsight.report.palette import BLUE, GREY, INK, PAPER, SOFT, VERMILION

RATIO_LIMIT = 2.0  # log2: ratios are drawn from a quarter to four times
_RATIO_AXIS = alt.Axis(
    values=[-2, -1, 0, 1, 2],
    labelExpr="{'-2':'¼×','-1':'½×','0':'average','1':'2×','2':'4×'}[datum.value]",
)


def events_over_time(frame: pd.DataFrame, width: int) -> AnyChart:
    """Events by day or week, stacked by type.

    Args:
        frame: start, end (datetime64), event_type, events; types in the order of the legend.
        width: Width in pixels.
    """
    types = list(dict.fromkeys(frame["event_type"]))
    frame = described(
        frame, [f"{r.start:%d %b %Y}: {r.events:,} {r.event_type}" for r in frame.itertuples()]
    )
    frame["order"] = frame["event_type"].map({name: i for i, name in enumerate(types)})
    chart = (
        alt.Chart(frame)
        .mark_bar(orient="vertical", stroke=PAPER, strokeWidth=0.5)
        .encode(
            x=alt.X(
                "start:T",
                title=None,
                axis=alt.Axis(grid=False, format="%b %Y", tickCount=width // 100),
            ),
            x2="end:T",
            y=alt.Y(
                "events:Q", title="events", stack="zero", axis=alt.Axis(format="~s", tickCount=4)
            ),
            color=alt.Color(
                "event_type:N",
                scale=alt.Scale(domain=types, range=colours(len(types))),
                legend=alt.Legend(columns=max(2, width // 110)) if len(types) > 1 else None,
            ),
            order="order:Q",
            description="description:N",
        )
    )
    return finish(chart, width, height=200)


def history_lengths(frame: pd.DataFrame, width: int) -> AnyChart:
    """How many customers have how much history.

    Args:
        frame: history (label), users; in the order of the axis.
        width: Width in pixels.
    """
    frame = described(frame, [f"{r.users:,} with {r.history} events" for r in frame.itertuples()])
    frame["text"] = [f"{n:,}" for n in frame["users"]]
    return finish(value_bars(frame, "history", "users", width), width)


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
                scale=alt.Scale(domain=[0, RATIO_LIMIT], range=[0.03, 0.75]),
                legend=None,
            ),
            description="description:N",
        )
    )
    return finish(with_cell_text(cells, frame, "feature", "segment", width), width)


def movement_matrix(frame: pd.DataFrame, width: int) -> AnyChart:
    """Where the customers of each earlier segment are now.

    Args:
        frame: previous (label), now (label), users, share (of the row); in axis order.
        width: Width in pixels.
    """
    frame = described(
        frame,
        [f"{r.previous} → {r.now}: {r.users:,} ({r.share:.1%})" for r in frame.itertuples()],
    )
    frame["text"] = [f"{s:.0%}" if s >= 0.005 else "" for s in frame["share"]]
    cells = (
        alt.Chart(frame)
        .mark_rect(stroke=PAPER, strokeWidth=2, color=BLUE)
        .encode(
            x=column_axis("now", width),
            y=category_axis("previous", width),
            opacity=alt.Opacity(
                "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 0.75]), legend=None
            ),
            description="description:N",
        )
    )
    return finish(with_cell_text(cells, frame, "now", "previous", width), width)


def segment_map(frame: pd.DataFrame, width: int) -> AnyChart:
    """A sample of customers as points, near each other where they behave alike.

    Args:
        frame: x, y, segment (label), short (mark at the centre); segments in legend order.
        width: Width in pixels.
    """
    names = list(dict.fromkeys(frame["segment"]))
    no_axis = alt.Axis(labels=False, grid=False, title=None)
    x = alt.X("x:Q", axis=no_axis, scale=alt.Scale(zero=False))
    y = alt.Y("y:Q", axis=no_axis, scale=alt.Scale(zero=False))
    # Colours and shapes repeat after seven; the mark at the centre always tells which one it is.
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=22, opacity=0.55, aria=False)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "segment:N", scale=alt.Scale(domain=names, range=colours(len(names))), legend=None
            ),
        )
    )
    centres = frame.groupby(["segment", "short"], sort=False)[["x", "y"]].median().reset_index()
    centres = described(centres, list(centres["segment"]))
    base = alt.Chart(centres).encode(x=x, y=y, description="description:N")
    discs = base.mark_circle(size=420, color=PAPER, opacity=0.9, stroke=INK, strokeWidth=1)
    labels = base.mark_text(fontWeight="bold", fontSize=11, aria=False).encode(text="short:N")
    return finish(alt.layer(points, discs, labels), width, height=round(width * 0.62))


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
