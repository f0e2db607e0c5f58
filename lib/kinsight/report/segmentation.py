"""What the report says of a segmentation: segments, movement since the last date, a map."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
from pyspark.sql import functions as F

from kinsight.report.places import Places, place_by_bags, place_by_vectors
from kinsight.report.sources import Sources, empty, only, small
from kinsight.runs import Publication

COLD = "cold"


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One segmentation of the date and how it came from the date before.

    Attributes:
        name: Name of the segmentation.
        segments: Rows of ``segments`` without centroids, largest first, cold last.
        previous_as_of: Date of the segmentation before; None on the first date.
        previous_names: Segment id to name at that date.
        movement: previous, now (segment ids; None for customers without one), users.
        lineage: Rows of ``segment_lineage``.
        choices: segments, silhouette, stability, stability_std, is_chosen, choice_reason of each
            number of segments that was tried, by number.
        places: A sample of customers that are not cold on a map; None where the space in which
            the segments were made was not published.
    """

    name: str
    segments: list[dict[str, Any]]
    previous_as_of: dt.date | None
    previous_names: dict[str, str]
    movement: pd.DataFrame
    lineage: pd.DataFrame
    choices: pd.DataFrame
    places: Places | None

    @property
    def found(self) -> list[dict[str, Any]]:
        """The segments without the cold users."""
        return [segment for segment in self.segments if segment["segment_id"] != COLD]


def collect_segmentations(sources: Sources, names: Sequence[str]) -> list[Segmentation]:
    """Segmentations of the date that have segments, in the order of the names given."""
    collected = (_collect(sources, name) for name in names)
    return [segmentation for segmentation in collected if segmentation.segments]


def _collect(sources: Sources, name: str) -> Segmentation:
    date = sources.as_of.date
    found = sources.newest("segments", as_of=date, producer={"segmentation": name})
    assert found is not None, "listed as a producer of the date"
    segments = _segments(sources, found, name)
    lineage = _lineage(sources, found, name)
    before = _previous(sources, lineage, name)
    return Segmentation(
        name=name,
        segments=segments,
        previous_as_of=before.record.as_of if before else None,
        previous_names=_names(sources, before, name) if before else {},
        movement=_movement(sources, found, before, name),
        lineage=lineage,
        choices=_choices(sources, found, name),
        places=_places(sources, found, name, segments),
    )


def _segments(sources: Sources, found: Publication, name: str) -> list[dict[str, Any]]:
    rows = only(sources.run.read(found), {"as_of": found.record.as_of, "segmentation": name})
    segments = [row.asDict(recursive=True) for row in rows.drop("centroid").collect()]
    return sorted(segments, key=lambda s: (s["segment_id"] == COLD, -s["size"], s["segment_id"]))


def _names(sources: Sources, before: Publication, name: str) -> dict[str, str]:
    rows = only(sources.run.read(before), {"as_of": before.record.as_of, "segmentation": name})
    return {row[0]: row[1] for row in rows.select("segment_id", "name").collect()}


def _lineage(sources: Sources, found: Publication, name: str) -> pd.DataFrame:
    version = found.record.outputs.get("segment_lineage")
    columns = ("previous_as_of", "kind", "previous_id", "segment_id", "users_common", "overlap")
    if version is None:
        return empty(*columns)
    rows = sources.run.read("segment_lineage", version)
    rows = only(rows, {"as_of": found.record.as_of, "segmentation": name}).select(*columns)
    return small(rows.orderBy("kind", F.desc("users_common"), "previous_id", "segment_id"))


def _choices(sources: Sources, found: Publication, name: str) -> pd.DataFrame:
    columns = (
        "segments", "silhouette", "stability", "stability_std", "is_chosen", "choice_reason",
    )  # fmt: skip
    version = found.record.outputs.get("segment_choices")
    if version is None:
        return empty(*columns)
    rows = sources.run.read("segment_choices", version)
    if "choice_reason" not in rows.columns:  # published before the column was
        rows = rows.withColumn("choice_reason", F.lit(None).cast("string"))
    rows = only(rows, {"as_of": found.record.as_of, "segmentation": name}).select(*columns)
    return small(rows.orderBy("segments"))


def _previous(sources: Sources, lineage: pd.DataFrame, name: str) -> Publication | None:
    """The segmentation that the lineage compares with."""
    dates = [] if lineage.empty else lineage["previous_as_of"].dropna().to_list()
    if not dates:
        return None
    return sources.newest("segments", as_of=max(dates), producer={"segmentation": name})


def _movement(
    sources: Sources, found: Publication, before: Publication | None, name: str
) -> pd.DataFrame:
    """Counts by (segment then, segment now): (segments + 1) squared rows at most."""
    if before is None:
        return empty("previous", "now", "users")
    then, now = (
        only(
            sources.run.read("segment_members", publication.record.outputs["segment_members"]),
            {"as_of": publication.record.as_of, "segmentation": name, "membership_rank": 0},
        ).select("user_id", F.col("segment_id").alias(column))
        for publication, column in ((before, "previous"), (found, "now"))
    )
    counts = then.join(now, "user_id", "full").groupBy("previous", "now")
    return small(counts.agg(F.count("*").alias("users")).orderBy("previous", "now"))


def _places(
    sources: Sources, found: Publication, name: str, segments: list[dict[str, Any]]
) -> Places | None:
    """The map, in the space that the segments were made in, as their run recorded it."""
    members = sources.run.read("segment_members", found.record.outputs["segment_members"])
    keys = {"as_of": sources.as_of.date, "segmentation": name, "membership_rank": 0}
    warm = only(members, keys).where(F.col("segment_id") != COLD)
    if json.loads(found.record.config).get("input", "embedding") == "embedding":
        return place_by_vectors(sources, warm, segments[0]["model_version"] if segments else "")
    vocabulary = sources.vocabulary_of(found.record)
    return None if vocabulary is None else place_by_bags(sources, warm, vocabulary)
