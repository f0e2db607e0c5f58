"""The charts: valid specifications, labels kept, colours that colour-blind readers can tell."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from kinsight.report import charts
from kinsight.report.charts import AnyChart
from kinsight.report.figures import NARROW, WIDE, draw
from kinsight.report.palette import CATEGORIES, DARK

HOSTILE = """<script>alert("x")</script> & 'co'"""
SEGMENTS = ("Baby Care · Weekend", HOSTILE)


def _events() -> pd.DataFrame:
    starts = pd.date_range("2017-01-02", periods=12, freq="7D")
    return pd.DataFrame(
        [
            {"start": s, "end": s + pd.Timedelta(days=7), "event_type": t, "events": 10 + i}
            for t in ("view", HOSTILE)
            for i, s in enumerate(starts)
        ]
    )


def _cells(row: str, column: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {row: a, column: b, "log_ratio": 1.5, "text": "2.8×", "users": 10, "share": 0.5}
            for a in SEGMENTS
            for b in ("one", "two")
        ]
    )


def _moves() -> pd.DataFrame:
    moves = [
        (SEGMENTS[0], SEGMENTS[0], "stayed", 60),
        (SEGMENTS[0], HOSTILE, "moved", 20),
        ("new ones", SEGMENTS[0], "new", 5),
        (HOSTILE, "gone", "left", 15),
    ]
    return pd.DataFrame(moves, columns=["previous", "now", "kind", "users"])


def _curves() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"line": k, "kind": k, "share": s, "recall": s, "low": s / 2, "high": s}
            for k in ("chosen", "activity", "random")
            for s in (0.01, 0.1, 1.0)
        ]
    )


Chart = Callable[[pd.DataFrame, int], AnyChart]
CASES: dict[str, tuple[Chart, pd.DataFrame]] = {
    "events": (charts.events_over_time, _events()),
    "histories": (
        charts.history_lengths,
        pd.DataFrame({"history": ["1–2", HOSTILE], "users": [5, 9]}),
    ),
    "sizes": (
        charts.segment_sizes,
        pd.DataFrame({"segment": SEGMENTS, "size": [7, 3], "share": [0.7, 0.3]}),
    ),
    "profile": (
        charts.profile,
        pd.DataFrame(
            {"feature": ["Visits", HOSTILE], "log_ratio": [-3.0, 0.4], "text": ["1", "2"]}
        ),
    ),
    "heatmap": (charts.feature_heatmap, _cells("segment", "feature")),
    "movement": (charts.movement_matrix, _cells("previous", "now")),
    "map": (
        charts.segment_map,
        pd.DataFrame(
            {
                "x": [0.0, 1.0],
                "y": [1.0, 0.0],
                "segment": SEGMENTS,
                "short": ["S1", HOSTILE],
                "description": SEGMENTS,
            }
        ),
    ),
    "flows": (charts.segment_flows, _moves()),
    "recall": (charts.recall_curve, _curves()),
    "choices": (
        functools.partial(charts.choice_curve, measure=HOSTILE),
        pd.DataFrame(
            {
                "segments": [4, 6, 8],
                "value": [0.7, 0.9, 0.6],
                "low": [0.6, 0.8, 0.5],
                "high": [0.8, 1.0, 0.7],
                "is_chosen": [False, True, False],
            }
        ),
    ),
    "reasons": (
        charts.audience_reasons,
        pd.DataFrame(
            {"reason": SEGMENTS, "lift": [3.1, 1.4], "share": [0.3, 0.2], "base_share": [0.1, 0.1]}
        ),
    ),
    "similarity": (
        charts.similarity_curve,
        pd.DataFrame({"share": [0.1, 0.2], "reach": [10, 20], "similarity": [0.9, 0.7]}),
    ),
    "origin": (
        charts.audience_origin,
        pd.DataFrame({"segment": SEGMENTS, "share": [0.6, 0.4], "base_share": [0.5, 0.5]}),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_chart_is_a_valid_specification_that_holds_its_data(name: str, width: int) -> None:
    chart, frame = CASES[name]
    before = frame.copy()

    spec = chart(frame, width).to_dict()

    assert spec["width"] == width
    assert "url" not in str(spec.get("data", "")), "data is inline, nothing is fetched"
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("name", CASES)
def test_a_drawing_is_one_image_to_a_screen_reader_and_escapes_what_data_say(name: str) -> None:
    chart, frame = CASES[name]

    svg = draw(chart(frame, NARROW), f"Says {HOSTILE} \\K \\1")

    assert svg.startswith(
        '<svg class="chart" role="img" aria-label="Says &lt;script&gt;alert(&#34;'
    )
    assert "<script" not in svg
    assert "\\K \\1" in svg
    assert " id=" not in svg, "ids would clash between the drawings of one page"
    assert "<path" in svg


def test_bars_and_cells_tell_what_they_stand_for() -> None:
    chart, frame = CASES["sizes"]

    assert 'aria-label="Baby Care · Weekend: 7 (70.0%)"' in draw(chart(frame, WIDE), "Sizes")


def test_bands_fill_their_blocks_without_a_gap_and_are_as_wide_as_their_customers() -> None:
    spec = charts.segment_flows(_moves(), WIDE).to_dict()
    rows = pd.DataFrame([row for rows in spec["datasets"].values() for row in rows])
    bands = rows.dropna(subset=["flow"])
    blocks = rows.dropna(subset=["side"])

    for side, x in (("left", 0), ("right", 1)):
        ends = bands[bands["x"] == x].sort_values("top")
        for block in blocks[blocks["side"] == side].itertuples():
            within = ends[(ends["top"] >= block.top - 1e-6) & (ends["top"] < block.bottom)]
            edges = [*within["top"], block.bottom]
            assert edges[0] == pytest.approx(block.top)
            assert list(within["bottom"]) == pytest.approx(edges[1:])
    assert sorted(set((bands["bottom"] - bands["top"]).round(6))) == [5, 15, 20, 60]


# Machado, Oliveira and Fernandes (2009), severity 1.
SIGHT = {
    "typical": np.eye(3),
    "protanopia": np.array(
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]
    ),
    "deuteranopia": np.array(
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
    ),
    "tritanopia": np.array(
        [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]
    ),
}


@pytest.mark.parametrize("sight", SIGHT)
def test_categories_stay_apart_for_colour_blind_readers_on_light_and_dark_paper(sight: str) -> None:
    for colours in (CATEGORIES, tuple(DARK[c] for c in CATEGORIES)):
        for a, b in itertools.combinations(colours, 2):
            difference = np.linalg.norm(_lab(a, SIGHT[sight]) - _lab(b, SIGHT[sight]))
            assert difference > 13, f"{a} and {b} look alike"


def _lab(colour: str, sight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIE L*a*b* of a colour as an eye with this matrix sees it."""
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(sight @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
