"""The events of synthetic users: numpy and Arrow, one pass over a batch of users, no Spark.

A user has an archetype (and with drift another one before some day), two personal categories and
a history whose length is log-normal. It is cut into visits; visits lie at the archetype's hours and
weekdays; a visit walks from item to item (in part to the item's companion, which a sequence model
can learn) and may end in a basket of what was looked at, all lines at one time.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.synth.delivery import MICROS_A_DAY, TYPES, delivered
from kinsight.synth.draws import Draws, Ints
from kinsight.synth.options import SynthOptions
from kinsight.synth.people import People, bot_name, draw_people, user_names
from kinsight.synth.visits import draw_visits
from kinsight.synth.world import (
    CATEGORIES_A_DEPARTMENT,
    Catalogue,
    archetype_table,
    department_weights,
)

VIEW, PURCHASE, RETURN, REDEEM = map(TYPES.index, ("view", "purchase", "return", "redeem"))
BROWSING = np.array([0.6, 0.24, 0.1, 0.06])
"""Shares of view, click, cart and favourite among events that are no purchase."""

FROM_TASTE, FROM_HABIT = 0.55, 0.2
"""Share of steps into the archetype's departments, and into the user's own two categories; the
rest goes anywhere by the size of a category."""
COMPANION = 0.3
"""Chance that a step goes to the next item of the same category instead of a fresh choice."""
STEEPNESS = 2.5
"""Items of a category are met by rank: the share of its first tenth is 0.1 ^ (1 / 2.5) = 0.4."""
RETURNS, REDEMPTIONS = 0.02, 0.1
"""Shares of purchases that come back, and of baskets with a coupon."""
GAP_SECONDS = 45.0


def user_events(options: SynthOptions, catalogue: Catalogue, number: Ints) -> pa.Table:
    """The rows of users, faults included; rows of :data:`EVENT_SCHEMA`, by user.

    Args:
        options: The shop.
        catalogue: What it sells.
        number: User numbers, ascending.
    """
    people = draw_people(options, number)
    user = np.repeat(np.arange(len(number)), people.length)
    total = len(user)
    begins = np.cumsum(people.length) - people.length
    place = np.arange(total) - begins[user]
    draws = Draws(options.seed, number[user], place)

    visits = draw_visits(options, people, user, place, draws)
    visit, archetype = visits.of_event, visits.archetype
    first = np.flatnonzero(np.diff(visit, prepend=-1))
    size = np.diff(np.append(first, total))
    step = np.arange(total) - first[visit]
    left = size[visit] - 1 - step

    # Basket: the last lines of a visit that ends in a purchase, bought at one time.
    of_visit = Draws(options.seed, number[visits.user], visits.number, np.full(len(first), 7))
    buys = of_visit.happens("buys", archetype_table("buys")[archetype]) & (size > 1)
    basket = np.minimum(1 + of_visit.below("basket", 3), np.maximum(size // 2, 1)) * buys
    bought = left < basket[visit]
    kind = draws.choice("type", BROWSING)
    kind[bought] = PURCHASE
    kind[bought & draws.happens("return", RETURNS)] = RETURN
    redeems = buys & (size > basket + 1) & of_visit.happens("redeem", REDEMPTIONS)
    kind[redeems[visit] & (left == basket[visit])] = REDEEM

    item = _items(options.seed, catalogue, people, user, archetype[visit], draws, step)
    # What is bought was looked at in the same visit.
    source = np.where(
        bought, np.maximum(np.arange(total) - basket[visit], first[visit]), np.arange(total)
    )
    item = item[source]

    # Whole microseconds: their sums are exact, whatever users stand before in the batch.
    gap = np.floor(-np.log(draws.uniform("gap")) * GAP_SECONDS * 1e6).astype(np.int64)
    gap[(step == 0) | (bought & (left < basket[visit] - 1))] = 0
    walked = np.cumsum(gap)
    micros = visits.start[visit] + walked - walked[first][visit]
    micros = np.minimum(micros, options.days * MICROS_A_DAY - 1_000_000)

    names = user_names(number)
    session = pc.binary_join_element_wise(
        names.take(pa.array(visits.user)), pa.array(visits.number).cast(pa.string()), "-"
    )
    columns = {
        "event_id": pc.binary_join_element_wise(
            names.take(pa.array(user)), pa.array(place).cast(pa.string()), "."
        ),
        "user_id": names.take(pa.array(user)),
        "session_id": session.take(pa.array(visit)),
        "quantity": pa.array(np.where(bought, 1.0 + draws.below("quantity", 3), 1.0)),
    }
    return delivered(options, catalogue, columns, micros, kind, item, draws)


def bot_rows(
    options: SynthOptions, catalogue: Catalogue, bot: int, begin: int, end: int
) -> pa.Table:
    """The rows of a bot from one of its events to another: views of anything at any time."""
    place = np.arange(begin, end)
    draws = Draws(options.seed, np.full(len(place), -1 - bot), place)
    micros = np.floor(draws.uniform("time") * options.days * MICROS_A_DAY).astype(np.int64)
    name = bot_name(bot)
    columns = {
        "event_id": pc.binary_join_element_wise(name, pa.array(place).cast(pa.string()), "."),
        "user_id": pa.array([name]).take(pa.array(np.zeros(len(place), np.int64))),
        "session_id": pc.binary_join_element_wise(
            name, pa.array(micros // MICROS_A_DAY).cast(pa.string()), "-"
        ),
        "quantity": pa.array(np.ones(len(place))),
    }
    kind = np.full(len(place), VIEW)
    item = draws.below("item", len(catalogue.price))
    return delivered(options, catalogue, columns, micros, kind, item, draws)


def _items(
    seed: int,
    catalogue: Catalogue,
    people: People,
    user: Ints,
    archetype: Ints,
    draws: Draws,
    step: Ints,
) -> Ints:
    """What each step of a walk is about, [events]."""
    route = draws.uniform("route")
    department = draws.choice("department", department_weights(), archetype)
    by_taste = department * CATEGORIES_A_DEPARTMENT + draws.below(
        "category", CATEGORIES_A_DEPARTMENT
    )
    own = Draws(seed, people.number)
    habits = np.stack([own.below(f"habit {n}", catalogue.categories) for n in range(2)], axis=1)
    by_habit = habits[user, draws.below("habit", 2)]
    by_chance = draws.choice("any", catalogue.popularity)
    category = np.select(
        [route < FROM_TASTE, route < FROM_TASTE + FROM_HABIT], [by_taste, by_habit], by_chance
    )

    size = np.diff(catalogue.first)[category]
    first = catalogue.first[category]
    # Of two candidates, the one whose price is nearer to what the archetype likes.
    candidates = [
        first + np.floor(size * draws.uniform(f"rank {n}") ** STEEPNESS).astype(np.int64)
        for n in range(2)
    ]
    liked = archetype_table("price_tier")[archetype]
    far = [np.abs(catalogue.tier[candidate] - liked) for candidate in candidates]
    item = np.where(far[0] <= far[1], *candidates)

    # Companions: a run of steps from the last fresh choice.
    fresh = (step == 0) | ~draws.happens("companion", COMPANION)
    base = np.maximum.accumulate(np.where(fresh, np.arange(len(item)), 0))
    within = item[base] - catalogue.first[category[base]] + np.arange(len(item)) - base
    found: Ints = catalogue.first[category[base]] + within % size[base]
    return found
