"""What the report says of audiences: their rows, curves, and what their members are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.report.sources import Sources, empty, only, small
from kinsight.runs import Publication


@dataclasses.dataclass(frozen=True)
class Audience:
    """One audience of the date.

    Attributes:
        row: Its row of ``audiences``.
        curves: scorer, share, reach, recall, recall_low, recall_high, lift, similarity, is_chosen.
        measures: What its run measured, such as auc, activity_auc and truth_auc.
        members: level, segment_id (None where the member has none), users, seeds.
    """

    row: dict[str, Any]
    measures: dict[str, float]
    curves: pd.DataFrame
    members: pd.DataFrame


def collect_audiences(sources: Sources, segmentation: str | None) -> list[Audience]:
    """All audiences of the date, published and refused, by name.

    Args:
        sources: Where to read.
        segmentation: Name of the segmentation whose segments the members are counted by.
    """
    audiences = [
        audience
        for found, names in sources.by_publication("audiences", "audience")
        for audience in _of_publication(sources, found, names, segmentation)
    ]
    return sorted(audiences, key=lambda audience: str(audience.row["audience"]))


def _of_publication(
    sources: Sources, found: Publication, names: list[str], segmentation: str | None
) -> list[Audience]:
    keys = {"as_of": sources.as_of.date, "audience": names}
    rows = only(sources.run.read(found), keys).collect()
    versions = found.record.outputs
    curves = members = empty("audience")
    if "audience_curves" in versions:
        table = sources.run.read("audience_curves", versions["audience_curves"])
        curves = small(only(table, keys).orderBy("audience", "scorer", "share"))
    if "audience_members" in versions:
        table = sources.run.read("audience_members", versions["audience_members"])
        members = _member_counts(sources, only(table, keys), segmentation)
    return [
        Audience(
            row=row.asDict(recursive=True),
            measures=_measures(found.record.metrics, row["audience"]),
            curves=curves[curves["audience"] == row["audience"]],
            members=members[members["audience"] == row["audience"]],
        )
        for row in rows
    ]


def _measures(metrics: dict[str, float], name: str) -> dict[str, float]:
    """Metrics of one audience among those of a run, without its name."""
    mine = f"{name}."
    return {k.removeprefix(mine): v for k, v in metrics.items() if k.startswith(mine)}


def _member_counts(sources: Sources, members: DataFrame, segmentation: str | None) -> pd.DataFrame:
    """Members by audience, level and segment: a few rows an audience."""
    found = sources.newest(
        "segment_members",
        as_of=sources.as_of.date,
        producer={"segmentation": segmentation or ""},
    )
    if found is None:
        members = members.withColumn("segment_id", F.lit(None).cast("string"))
    else:
        keys = {"as_of": found.record.as_of, "segmentation": segmentation, "membership_rank": 0}
        segments = only(sources.run.read(found), keys).select("user_id", "segment_id")
        members = members.join(segments, "user_id", "left")
    return small(
        members.groupBy("audience", "level", "segment_id")
        .agg(F.count("*").alias("users"), F.count_if("is_seed").alias("seeds"))
        .orderBy("audience", "level", "segment_id")
    )
