"""When synthetic users come: visits at the hours and weekdays of their archetypes."""

from __future__ import annotations

import dataclasses

import numpy as np

from kinsight.synth.delivery import SECONDS_A_DAY
from kinsight.synth.draws import Draws, Ints
from kinsight.synth.options import SynthOptions
from kinsight.synth.people import People
from kinsight.synth.world import archetype_table


@dataclasses.dataclass(frozen=True)
class Visits:
    """The visits of a batch of users, by user and in the order of time.

    Attributes:
        of_event: Visit of each event, counted over the batch, [events].
        user: User of each visit, as a place in the batch, [visits].
        number: Of each visit within its user, [visits].
        archetype: Of the user at the time of each visit, [visits].
        start: Microseconds since the shop's start, [visits].
    """

    of_event: Ints
    user: Ints
    number: Ints
    archetype: Ints
    start: Ints


def draw_visits(
    options: SynthOptions, people: People, user: Ints, place: Ints, draws: Draws
) -> Visits:
    """Cut histories into visits.

    Args:
        options: The shop.
        people: The users of the batch.
        user: User of each event, as a place in the batch, [events].
        place: Place of each event within its user, [events].
        draws: Of the events.
    """
    mean = archetype_table("session_events")[people.archetype]
    opens = (place == 0) | draws.happens("visit", 1 / mean[user])
    visit = np.cumsum(opens) - 1
    visit_user = user[opens]
    begins = np.flatnonzero(np.diff(visit_user, prepend=-1))
    number = np.arange(len(visit_user)) - np.repeat(
        begins, np.diff(np.append(begins, len(visit_user)))
    )

    of_visit = Draws(options.seed, people.number[visit_user], number)
    tenure = Draws(options.seed, people.number).uniform("tenure")[visit_user]
    # Half of the users were there from the start; the others came at some time.
    joined = np.where(tenure < 0.5, 0.0, (tenure - 0.5) * 2 * 0.8) * options.days
    day = np.floor(joined + of_visit.uniform("day") * (options.days - joined)).astype(np.int64)
    archetype = np.where(
        day < people.drift_day[visit_user], people.before[visit_user], people.archetype[visit_user]
    )

    # Weekdays: the wanted kind of day within the same week, where it lies within the period and on
    # the same side of a change of tastes.
    weekday = (day + options.start.weekday()) % 7
    weekend = of_visit.happens("weekend", archetype_table("weekend")[archetype])
    wanted = np.where(weekend, 5 + of_visit.below("which", 2), of_visit.below("which", 5))
    moved = day + wanted - weekday
    drift = people.drift_day[visit_user]
    fits = (moved >= 0) & (moved < options.days) & ((moved < drift) == (day < drift))
    day = np.where(fits, moved, day)

    peak = archetype_table("peak_hour")[archetype]
    strays = of_visit.happens("strays", 0.2)
    hour = np.where(strays, 24 * of_visit.uniform("hour"), peak + 2 * of_visit.normal("hour")) % 24
    start = day * SECONDS_A_DAY + hour * 3600
    # In the order of time; the archetype goes with its visit.
    order = np.lexsort((start, visit_user))
    micros = np.floor(start[order] * 1e6).astype(np.int64)
    return Visits(visit, visit_user, number, archetype[order], micros)
