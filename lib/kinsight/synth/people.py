"""Who synthetic users are: archetypes, drift, lengths of histories, and what is told of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.synth.draws import Draws, Ints
from kinsight.synth.options import SynthOptions
from kinsight.synth.world import ARCHETYPES, archetype_table


@dataclasses.dataclass(frozen=True)
class People:
    """Who the users of a batch are.

    Attributes:
        number: User numbers, [n].
        archetype: What they are at the date, [n].
        before: What they were before ``drift_day``, [n]; the same where nothing changed.
        drift_day: Day of the change counted from the start, [n].
        length: Events of each, [n].
    """

    number: Ints
    archetype: Ints
    before: Ints
    drift_day: Ints
    length: Ints


def draw_people(options: SynthOptions, number: Ints) -> People:
    """Who the users of these numbers are."""
    draws = Draws(options.seed, number)
    shares = archetype_table("share")
    archetype = draws.choice("archetype", shares)
    # Another one: a step of 1 to the count less 1 around the circle.
    step = 1 + draws.below("other archetype", len(ARCHETYPES) - 1)
    other = (archetype + step) % len(ARCHETYPES)
    drifts = draws.happens("drifts", options.drift)
    drift_day = np.floor(options.days * (0.3 + 0.4 * draws.uniform("drift day"))).astype(np.int64)
    return People(
        number,
        archetype,
        np.where(drifts, other, archetype),
        np.where(drifts, drift_day, 0),
        options.lengths(draws.uniform("length")),
    )


def bot_name(bot: int) -> str:
    """User id of a bot."""
    return f"bot{bot:03d}"


def user_names(number: Ints) -> pa.Array:
    """User ids, [n]."""
    padded = pc.utf8_lpad(pa.array(number).cast(pa.string()), width=9, padding="0")
    return pc.binary_join_element_wise("u", padded, "")


def truth_rows(options: SynthOptions, number: Ints) -> pa.Table:
    """What was planted: one row a user."""
    people = draw_people(options, number)
    names = pa.array([archetype.name for archetype in ARCHETYPES])
    drifted = people.before != people.archetype
    start = np.datetime64(options.start)
    return pa.table(
        {
            "user_id": user_names(number),
            "archetype": names.take(pa.array(people.archetype)),
            "archetype_before": names.take(pa.array(people.before, mask=~drifted)),
            "drifted_on": pa.array(
                (start + people.drift_day).astype("datetime64[D]"), mask=~drifted
            ),
            "is_bot": pa.array(np.zeros(len(number), bool)),
            "events": pa.array(people.length),
        }
    )


def truth_of_bots(options: SynthOptions) -> pa.Table:
    """What was planted: one row a bot."""
    bots = range(options.bots)
    return pa.table(
        {
            "user_id": pa.array([bot_name(bot) for bot in bots], pa.string()),
            "archetype": pa.array(["bot" for _ in bots], pa.string()),
            "archetype_before": pa.array([None for _ in bots], pa.string()),
            "drifted_on": pa.array([None for _ in bots], pa.date32()),
            "is_bot": pa.array([True for _ in bots], pa.bool_()),
            "events": pa.array([options.bot_events for _ in bots], pa.int64()),
        }
    )


def attribute_rows(options: SynthOptions, number: Ints) -> pa.Table:
    """What the shop knows of its users: country, age band, consent."""
    people = draw_people(options, number)
    draws = Draws(options.seed, number)
    country = pa.array(["DE", "FR", "UK", "PL"]).take(
        pa.array(draws.choice("country", np.array([0.5, 0.2, 0.2, 0.1])))
    )
    young = draws.happens("young", archetype_table("young")[people.archetype])
    return pa.table(
        {
            "user_id": user_names(number),
            "country": country,
            "age_band": pa.array(["40+", "under 40"]).take(pa.array(young.astype(np.int64))),
            "email": pa.array(draws.happens("email", 0.8)),
        }
    )
