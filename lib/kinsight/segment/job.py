"""The stage: vectors of a date to segments, their members and their lineage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.config import SegmentConfig, SegmentNumbers
from kinsight.dates import AsOf
from kinsight.errors import IntegrityError, RefusedError
from kinsight.runs import StageRun, StageSummary
from kinsight.segment.algorithms.numbers import LEAST_STABILITY
from kinsight.segment.algorithms.spherical import Floats
from kinsight.segment.blocks import Grouping, choose_grouping
from kinsight.segment.choosing import Chosen, choose_segments
from kinsight.segment.counting import count_terms
from kinsight.segment.describing import describe_segments
from kinsight.segment.fitting import Clustering, fit_points, fit_segments, fit_within
from kinsight.segment.halves import measured_members
from kinsight.segment.inputs import Inputs, Previous, find_inputs
from kinsight.segment.lift import Term
from kinsight.segment.lineage import Ids, stable_ids
from kinsight.segment.members import COLD, Counted, Parts, assign_users, count_assigned
from kinsight.segment.naming import FIRST_LIFT
from kinsight.segment.overlap import further_memberships
from kinsight.segment.profiles import profile_means
from kinsight.segment.rows import Segment, as_frame, cold_row, member_rows, segment_row
from kinsight.segment.sample import Sample, collect_sample, is_held_out
from kinsight.spark import FrameMap, kept_frames
from kinsight.spread import rows_by_task, spread
from kinsight.tables import KeyValue
from kinsight.workspace import Workspace

# Fewer users a segment than this can carry neither a name nor a rule.
LEAST_USERS_A_SEGMENT = 10


def run_segment(workspace: Workspace, as_of: AsOf, *, latest_input: bool = False) -> StageSummary:
    """Group the users of a date into named segments with stable ids.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date; its embeddings, user_features and user_bags must be published.
        latest_input: On a re-run, follow the newest segments of the date before instead of those
            that the last run followed.

    Raises:
        RefusedError: If an input is missing, or too few users have enough events.
        IntegrityError: If vectors cannot be compared, or users would be lost.
    """
    config = workspace.config.segment
    with kept_frames() as keep, workspace.run("segment", as_of, config, latest_input) as run:
        inputs = find_inputs(run, as_of, config.name)
        run.producer = {"segmentation": [config.name], "model_version": [inputs.model_version]}
        with run.step("sampling users"):
            available, by_task = _require_enough_users(run, inputs.users, config)
            grouping = choose_grouping(inputs.vocabulary, config.input)
            users = grouping.columns(spread(inputs.users, "user_id", by_task), inputs.bags)
            warm = users.where(F.col("events_used") >= config.minimum_events)
            sample = collect_sample(warm, inputs.user_features, grouping, available, config)
        with run.step("placing users"):
            space, points = fit_points(sample, config)
        chosen = _choose(run, points, available, inputs.previous, config)
        with run.step(f"fitting {chosen.choice.segments} segments"):
            clustering = fit_segments(sample, space, points, chosen.choice.segments, config)
        assigned = assign_users(users, grouping, clustering, config.minimum_events)
        assigned = keep(assigned.withColumn("held_out", is_held_out(F.col("user_id"), config)))
        further = further_memberships(inputs, grouping, clustering, assigned, config.minimum_events)
        if further is not None:
            further = keep(further)
            run.counts["further_memberships"] = further.count()
        counted, ids = _match(run, inputs, clustering, assigned, config)
        with run.step("finding what segments over-index on"):
            terms = _count_terms(inputs, grouping, clustering, assigned, counted, keep)
        rows = _describe(
            run,
            inputs,
            sample,
            clustering,
            assigned,
            counted,
            ids,
            terms,
            config.minimum_events,
        )
        members = member_rows(assigned, further, ids.of_cluster)
        _write(run, members, ids, rows, chosen, as_of, config)
        return run.summary()


def _require_enough_users(
    run: StageRun, users: DataFrame, config: SegmentConfig
) -> tuple[int, list[int]]:
    """Count users, and refuse where too few have enough events.

    Returns:
        How many have, and how many users each task would get.
    """
    enough = F.count_if(F.col("events_used") >= config.minimum_events)
    by_task, available_by_task = rows_by_task(users, enough)
    total, available = sum(by_task), sum(available_by_task)
    run.counts |= {"users": total, "cold_users": total - available}
    fewest = config.segments.minimum
    needed = LEAST_USERS_A_SEGMENT * fewest
    if available < needed:
        possible = available // LEAST_USERS_A_SEGMENT
        fewer = f"set segment.segments to {possible} or less, " if possible >= 2 else ""
        raise RefusedError(
            f"Too few users for {fewest} segments.",
            expected=f"at least {needed} users ({LEAST_USERS_A_SEGMENT} a segment) with "
            f"{config.minimum_events} or more events",
            found=f"{available} of {total} users",
            to_do=f"{fewer}lower segment.minimum_events, or wait for more events",
        )
    return available, by_task


def _choose(
    run: StageRun,
    points: Floats,
    available: int,
    previous: Previous | None,
    config: SegmentConfig,
) -> Chosen:
    """The number of segments, told where it was chosen from several."""
    asked = config.segments
    numbers = SegmentNumbers(
        minimum=asked.minimum, maximum=min(asked.maximum, available // LEAST_USERS_A_SEGMENT)
    )
    before = previous.segments if previous else None
    began = time.monotonic()
    chosen = choose_segments(points, numbers, before, fit_within(config), config.seed, run.progress)
    choice = chosen.choice
    run.metrics["segments_chosen"] = choice.segments
    if numbers.minimum < numbers.maximum:
        run.progress.say(
            f"trying {numbers} segments: {choice.segments}, {choice.reason} "
            f"{time.monotonic() - began:.1f} s"
        )
        if not choice.is_stable:
            run.warn(
                f"none of {numbers} segments is found again "
                f"on other users (stability under {LEAST_STABILITY}, see table segment_choices); "
                f"{choice.segments} were made: {choice.reason}"
            )
    return chosen


def _match(
    run: StageRun,
    inputs: Inputs,
    clustering: Clustering,
    assigned: DataFrame,
    config: SegmentConfig,
) -> tuple[Counted, Ids]:
    """Assign all users, check sizes, and give the clusters their ids."""
    previous = inputs.previous
    clusters = len(clustering.centroids)
    with run.step("assigning users and matching the previous date"):
        counted = count_assigned(assigned, previous.members if previous else None, clusters)
    if counted.users != run.counts["users"]:
        raise _lost_users(run.counts["users"], counted.users)
    sizes = counted.movement.overlaps.sizes
    shares = sizes / sizes.sum()
    run.counts["segments"] = clusters
    run.metrics |= clustering.metrics | {
        "cohesion": float(counted.cohesion @ shares),
        "largest_share": float(shares.max()),
        "smallest_share": float(shares.min()),
    }
    if clusters != clustering.wanted:
        run.warn(
            f"{clusters} segments instead of {clustering.wanted}: others would lie outside "
            f"segment.minimum_share {config.minimum_share} or maximum_share {config.maximum_share}"
        )
    if shares.max() > config.maximum_share or shares.min() < config.minimum_share:
        run.warn(
            f"segments hold {shares.min():.1%} to {shares.max():.1%} of the users with enough "
            f"events, outside {config.minimum_share:.1%} to {config.maximum_share:.1%}"
        )
    date = previous.as_of if previous else None
    ids = stable_ids(counted.movement, inputs.taken_ids, date, config.match_threshold)
    for kind in ("continued", "born", "split", "merged", "retired"):
        run.counts[f"segments_{kind}"] = sum(row["kind"] == kind for row in ids.lineage)
    return counted, ids


def _count_terms(
    inputs: Inputs,
    grouping: Grouping,
    clustering: Clustering,
    assigned: DataFrame,
    counted: Counted,
    keep: FrameMap,
) -> list[list[Term]]:
    """What members of each cluster do more or less than others, measured on held-out users."""
    measured = keep(measured_members(inputs, grouping, clustering, assigned))
    held_out = np.zeros(len(clustering.centroids), dtype=np.int64)
    for cluster, users in measured.where("held_out").groupBy("cluster").count().collect():
        held_out[cluster] = users
    members = measured.join(inputs.bags.select("user_id", "bags"), "user_id")
    return count_terms(members, inputs.vocabulary, Parts(counted.parts.fitting, held_out))


def _describe(
    run: StageRun,
    inputs: Inputs,
    sample: Sample,
    clustering: Clustering,
    assigned: DataFrame,
    counted: Counted,
    ids: Ids,
    terms: Sequence[Sequence[Term]],
    minimum_events: int,
) -> list[dict[str, Any]]:
    """Rows of ``segments``: their names, rules and profiles."""
    with run.step("profiles, names and rules"):
        profiles, base = profile_means(assigned, inputs.user_features, sample.features.names)
        segments = describe_segments(ids.of_cluster, clustering, sample, counted, terms, profiles)
    _warn_of_weak_names(run, segments)
    rows = [segment_row(segment, counted.users, minimum_events, base) for segment in segments]
    cold = run.counts["cold_users"]
    if cold:
        profile = profiles.get(COLD, {})
        rows.append(cold_row(cold, counted.users, minimum_events, profile, base))
    return [{**row, "model_version": inputs.model_version} for row in rows]


def _warn_of_weak_names(run: StageRun, segments: Sequence[Segment]) -> None:
    """Tell which names held-out users do not bear out."""
    weak = [
        f"{segment.segment_id} ({segment.name.text})"
        for segment in segments
        if not segment.name.terms or (segment.name.terms[0].held_out_lift or 0.0) < FIRST_LIFT
    ]
    run.metrics["names_borne_out"] = 1.0 - len(weak) / len(segments)
    if weak:
        run.warn(
            f"the name's first term lies under {FIRST_LIFT} times the average on held-out users "
            f"in {len(weak)} of {len(segments)} segments: {', '.join(weak)}"
        )


def _write(
    run: StageRun,
    members: DataFrame,
    ids: Ids,
    rows: Sequence[Mapping[str, Any]],
    chosen: Chosen,
    as_of: AsOf,
    config: SegmentConfig,
) -> None:
    """Write the four tables of this date and segmentation."""
    key: dict[str, KeyValue] = {"as_of": as_of.date, "segmentation": config.name}
    filled = (*key, "run_id")
    spark = run.tables.spark
    with run.step("writing segments"):
        written = run.write("segment_members", members, key)
        expected = run.counts["users"] + run.counts.get("further_memberships", 0)
        if written.rows != expected:
            raise _lost_users(expected, written.rows)
        run.write("segment_choices", as_frame(spark, "segment_choices", chosen.rows(), filled), key)
        run.write("segment_lineage", as_frame(spark, "segment_lineage", ids.lineage, filled), key)
        run.write("segments", as_frame(spark, "segments", rows, filled), key)


def _lost_users(expected: int, found: int) -> IntegrityError:
    return IntegrityError(
        "The segmentation does not hold every user once.",
        expected=f"{expected}, by the users and interests in embeddings",
        found=f"{found} rows of segment_members",
        to_do="run `kinsight segment` again; if it stays, please report it",
    )
