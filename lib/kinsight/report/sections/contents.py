"""The contents beside the page: every part, every segment, every audience."""

from __future__ import annotations

import dataclasses

from kinsight.report.anchors import anchor
from kinsight.report.data import ReportData
from kinsight.report.sections.audiences import MAXIMUM_DETAILED, VERDICTS
from kinsight.report.sections.segments import MAXIMUM_CARDS
from kinsight.report.words import percent


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the contents.

    Attributes:
        target: Id that it leads to.
        title: What stands there.
        small: A word more.
        below: Lines under it.
    """

    target: str
    title: str
    small: str = ""
    below: tuple[Entry, ...] = ()


def contents_section(data: ReportData) -> list[Entry]:
    """The contents in the order of the page."""
    segments = tuple(
        Entry(
            anchor("segment", segmentation.name, segment["segment_id"]),
            segment["name"],
            percent(segment["share"]),
        )
        for segmentation in data.segmentations
        for segment in segmentation.segments[:MAXIMUM_CARDS]
    )
    audiences = tuple(
        Entry(anchor("audience", row["audience"]), row["audience"], _verdict(row))
        for row in (audience.row for audience in data.audiences[:MAXIMUM_DETAILED])
    )
    return [
        Entry("overview", "Overview"),
        Entry("segments", "Segments", below=segments),
        Entry("movement", "Movement"),
        Entry("audiences", "Audiences", below=audiences),
        Entry("data", "Data quality"),
        Entry("runs", "Runs"),
    ]


def _verdict(row: dict[str, object]) -> str:
    if row["status"] != "published":
        return "refused"
    return VERDICTS.get(str(row["verdict"]), "")
