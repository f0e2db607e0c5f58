"""From the last date to this one: a matrix and the flows of customers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from kinsight.report.charts.parts import (
    NARROW,
    AnyChart,
    category_axis,
    column_axis,
    described,
    finish,
    with_cell_text,
)
from kinsight.report.palette import BLUE, GREEN, GREY, ORANGE, PAPER, SLATE

FLOW_COLOURS = {
    "stayed": BLUE,
    "moved": ORANGE,
    "new": GREEN,
    "left": GREY,
}
_OTHER_SIDE = {"previous": "now", "now": "previous"}
_CURVE = np.linspace(0.0, 1.0, 25)
_GAP = 0.012  # of all customers, between two blocks of a column
_LINE = 15  # pixels between two labels at least
_OPACITY = {"stayed": 0.3, "moved": 0.85, "new": 0.85, "left": 0.85}
_BLOCK = 0.02  # width of a block; the flows between the columns are 1 wide


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
                "share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 0.55]), legend=None
            ),
            description="description:N",
        )
    )
    return finish(with_cell_text(cells, frame, "now", "previous", width), width)


def segment_flows(frame: pd.DataFrame, width: int) -> AnyChart:
    """Customers flowing from the segments of the last date (left) to those of this one (right).

    Args:
        frame: previous (label), now (label), users, kind (stayed, moved, new or left). Categories
            of the two labels, or else their first rows, decide the order from the top.
        width: Width in pixels.
    """
    # Those who stayed are drawn first, below the others.
    order = frame["kind"].map({kind: place for place, kind in enumerate(FLOW_COLOURS)})
    flows = frame.loc[order.sort_values(kind="stable").index]
    flows = flows[flows["users"] > 0].reset_index(drop=True)
    left, right = _column(flows, "previous"), _column(flows, "now")
    lowest = max(left.lowest, right.lowest)
    kinds = [kind for kind in FLOW_COLOURS if kind in set(flows["kind"])]
    label_room = 0.55 if width > NARROW else 0.45  # on each side, as a share of the flows' width
    height = 60 + 34 * max(len(left.frame), len(right.frame))
    x_scale = alt.Scale(domain=[-_BLOCK - label_room, 1 + _BLOCK + label_room], nice=False)
    y_scale = alt.Scale(domain=[0, lowest], reverse=True, nice=False)
    ribbons = (
        alt.Chart(_ribbons(flows, left, right))
        .mark_area(orient="vertical")
        .encode(
            x=alt.X("x:Q", axis=None, scale=x_scale),
            y=alt.Y("top:Q", axis=None, scale=y_scale),
            y2="bottom:Q",
            detail="flow:N",
            opacity=alt.Opacity(
                "kind:N",
                scale=alt.Scale(domain=kinds, range=[_OPACITY[kind] for kind in kinds]),
                legend=None,
            ),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=kinds, range=[FLOW_COLOURS[kind] for kind in kinds]),
                legend=alt.Legend(columns=len(kinds), symbolOpacity=1),
            ),
            description="description:N",
        )
    )
    blocks = pd.concat(
        [
            left.frame.assign(x=-_BLOCK, x2=0.0, at=-_BLOCK - 0.015, side="left"),
            right.frame.assign(x=1.0, x2=1 + _BLOCK, at=1 + _BLOCK + 0.015, side="right"),
        ]
    )
    blocks = described(blocks, [f"{r.label}: {r.users:,}" for r in blocks.itertuples()])
    blocks["text_at"] = np.concatenate(
        [_spread(side.frame, _LINE * lowest / height) for side in (left, right)]
    )
    base = alt.Chart(blocks)
    bars = base.mark_rect(color=SLATE).encode(
        x=alt.X("x:Q", axis=None, scale=x_scale),
        x2="x2:Q",
        y=alt.Y("top:Q", axis=None, scale=y_scale),
        y2="bottom:Q",
        description="description:N",
    )
    limit = round(width * label_room / (1 + 2 * (_BLOCK + label_room))) - 8
    texts = [
        base.transform_filter(f"datum.side == '{side}'")
        .mark_text(align=align, aria=False, limit=limit)
        .encode(
            x=alt.X("at:Q", axis=None, scale=x_scale),
            y=alt.Y("text_at:Q", axis=None, scale=y_scale),
            text="label:N",
        )
        for side, align in (("left", "right"), ("right", "left"))
    ]
    return finish(alt.layer(ribbons, bars, *texts), width, height=height)


@dataclasses.dataclass(frozen=True)
class _Column:
    """One side of the flows: blocks (label, users, top, bottom) and each flow's top."""

    frame: pd.DataFrame
    flow_tops: pd.Series[float]

    @property
    def lowest(self) -> float:
        return float(self.frame["bottom"].max())


def _column(flows: pd.DataFrame, side: str) -> _Column:
    """Stack the labels of a side in the order of their first rows, and the flows within them."""
    labels = _labels(flows[side])
    order = {label: place for place, label in enumerate(labels)}
    other = _labels(flows[_OTHER_SIDE[side]])
    across = {label: place for place, label in enumerate(other)}
    own, beyond = flows[side].astype(str), flows[_OTHER_SIDE[side]].astype(str)
    totals = flows["users"].groupby(own).sum().reindex(labels)
    gap = _GAP * float(flows["users"].sum())
    tops = totals.cumsum().shift(fill_value=0) + gap * np.arange(len(labels))
    inner = flows[["users"]].assign(own=own.map(order), across=beyond.map(across))
    inner = inner.sort_values(["own", "across"], kind="stable")
    before = inner.groupby("own")["users"].cumsum() - inner["users"]
    flow_tops = before.reindex(flows.index) + own.map(tops)
    frame = pd.DataFrame(
        {"label": labels, "users": totals.to_numpy(), "top": tops.to_numpy()}
    ).assign(bottom=(tops + totals).to_numpy())
    return _Column(frame, flow_tops)


def _spread(blocks: pd.DataFrame, line: float) -> list[float]:
    """Where the labels stand: at the middle of their block, a line below the one above at least."""
    places: list[float] = []
    for middle in (blocks["top"] + blocks["bottom"]) / 2:
        places.append(max(float(middle), places[-1] + line) if places else float(middle))
    return places


def _labels(values: pd.Series[str]) -> list[str]:
    ordered = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    held = set(values)
    return [label for label in dict.fromkeys(ordered) if label in held]


def _ribbons(flows: pd.DataFrame, left: _Column, right: _Column) -> pd.DataFrame:
    """Points along the edges of each flow: a smooth step from its left to its right block."""
    step = _CURVE * _CURVE * (3 - 2 * _CURVE)
    parts: Sequence[pd.DataFrame] = [
        pd.DataFrame(
            {
                "flow": number,
                "kind": row.kind,
                "x": _CURVE,
                "top": start + (end - start) * step,
                "bottom": start + (end - start) * step + row.users,
                "description": f"{row.previous} → {row.now}: {row.users:,} customers, {row.kind}",
            }
        )
        for number, (row, start, end) in enumerate(
            zip(flows.itertuples(), left.flow_tops, right.flow_tops, strict=True)
        )
    ]
    return pd.concat(parts, ignore_index=True)
