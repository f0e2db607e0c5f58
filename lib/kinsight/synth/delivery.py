"""How events reach the shop: columns, folders by night, and the faults asked for."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.synth.draws import Draws, Ints
from kinsight.synth.options import SynthOptions
from kinsight.synth.world import Catalogue, item_names

TYPES = ("view", "click", "cart", "favourite", "purchase", "return", "redeem")
SECONDS_A_DAY = 86_400
MICROS_A_DAY = SECONDS_A_DAY * 1_000_000

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
"""Folder of all days before the nights that come in folders of their own."""

BATCH_FREE_ORDER = ("event_id", "delivery", "event_time", "event_type", "user_id", "price")
"""Sorted by these, equal sets of rows are equal."""

FAULTS = (
    ("user_id", None),
    ("event_time", None),
    ("event_type", "hover"),
    ("price", -1.0),
    ("event_time", 0),
)
"""What makes a row no event: a column and the value that it gets; a time in microseconds."""


def delivered(
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
    day = micros // MICROS_A_DAY
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
    for place, (column, value) in enumerate(FAULTS):
        wrong = pa.scalar(value, EVENT_SCHEMA.field(column).type)
        columns[column] = pc.if_else(pa.array(faults == place), wrong, columns[column])
    return pa.table(columns, schema=EVENT_SCHEMA)
