"""Colours of all charts: safe for colour-blind readers, each with its counterpart on dark paper.

A chart names the light colour. The report's style sheet swaps it for the dark one by attribute
selectors on the drawn SVG, so that one drawing serves both; nothing else holds a colour twice.
"""

from __future__ import annotations

PAPER = "#ffffff"
INK = "#1b2430"
SOFT = "#586575"
LINE = "#dde3ea"
BLUE = "#0072b2"
VERMILION = "#d55e00"
ORANGE = "#e69f00"
GREEN = "#009e73"
GREY = "#7d8894"
SLATE = "#36414e"

# Okabe and Ito (2008), "Color Universal Design", without yellow, which vanishes on white paper,
# and with slate for black.
CATEGORIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", VERMILION, SLATE)

DARK = {
    PAPER: "#171d24",
    INK: "#e9edf2",
    SOFT: "#a7b2bf",
    LINE: "#323c48",
    BLUE: "#3d94d1",
    VERMILION: "#ee7a3a",
    GREY: "#93a0ae",
    SLATE: "#e4e9ef",
    ORANGE: "#f5c04a",
    GREEN: "#1fb387",
    "#cc79a7": "#d685b2",
    "#56b4e9": "#8fd0f5",
}
