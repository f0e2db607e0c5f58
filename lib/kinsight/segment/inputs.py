"""What a run of ``segment`` reads, at the versions that make a re-run equal."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.dates import AsOf
from kinsight.runs import Publication, RunRecord, StageRun, newest_publication


@dataclasses.dataclass(frozen=True)
class Previous:
    """The segmentation of the date before.

    Attributes:
        as_of: Its date.
        segments: The number of segments that was chosen for it, where the run log tells.
        members: user_id, previous (segment id): one row a user.
    """

    as_of: dt.date
    segments: int | None
    members: DataFrame


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Tables of one date, and what is known of earlier ones.

    Attributes:
        model_version: Encoder of the vectors.
        users: One row of embeddings a user, that of the main vector.
        further: Rows of embeddings of users' other vectors; None where they have one each.
        user_features: Rows of user_features.
        bags: Rows of user_bags.
        vocabulary: Rows of vocabularies that give the bags their meaning.
        previous: The date to compare with, if there is one.
        taken_ids: Every segment id that other dates of this segmentation hold.
    """

    model_version: str
    users: DataFrame
    further: DataFrame | None
    user_features: DataFrame
    bags: DataFrame
    vocabulary: DataFrame
    previous: Previous | None
    taken_ids: Sequence[str]


def find_inputs(run: StageRun, as_of: AsOf, segmentation: str) -> Inputs:
    """Resolve and read all inputs.

    Of other dates a re-run reads the versions that the date's last run read, so that a re-run of
    the date before and its own output change nothing. What was made for the date itself is the
    newest: the runs that made it pin what they read, so it changes only where that was asked for.

    Raises:
        RefusedError: If nothing published embeddings, user_features or user_bags for the date.
    """
    date = as_of.date
    embeddings = run.require("embeddings", as_of=date, made_by="embed")
    features = run.require("user_features", as_of=date, made_by="sequence")
    bags = run.require("user_bags", as_of=date, made_by="sequence")
    model_version = embeddings.record.producer["model_version"][0]
    records = run.log.records()
    last = None if run.latest_input else _last_run(records, date, segmentation)
    vocabulary_version = bags.record.producer["vocabulary_version"][0]
    in_vocabulary = F.col("vocabulary_version") == vocabulary_version
    of_date = F.col("as_of") == F.lit(date)
    of_model = F.col("model_version") == model_version
    vectors = run.read(embeddings).where(of_date & of_model)
    several = embeddings.record.counts.get("interests", 1) > 1
    return Inputs(
        model_version,
        # An encoder with several vectors a user puts the main one first.
        vectors.where(F.col("interest") == 0),
        vectors.where(F.col("interest") > 0) if several else None,
        run.read(features).where(of_date),
        run.read(bags).where(of_date & in_vocabulary),
        run.read("vocabularies", bags.record.outputs["vocabularies"]).where(in_vocabulary),
        _previous(run, records, last, date, segmentation),
        _taken_ids(run, last, (F.col("segmentation") == segmentation) & ~of_date),
    )


def _last_run(records: Sequence[RunRecord], date: dt.date, segmentation: str) -> RunRecord | None:
    """The last succeeded run of this segmentation and date."""
    found = newest_publication(
        records, "segment_members", as_of=date, producer={"segmentation": segmentation}
    )
    return None if found is None else found.record


def _previous(
    run: StageRun,
    records: Sequence[RunRecord],
    last: RunRecord | None,
    date: dt.date,
    segmentation: str,
) -> Previous | None:
    """The date compared with: that of the last run of this date, else the newest earlier one."""
    if last is None:
        producer = {"segmentation": segmentation}
        found = newest_publication(records, "segment_members", before=date, producer=producer)
    elif "segment_members" in last.inputs:
        version = last.inputs["segment_members"]
        publishers = (r for r in records if r.outputs.get("segment_members") == version)
        found = Publication("segment_members", version, next(publishers))
    else:
        found = None
    if found is None or found.record.as_of is None:
        return None
    main = (F.col("segmentation") == segmentation) & (F.col("membership_rank") == 0)
    members = run.read(found).where(main & (F.col("as_of") == F.lit(found.record.as_of)))
    # Runs of before segments were chosen tell how many they made.
    made = found.record.counts.get("segments")
    chosen = found.record.metrics.get("segments_chosen", made)
    return Previous(
        found.record.as_of,
        None if chosen is None else int(chosen),
        members.select("user_id", F.col("segment_id").alias("previous")),
    )


def _taken_ids(run: StageRun, last: RunRecord | None, elsewhere: Column) -> list[str]:
    """Ids that other dates hold, as the last run of this date saw them."""
    if last is None and run.tables.exists("segments"):
        version = run.tables.version("segments")
    elif last is not None and "segments" in last.inputs:
        version = last.inputs["segments"]
    else:
        return []
    rows = run.read("segments", version).where(elsewhere).select("segment_id").distinct()
    return sorted(row[0] for row in rows.collect())
