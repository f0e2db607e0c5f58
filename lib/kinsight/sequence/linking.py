"""The events of a window under the users whom its instant knew, counted and warned of."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.identities import (
    MOST_CHANGES,
    count_chains,
    count_links,
    is_terminal,
    with_known_users,
)
from kinsight.runs import StageRun

BROADCAST_SPANS = 1_000_000
"""Up to so many times of anonymous ids are sent to every task instead of shuffling the events."""


def link_anonymous_ids(
    run: StageRun,
    window: DataFrame,
    links: DataFrame,
    spans: DataFrame,
    keep: Callable[[DataFrame], DataFrame],
) -> DataFrame:
    """The window with the events of anonymous ids under their users; counts and warnings kept.

    Args:
        run: Gets anonymous_ids_linked, events_reattributed and events_of_contested_ids.
        window: Events.
        links: See :func:`kinsight.identities.links_known_at`.
        spans: See :func:`kinsight.identities.spans_of`.
        keep: Persists a frame for the run.
    """
    terminals = links.where(is_terminal()).select("anonymous_id").distinct().count()
    number, chained = spans.count(), count_chains(spans)
    if number <= BROADCAST_SPANS:
        spans = F.broadcast(spans)
        linked = with_known_users(window, spans)
    else:
        # Each output would shuffle all events anew to find their users.
        linked = keep(with_known_users(window, spans))
    counts = count_links(window, spans)
    run.counts |= {
        "anonymous_ids_linked": counts.anonymous_ids,
        "events_reattributed": counts.events,
        "events_of_contested_ids": counts.contested_events,
    }
    if terminals:
        run.warn(
            f"{terminals} anonymous ids have more than {MOST_CHANGES} users or changed hands "
            "more often: terminals of many, whose events count for none of them"
        )
    if counts.contested_ids:
        run.warn(
            f"{counts.contested_events} events of {counts.contested_ids} anonymous ids lie in the "
            "time of several users; each counts for the last one known at its time, or else the "
            "first one after it"
        )
    if chained:
        run.warn(
            f"{chained} anonymous ids are linked to ids that are themselves anonymous; links are "
            "applied once, so their events stop there"
        )
    return linked if counts.events else window
