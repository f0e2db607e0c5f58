"""What a run reads: the tables at their versions, and the part of the events that it may see."""

from __future__ import annotations

import dataclasses

from pyspark.sql import DataFrame

from kinsight.config import SequenceConfig
from kinsight.dates import AsOf
from kinsight.identities import links_known_at, spans_of
from kinsight.runs import StageRun
from kinsight.sequence.linking import link_anonymous_ids
from kinsight.sequence.window import (
    WindowCounts,
    count_window,
    cut_hot_users,
    events_by_user,
    events_in_window,
    hot_user_thresholds,
    refuse_empty_window,
)
from kinsight.spark import FrameMap
from kinsight.tables import table_schema


@dataclasses.dataclass(frozen=True)
class SeenEvents:
    """The events that the run may see.

    Attributes:
        events: Rows of table events, cut by time and by the hot-user cap.
        counts: What there was before the cap.
        hot_users: Users that were cut; None where nobody was.
    """

    events: DataFrame
    counts: WindowCounts
    hot_users: DataFrame | None


def read_inputs(run: StageRun) -> tuple[DataFrame, DataFrame, DataFrame | None]:
    """Events, items and identities, at the versions of this date's earlier run if there was one.

    Identities are None where none were ever ingested.
    """
    pinned = run.earlier_version("events")
    if pinned is None:
        published = run.require("events", made_by="ingest")
        events = run.read(published)
        items_version = published.record.outputs.get("items")
        identities_version = published.record.outputs.get("identities")
    else:
        events = run.read("events", pinned)
        items_version = run.earlier_version("items")
        identities_version = run.earlier_version("identities")
    if items_version is None:
        items = run.tables.spark.createDataFrame([], table_schema("items"))
    else:
        items = run.read("items", items_version)
    # Version 0 only created the table.
    return events, items, run.read("identities", identities_version) if identities_version else None


def cut_window(
    run: StageRun,
    as_of: AsOf,
    settings: SequenceConfig,
    events: DataFrame,
    identities: DataFrame | None,
    keep: FrameMap,
) -> SeenEvents:
    """The events that the run may see by known user, without those of hot users beyond the cap.

    Raises:
        RefusedError: If there are none.
    """
    cap = settings.hot_user_events
    window = events_in_window(events, as_of, settings.lookback_days)
    if identities is not None:
        start = as_of.days_before(settings.lookback_days)
        with run.step("linking anonymous ids"):
            links = keep(links_known_at(identities, as_of.instant))
            spans = keep(spans_of(links, start.instant))
            window = link_anonymous_ids(run, window, links, spans, keep)
    by_user = keep(events_by_user(window, as_of.instant, settings.lookback_days, cap))
    with run.step("counting events"):
        counts = count_window(by_user, cap)
    if not counts.events:
        raise refuse_empty_window(events, as_of, settings.lookback_days)
    run.counts |= {
        "events_in_window": counts.events,
        "users": counts.users,
        "hot_users": counts.hot_users,
        "events_cut_by_cap": counts.events_cut,
    }
    if not counts.hot_users:
        return SeenEvents(window, counts, None)
    run.warn(
        f"{counts.hot_users} users have more than {cap} events (the largest has "
        f"{counts.largest}); only the latest {cap} of each are kept and {counts.events_cut} "
        "events are cut. user_features.is_hot names them; bots belong out of the source."
    )
    hot_users = keep(hot_user_thresholds(window, by_user, as_of.instant, counts.hot_days, cap))
    return SeenEvents(cut_hot_users(window, hot_users), counts, hot_users)
