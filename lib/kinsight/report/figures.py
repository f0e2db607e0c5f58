"""Figures and tables: a chart drawn once for desks and once for phones, its numbers beside it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import vl_convert
from markupsafe import Markup

from kinsight.report.charts import AnyChart

WIDE = 860
NARROW = 340

_LONG = re.compile(r'(?<= )(transform|d|x|y|x1|x2|y1|y2)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d)\d+")
_ROOT = re.compile(r'^<svg [^>]*?width="([\d.]+)" height="[\d.]+" viewBox="([-\d. ]+)"[^>]*>')


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: Headings; those that begin with ``#`` head a column of numbers.
        rows: Cells; the first of each row names it.
        caption: What the table holds.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str

    @property
    def headings(self) -> list[tuple[str, bool]]:
        """(text, is a number) of each column."""
        return [(name.removeprefix("#"), name.startswith("#")) for name in self.columns]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawn chart with what a reader needs who does not see it.

    Attributes:
        title: Heading.
        note: One line on how to read it.
        alt: What it shows, in a sentence.
        table: The same numbers.
        wide: SVG for desks and paper.
        narrow: SVG for phones; the same as ``wide`` where one serves both.
        aside: What to hold in mind, below the chart.
    """

    title: str
    note: str
    alt: str
    table: Table
    wide: Markup
    narrow: Markup
    aside: str = ""

    @property
    def one_size(self) -> bool:
        """Whether one drawing serves both."""
        return self.wide is self.narrow


def figure(
    chart: Callable[[pd.DataFrame, int], AnyChart],
    frame: pd.DataFrame,
    *,
    title: str,
    note: str,
    alt: str,
    table: Table,
    narrow: pd.DataFrame | None = None,
    small: bool = False,
    aside: str = "",
) -> Figure:
    """Draw a chart.

    Args:
        chart: A function of ``kinsight.report.charts``.
        frame: Its data.
        title: Heading.
        note: How to read it.
        alt: What it shows.
        table: The same numbers.
        narrow: Other data for phones, such as shorter labels.
        small: The phone's drawing is wide enough everywhere.
        aside: What to hold in mind, below the chart.
    """
    slim = draw(chart(frame if narrow is None else narrow, NARROW), alt)
    wide = slim if small else draw(chart(frame, WIDE), alt)
    return Figure(title, note, alt, table, wide, slim, aside)


def draw(chart: AnyChart, alt: str) -> Markup:
    """The chart as an SVG element that scales, takes the page's font and is one image to readers.

    Vega escapes what comes from data, and the specification holds its data itself, so that
    nothing is fetched.
    """
    svg = vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])
    label = Markup.escape(alt)

    def root(found: re.Match[str]) -> str:
        width, box = found.group(1), found.group(2)
        return (
            f'<svg class="chart" role="img" aria-label="{label}" viewBox="{box}" width="{width}">'
        )

    svg = _ROOT.sub(root, svg, count=1).replace(' font-family="sans-serif"', "")
    # A tenth of a pixel is enough, and half of the file.
    return Markup(_LONG.sub(lambda place: _DECIMALS.sub(r"\1", place[0]), svg))


def each_row(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows of a frame as tuples with named fields."""
    yield from frame.itertuples(index=False)
