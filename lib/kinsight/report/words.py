"""Numbers, dates and names of features as a reader of the report sees them."""

from __future__ import annotations

import datetime as dt
import math
import re

from kinsight.labels import plural as plural

NONE = "–"

# Feature of user_features to its label and unit; the order is that of the report's charts.
FEATURES: dict[str, tuple[str, str]] = {
    "recency_days": ("Days since last visit", "days"),
    "tenure_days": ("Days since first visit", "days"),
    "frequency": ("Days with a visit", "days"),
    "monetary": ("Money spent", "money"),
    "sessions": ("Visits", "number"),
    "events": ("Events", "number"),
    "events_per_session": ("Events a visit", "number"),
    "purchases": ("Purchases", "number"),
    "returns": ("Returns", "number"),
    "average_price": ("Price of an item", "money"),
    "items": ("Different items", "number"),
    "categories": ("Different categories", "number"),
    "brands": ("Different brands", "number"),
    "weekend_share": ("On weekends", "share"),
    "morning_share": ("In the morning", "share"),
    "afternoon_share": ("In the afternoon", "share"),
    "evening_share": ("In the evening", "share"),
    "night_share": ("At night", "share"),
}
# What the heatmap and the cards draw; the tables beside them hold every feature.
DRAWN = (
    "recency_days",
    "frequency",
    "monetary",
    "events_per_session",
    "average_price",
    "categories",
    "weekend_share",
    "morning_share",
    "evening_share",
)

_MAP_KEY = re.compile(r"^(type_shares|category_shares)\['(.*)'\]$", re.DOTALL)


def feature_label(feature: str) -> str:
    """What a person reads for a feature, also for ``category_shares['Baby']`` and the like."""
    if feature in FEATURES:
        return FEATURES[feature][0]
    found = _MAP_KEY.match(feature)
    if found:
        key = found[2].replace("\\'", "'").replace("\\\\", "\\")
        return f"Events of type {key}" if found[1] == "type_shares" else f"Events in {key}"
    return feature.replace("_", " ").capitalize()


def feature_value(feature: str, value: float | None) -> str:
    """A mean of a feature with its unit."""
    if value is None or math.isnan(value):
        return NONE
    unit = FEATURES[feature][1] if feature in FEATURES else "share" if "share" in feature else ""
    if unit == "share":
        return percent(value)
    digits = 2 if unit == "money" and abs(value) < 100 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return NONE if value is None or math.isnan(value) else f"{int(value):,}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of decimals."""
    return NONE if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A share as percentage: one decimal, two below one percent."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:.2%}" if 0 < abs(value) < 0.00995 else f"{value:.1%}"


def times(value: float | None) -> str:
    """A ratio, such as 2.4×."""
    if value is None or math.isnan(value):
        return NONE
    return (
        f"{value:,.2f}×" if value < 0.1 else f"{value:,.1f}×" if value < 100 else f"{value:,.0f}×"
    )


def day(value: dt.date | None) -> str:
    """A day, such as 5 November 2017."""
    return NONE if value is None else f"{value.day} {value:%B %Y}"


def listing(parts: list[str]) -> str:
    """Words joined as in a sentence: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def ratio_to_base(value: float | None, base: float | None) -> float | None:
    """How many times the average a mean is; None where that has no meaning."""
    if value is None or base is None or not base > 0 or not value >= 0:
        return None
    return value / base


def findable(*texts: str | None) -> str:
    """What the page's search looks through, one a line; the first is what a thing is called."""
    return "\n".join(" ".join(text.split()) for text in texts if text)
