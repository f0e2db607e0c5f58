"""The head of the report: the date in one paragraph and five numbers."""

from __future__ import annotations

from typing import Any

from kinsight.report.data import ReportData
from kinsight.report.segmentation import Segmentation
from kinsight.report.words import count, day, listing, percent, plural


def summary_section(data: ReportData) -> dict[str, Any]:
    """Values of the template's head."""
    published = sum(a.row["status"] == "published" for a in data.audiences)
    refused = len(data.audiences) - published
    return {
        "shop": data.shop,
        "date": day(data.as_of.date),
        "iso_date": data.as_of.date.isoformat(),
        "timezone": data.as_of.timezone,
        "version": data.version,
        "sentences": _sentences(data, published, refused),
        "tiles": _tiles(data, published, refused),
        "warnings": data.warnings,
    }


def _tiles(data: ReportData, published: int, refused: int) -> list[tuple[str, str, str, str]]:
    """(value, name, small print, id of the part that tells more), where there is one to tell."""
    users = data.quality.users
    tiles = []
    if users:
        tiles.append((count(users["users"]), "customers", "with at least one event", ""))
        tiles.append((count(users["events"]), "events", f"in {data.lookback_days} days", "data"))
    tiles += [
        (count(len(s.found)), "segments", f"in “{s.name}”", "segments") for s in data.segmentations
    ]
    if data.audiences:
        tiles.append((count(published), "audiences", f"{refused} refused", "audiences"))
    warnings = len(data.warnings)
    told = ("of the runs", "warnings") if warnings else ("", "")
    tiles.append((count(warnings), "warnings", *told))
    return tiles


def _sentences(data: ReportData, published: int, refused: int) -> list[str]:
    users = data.quality.users
    sentences = []
    if users:
        sentences.append(
            f"Up to midnight before {day(data.as_of.date)} ({data.as_of.timezone}), "
            f"{plural(users['users'], 'customer')} left {plural(users['events'], 'event')} in "
            f"{data.lookback_days} days."
        )
    for segmentation in data.segmentations:
        largest = segmentation.segments[0]
        which = f"In “{segmentation.name}” they" if len(data.segmentations) > 1 else "They"
        sentences.append(
            f"{which} form {plural(len(segmentation.found), 'segment')}; the largest is "
            f"“{largest['name']}” with {percent(largest['share'])} of customers."
        )
        sentences += _movement(segmentation)
    if data.audiences:
        parts = [f"{plural(published, 'audience is', 'audiences are')} published"]
        if refused:
            parts.append(f"{plural(refused, 'was', 'were')} refused")
        sentences.append(f"{listing(parts)}.")
    else:
        sentences.append("No audience was made for this date.")
    sentences.append(
        f"The runs left {plural(len(data.warnings), 'warning')} to look at."
        if data.warnings
        else "The runs left no warnings."
    )
    return sentences


def _movement(segmentation: Segmentation) -> list[str]:
    moves = segmentation.movement.dropna(subset=["previous", "now"])
    known = int(moves["users"].sum()) if len(moves) else 0
    if not known:
        return []
    stayed = int(moves.loc[moves["previous"] == moves["now"], "users"].sum())
    return [
        f"Since {day(segmentation.previous_as_of)}, {percent(stayed / known)} of customers "
        "stayed in their segment."
    ]
