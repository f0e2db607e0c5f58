"""What a person reads beside ids: names of segments, titles of items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import functions as F

from kinsight.expand.inputs import newest_titles
from kinsight.runs import RunRecord, newest_publication
from kinsight.workspace import Workspace

Rows = Sequence[Mapping[str, Any]]


def with_names(
    workspace: Workspace, records: Sequence[RunRecord], members: Rows, as_of: dt.date
) -> list[Mapping[str, Any]]:
    """Rows of segment_members of one date with the name of each row's segment as `name`."""
    names: dict[str, dict[str, str]] = {}
    for segmentation in {row["segmentation"] for row in members}:
        producer = {"segmentation": segmentation}
        found = newest_publication(records, "segments", as_of=as_of, producer=producer)
        if found is not None:
            segments = workspace.tables.read("segments", found.version).where(
                (F.col("as_of") == F.lit(as_of)) & (F.col("segmentation") == segmentation)
            )
            rows = segments.select("segment_id", "name").collect()
            names[segmentation] = {row["segment_id"]: row["name"] for row in rows}
    return [
        {**row, "name": names.get(row["segmentation"], {}).get(row["segment_id"])}
        for row in members
    ]


def with_titles(
    workspace: Workspace, records: Sequence[RunRecord], events: Rows, as_of: dt.date
) -> list[Mapping[str, Any]]:
    """Events with the titles that their items had at a date as `title`; few, so few ids."""
    ids = sorted({event["item_id"] for event in events if event["item_id"] is not None})
    found = newest_publication(records, "items")
    titles: dict[str, str] = {}
    if ids and found is not None:
        items = workspace.tables.read("items", found.version).where(F.col("item_id").isin(ids))
        rows = newest_titles(items, workspace.as_of(as_of)).collect()
        titles = {row["item_id"]: row["title"] for row in rows}
    return [{**event, "title": titles.get(event["item_id"])} for event in events]
