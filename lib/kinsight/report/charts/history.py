"""What the shop delivered: events over time, lengths of histories."""

from __future__ import annotations

import altair as alt
import pandas as pd

from kinsight.report.charts.parts import AnyChart, colours, described, finish, value_bars
from kinsight.report.palette import PAPER


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
