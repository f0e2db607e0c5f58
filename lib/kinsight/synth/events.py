"""The events of synthetic users: numpy and Arrow, one pass over a batch of users, no Spark.

A user has an archetype (and with drift another one before some day), two personal categories and
a history whose length is log-normal. It is cut into visits; visits lie at the archetype's hours and
weekdays; a visit walks from item to item (in part to the item's companion, which a sequence model
can learn) and may end in a basket of what was looked at, all lines at one time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.synth.draws import Draws, Floats, Ints
from kinsight.synth.options import SynthOptions
from kinsight.synth.world import (
    ARCHETYPES,
    CATEGORIES_A_DEPARTMENT,
    Catalogue,
    archetype_table,
    department_weights,
    item_names,
)

TYPES = ("view", "click", "cart", "favourite", "purchase", "return", "redeem")
VIEW, PURCHASE, RETURN, REDEEM = 0, 4, 5, 6
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
SECONDS_A_DAY = 86_400
GAP_SECONDS = 45.0

EVENT_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("event_time", pa.timestamp("us", "UTC")),
        ("event_type", pa.string()),
        ("item_id", pa.string()),
        ("price", pa.float64()),
        ("quantity", pa.float64()),
        ("session_id", pa.string()),
        ("delivery", pa.string()),
    ]
)
HISTORY = "history"
BATCH_FREE_ORDER = ("event_id", "delivery", "event_time", "event_type", "user_id", "price")
"""Sorted by these, equal sets of rows are equal."""

FAULTS = ("no user", "no time", "unknown type", "negative price", "year 1970")


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

    visit, visit_of_user, visit_user, archetype, start = _visits(
        options, people, user, place, draws
    )
    first = np.flatnonzero(np.diff(visit, prepend=-1))
    size = np.diff(np.append(first, total))
    step = np.arange(total) - first[visit]
    left = size[visit] - 1 - step

    # Basket: the last lines of a visit that ends in a purchase, bought at one time.
    of_visit = Draws(options.seed, number[visit_user], visit_of_user, np.full(len(first), 7))
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
    micros = np.floor(start * 1e6).astype(np.int64)[visit] + walked - walked[first][visit]
    micros = np.minimum(micros, (options.days * SECONDS_A_DAY - 1) * 1_000_000)

    names = user_names(number)
    session = pc.binary_join_element_wise(
        names.take(pa.array(visit_user)), pa.array(visit_of_user).cast(pa.string()), "-"
    )
    columns = {
        "event_id": pc.binary_join_element_wise(
            names.take(pa.array(user)), pa.array(place).cast(pa.string()), "."
        ),
        "user_id": names.take(pa.array(user)),
        "session_id": session.take(pa.array(visit)),
        "quantity": pa.array(np.where(bought, 1.0 + draws.below("quantity", 3), 1.0)),
    }
    return _rows(options, catalogue, columns, micros, kind, item, draws)


def bot_rows(
    options: SynthOptions, catalogue: Catalogue, bot: int, begin: int, end: int
) -> pa.Table:
    """The rows of a bot from one of its events to another: views of anything at any time."""
    place = np.arange(begin, end)
    draws = Draws(options.seed, np.full(len(place), -1 - bot), place)
    micros = np.floor(draws.uniform("time") * options.days * SECONDS_A_DAY * 1e6).astype(np.int64)
    name = bot_name(bot)
    columns = {
        "event_id": pc.binary_join_element_wise(name, pa.array(place).cast(pa.string()), "."),
        "user_id": pa.array([name]).take(pa.array(np.zeros(len(place), np.int64))),
        "session_id": pc.binary_join_element_wise(
            name, pa.array(micros // (SECONDS_A_DAY * 1_000_000)).cast(pa.string()), "-"
        ),
        "quantity": pa.array(np.ones(len(place))),
    }
    kind = np.full(len(place), VIEW)
    item = draws.below("item", len(catalogue.price))
    return _rows(options, catalogue, columns, micros, kind, item, draws)


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


def _visits(
    options: SynthOptions, people: People, user: Ints, place: Ints, draws: Draws
) -> tuple[Ints, Ints, Ints, Ints, Floats]:
    """Cut histories into visits in the order of time.

    Returns:
        visit: Of each event, counted over the batch, [events].
        number: Of each visit within its user, [visits].
        visit_user: User of each visit, as a place in the batch, [visits].
        archetype: Of the user at the time of each visit, [visits].
        start: Seconds since the shop's start, [visits].
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
    return visit, number, visit_user, archetype[order], start[order]


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


def _rows(
    options: SynthOptions,
    catalogue: Catalogue,
    columns: dict[str, pa.Array],
    micros: Ints,
    kind: Ints,
    item: Ints,
    draws: Draws,
) -> pa.Table:
    """Events as they are delivered: prices, times, folders, and the faults asked for."""
    start = dt.datetime.combine(options.start, dt.time(), tzinfo=dt.timezone.utc)
    origin = int(start.timestamp()) * 1_000_000
    day = micros // (SECONDS_A_DAY * 1_000_000)
    late = draws.happens("late", options.late) if options.late else np.zeros(len(day), bool)
    arrival = np.where(late, day + 1 + draws.below("days late", 3), day)
    columns = columns | {
        "event_time": pa.array(origin + micros).cast(pa.timestamp("us", "UTC")),
        "event_type": pa.array(TYPES).take(pa.array(kind)),
        "item_id": item_names(item),
        "price": pa.array(catalogue.price[item]),
        "delivery": _deliveries(options, arrival),
    }
    rows = pa.table({name: columns[name] for name in EVENT_SCHEMA.names}, schema=EVENT_SCHEMA)
    parts = [rows]
    if options.duplicates:
        parts.append(rows.filter(pa.array(draws.happens("duplicate", options.duplicates))))
    if options.malformed:
        spoilt = draws.happens("malformed", options.malformed)
        faults = draws.below("fault", len(FAULTS))[spoilt]
        parts.append(_spoil(rows.filter(pa.array(spoilt)), faults))
    return pa.concat_tables(parts)


def _deliveries(options: SynthOptions, arrival: Ints) -> pa.Array:
    """Folder that an event of a day of arrival comes in; the last one takes what is later still."""
    first_night = options.days - options.nights
    folder = np.clip(arrival - first_night, -1, options.nights - 1) + 1
    names = [HISTORY] + [
        (options.history_until + dt.timedelta(days=night)).isoformat()
        for night in range(options.nights)
    ]
    return pa.array(names).take(pa.array(folder))


def _spoil(rows: pa.Table, faults: Ints) -> pa.Table:
    """Rows that are no events: further ones beside the good, so the truth stays as it is."""
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    columns["event_id"] = pc.binary_join_element_wise(columns["event_id"], "x", ".")
    for place, (column, value) in enumerate(
        (
            ("user_id", pa.scalar(None, pa.string())),
            ("event_time", pa.scalar(None, pa.timestamp("us", "UTC"))),
            ("event_type", pa.scalar("hover", pa.string())),
            ("price", pa.scalar(-1.0, pa.float64())),
            ("event_time", pa.scalar(0, pa.timestamp("us", "UTC"))),
        )
    ):
        columns[column] = pc.if_else(pa.array(faults == place), value, columns[column])
    return pa.table(columns, schema=EVENT_SCHEMA)
