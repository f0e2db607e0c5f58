"""Rows of tables ``segments`` and ``segment_members``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from kinsight.segment.counting import strongest
from kinsight.segment.lift import Term
from kinsight.segment.lineage import COLD_ID
from kinsight.segment.naming import COLD_NAME, Name, describe
from kinsight.segment.profiles import Profile
from kinsight.segment.rules import Fit, Rule
from kinsight.tables import table_schema

TOP_TERMS = 10
# What fewer members have is no mark of the segment; single items are rarer than categories.
CATEGORY_SUPPORT = 0.1
ITEM_SUPPORT = 0.05


@dataclasses.dataclass(frozen=True)
class Segment:
    """All that is known of one segment that is not cold."""

    segment_id: str
    size: int
    cohesion: float
    centroid: list[float]
    name: Name
    terms: Sequence[Term]
    rule: Rule | None
    fit: Fit
    profile: Profile


def segment_row(segment: Segment, users: int, minimum_events: int, base: Profile) -> dict[str, Any]:
    """The row of a segment, but for model_version.

    Args:
        segment: The segment.
        users: All users of the segmentation, cold ones too.
        minimum_events: Users with fewer events are cold.
        base: Means of the features over all users.
    """
    share = segment.size / users
    top = {
        "top_categories": strongest(segment.terms, "category", CATEGORY_SUPPORT, TOP_TERMS),
        "top_brands": strongest(segment.terms, "brand", CATEGORY_SUPPORT, TOP_TERMS),
        "top_items": strongest(segment.terms, "item", ITEM_SUPPORT, TOP_TERMS),
    }
    return {
        "segment_id": segment.segment_id,
        "parent_id": None,
        "level": 0,
        "name": segment.name.text,
        "description": describe(share, segment.name.terms, segment.profile, base),
        "rule": segment.rule.sql(minimum_events) if segment.rule else None,
        "rule_precision": segment.fit.precision,
        "rule_recall": segment.fit.recall,
        "size": segment.size,
        "share": share,
        "cohesion": segment.cohesion,
        "name_terms": [term.row() for term in segment.name.terms],
        **{column: [term.row() for term in terms] for column, terms in top.items()},
        "profile": dict(segment.profile),
        "base_profile": dict(base),
        "centroid": segment.centroid,
    }


def cold_row(
    size: int, users: int, minimum_events: int, profile: Profile, base: Profile
) -> dict[str, Any]:
    """The row of the users with too few events."""
    share = size / users
    told = describe(share, (), profile, base)
    return {
        "segment_id": COLD_ID,
        "parent_id": None,
        "level": 0,
        "name": COLD_NAME,
        "description": f"Fewer than {minimum_events} events, too few to tell a taste. {told}",
        "rule": None,
        "rule_precision": None,
        "rule_recall": None,
        "size": size,
        "share": share,
        "cohesion": None,
        "name_terms": [],
        "top_categories": [],
        "top_brands": [],
        "top_items": [],
        "profile": dict(profile),
        "base_profile": dict(base),
        "centroid": None,
    }


def as_frame(
    spark: SparkSession, table: str, rows: Iterable[Mapping[str, Any]], filled_in: Sequence[str]
) -> DataFrame:
    """A data frame of few rows with the types of a table.

    Args:
        spark: The session.
        table: Table whose columns the rows have.
        rows: One mapping a row.
        filled_in: Columns that the write adds.
    """
    fields = [f for f in table_schema(table) if f.name not in filled_in]
    values = [tuple(row[field.name] for field in fields) for row in rows]
    return spark.createDataFrame(values, StructType(fields))


def member_rows(assigned: DataFrame, further: DataFrame | None, ids: Sequence[str]) -> DataFrame:
    """Rows of ``segment_members`` but for the columns of the producer key.

    Args:
        assigned: user_id, cluster, second, distance, confidence: one row a user.
        further: The same of further segments, with membership_rank.
        ids: Id of each cluster.
    """
    rows = assigned.withColumn("membership_rank", F.lit(0))
    if further is not None:
        columns = ["user_id", "membership_rank", "cluster", "second", "distance", "confidence"]
        rows = rows.select(columns).unionByName(further)

    def id_of(cluster: str) -> Column:
        # The index counts from 1, and cold users have cluster -1. Spark 4.0 answers
        # element_at(array, NULL) with the last element where none of them is null.
        place = F.element_at(F.array(*map(F.lit, (COLD_ID, *ids))), F.col(cluster) + 2)
        return F.when(F.col(cluster).isNotNull(), place)

    return rows.select(
        "user_id",
        "membership_rank",
        id_of("cluster").alias("segment_id"),
        "confidence",
        "distance",
        id_of("second").alias("second_segment_id"),
    )
