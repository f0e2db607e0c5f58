"""Everything the stage publishes of a user, one row, from whole histories."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from kinsight.sequence.executor.clock import LocalTimes, local_times
from kinsight.sequence.executor.counts import TokenCounts, count_field, count_pairs, count_products
from kinsight.sequence.executor.histories import Floats, Histories, Ints
from kinsight.sequence.executor.lookups import NO_TOKEN, UNKNOWN, Codes, Lookups, price_indices

SECONDS_A_DAY = 86_400.0
DAY_PARTS = {
    "morning_share": range(5, 12),
    "afternoon_share": range(12, 17),
    "evening_share": range(17, 22),
    "night_share": (22, 23, 0, 1, 2, 3, 4),
}

SEQUENCE_SCHEMA = (
    "length INT, events_total BIGINT, first_event_time TIMESTAMP, last_event_time TIMESTAMP, "
    "item ARRAY<INT>, event_type ARRAY<INT>, category ARRAY<INT>, brand ARRAY<INT>, "
    "price ARRAY<INT>, hour_of_week ARRAY<INT>, seconds ARRAY<BIGINT>"
)
SEQUENCE_COLUMNS = tuple(column.split()[0] for column in SEQUENCE_SCHEMA.split(", "))
BAG_SCHEMA = (
    "events BIGINT, bags MAP<STRING, "
    "STRUCT<tokens: ARRAY<INT>, counts: ARRAY<FLOAT>, odd_days: ARRAY<FLOAT>>>"
)
FEATURE_SCHEMA = (
    "recency_days DOUBLE, tenure_days DOUBLE, frequency BIGINT, monetary DOUBLE, sessions BIGINT, "
    "purchases BIGINT, returns BIGINT, items BIGINT, categories BIGINT, brands BIGINT, "
    "average_price DOUBLE, events_per_session DOUBLE, weekend_share DOUBLE, "
    + "".join(f"{name} DOUBLE, " for name in DAY_PARTS)
    + "type_shares MAP<STRING, DOUBLE>, hour_shares ARRAY<DOUBLE>, weekday_shares ARRAY<DOUBLE>, "
    "root_codes ARRAY<INT>, root_events ARRAY<BIGINT>"
)
COUNTED_SCHEMA = "with_token ARRAY<BIGINT>, with_index ARRAY<BIGINT>"


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """What the rows of a date depend on.

    Attributes:
        instant_micros: The as-of instant, microseconds since 1970 UTC.
        timezone: The shop's zone.
        max_length: Events kept in a sequence, the latest.
        feature_category: Place of the field whose distinct categories are counted; None: none.
        root: Place of the field of root categories; None: none.
    """

    instant_micros: int
    timezone: str
    max_length: int
    feature_category: int | None
    root: int | None


def sequence_rows(
    parts: Iterable[Histories], lookups: Lookups, settings: RowSettings
) -> Iterator[pa.RecordBatch]:
    """user_id and :data:`SEQUENCE_SCHEMA` of each user."""
    for histories in parts:
        times = local_times(histories.micros, settings.timezone)
        yield _batch(histories, _sequences(histories, times, lookups, settings))


def user_rows(
    parts: Iterable[Histories], lookups: Lookups, settings: RowSettings
) -> Iterator[pa.RecordBatch]:
    """user_id and all the schemas of this module, of each user."""
    for histories in parts:
        times = local_times(histories.micros, settings.timezone)
        products = count_products(histories, times.day % 2 == 1)
        fields = [count_field(products, lookups, f) for f in range(len(lookups.fields))]
        yield _batch(
            histories,
            _sequences(histories, times, lookups, settings)
            | _bags(histories, fields, lookups)
            | _features(histories, times, fields, lookups, settings)
            | _counted(histories, fields, lookups),
        )


def _batch(histories: Histories, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([histories.users, *columns.values()], ["user_id", *columns])


def _sequences(
    histories: Histories, times: LocalTimes, lookups: Lookups, settings: RowSettings
) -> dict[str, pa.Array]:
    """The latest events as indices."""
    length = np.minimum(histories.length, settings.max_length)
    ends = histories.offsets[1:]
    place = np.arange(len(histories.micros))
    kept = np.repeat(ends, histories.length) - place <= settings.max_length
    product = histories.product[kept]
    unknown = np.full(len(product), UNKNOWN, np.int32)

    def of_field(field: int | None) -> Codes:
        if field is None:
            return unknown
        found: Codes = lookups.index[field][lookups.code[field][product]]
        return found

    arrays = {
        "item": of_field(lookups.fields.index("item")),
        "event_type": lookups.type_index[histories.type[kept]],
        "category": of_field(lookups.category),
        "brand": of_field(lookups.fields.index("brand")),
        "price": price_indices(histories.price[kept], lookups.price_edges),
        "hour_of_week": (1 + 24 * times.weekday + times.hour)[kept].astype(np.int32),
        "seconds": times.seconds[kept],
    }
    offsets = pa.array(np.concatenate([[0], np.cumsum(length)]).astype(np.int32))
    first = histories.micros[ends - length]
    last = histories.micros[ends - 1]
    moment = pa.timestamp("us", "UTC")
    return {
        "length": pa.array(length, pa.int32()),
        "events_total": pa.array(histories.length),
        "first_event_time": pa.array(first).cast(moment),
        "last_event_time": pa.array(last).cast(moment),
        **{n: pa.ListArray.from_arrays(offsets, pa.array(a)) for n, a in arrays.items()},
    }


def _bags(
    histories: Histories, fields: Sequence[TokenCounts], lookups: Lookups
) -> dict[str, pa.Array]:
    """A bag of every field for every user, by ascending index; empty where no token is known."""
    size = len(fields)
    entry, index, events, odd = [], [], [], []
    for field, counts in enumerate(fields):
        of_field = lookups.index[field][counts.code]
        known = of_field != UNKNOWN
        entry.append(counts.user[known] * size + field)
        index.append(of_field[known])
        events.append(counts.events[known])
        odd.append(counts.odd[known])
    of_entry, tokens = np.concatenate(entry), np.concatenate(index)
    order = np.lexsort((tokens, of_entry))
    bounds = np.concatenate(
        [[0], np.cumsum(np.bincount(of_entry, minlength=len(histories) * size))]
    )
    offsets = pa.array(bounds.astype(np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(values)[order], kind))
        for values, kind in ((index, pa.int32()), (events, pa.float32()), (odd, pa.float32()))
    ]
    bag = pa.StructArray.from_arrays(lists, ["tokens", "counts", "odd_days"])
    names = pa.array(list(lookups.fields) * len(histories), pa.string())
    starts = pa.array((np.arange(len(histories) + 1) * size).astype(np.int32))
    return {
        "events": pa.array(histories.length),
        "bags": pa.MapArray.from_arrays(starts, names, bag),
    }


def _features(
    histories: Histories,
    times: LocalTimes,
    fields: Sequence[TokenCounts],
    lookups: Lookups,
    settings: RowSettings,
) -> dict[str, pa.Array]:
    """The readable numbers, but for the shares of root categories."""
    users, user = len(histories), histories.user
    starts, total = histories.offsets[:-1], histories.length
    bought, returned = (
        np.array([kind == name for kind in lookups.types])[histories.type]
        for name in ("purchase", "return")
    )
    price, quantity = np.nan_to_num(histories.price), histories.quantity
    amount = price * np.where(np.isnan(quantity), 1.0, quantity)
    signed = np.where(bought, amount, np.where(returned, -amount, 0.0))
    has_price = ~np.isnan(histories.price)
    priced = np.add.reduceat(has_price.astype(np.int64), starts)
    day_begins = np.concatenate([[True], times.day[1:] != times.day[:-1]])
    day_begins[starts] = True
    sessions = _distinct(user, histories.session, users)
    hours = np.bincount(user * 24 + times.hour, minlength=users * 24).reshape(users, 24)
    weekdays = np.bincount(user * 7 + times.weekday, minlength=users * 7).reshape(users, 7)

    def days_before(micros: Ints) -> pa.Array:
        return pa.array((settings.instant_micros - micros) / (SECONDS_A_DAY * 1e6))

    def tokens(field: int | None) -> pa.Array:
        if field is None:
            return pa.array(np.zeros(users, np.int64))
        of_user = fields[field].user[fields[field].code != NO_TOKEN]
        return pa.array(np.bincount(of_user, minlength=users))

    parts = {
        name: pa.array(hours[:, list(of_part)].sum(1) / total)
        for name, of_part in DAY_PARTS.items()
    }
    return {
        "recency_days": days_before(histories.micros[histories.offsets[1:] - 1]),
        "tenure_days": days_before(histories.micros[starts]),
        "frequency": pa.array(np.add.reduceat(day_begins.astype(np.int64), starts)),
        "monetary": pa.array(np.add.reduceat(signed, starts)),
        "sessions": pa.array(sessions),
        "purchases": pa.array(np.add.reduceat(bought.astype(np.int64), starts)),
        "returns": pa.array(np.add.reduceat(returned.astype(np.int64), starts)),
        "items": tokens(lookups.fields.index("item")),
        "categories": tokens(settings.feature_category),
        "brands": tokens(lookups.fields.index("brand")),
        "average_price": pa.array(
            np.add.reduceat(price, starts) / np.maximum(priced, 1), mask=priced == 0
        ),
        "events_per_session": pa.array(total / sessions),
        "weekend_share": pa.array(weekdays[:, 5:].sum(1) / total),
        **parts,
        "type_shares": _type_shares(histories, lookups),
        "hour_shares": _matrix(hours / total[:, None]),
        "weekday_shares": _matrix(weekdays / total[:, None]),
        **_roots(users, fields, settings),
    }


def _type_shares(histories: Histories, lookups: Lookups) -> pa.Array:
    """Share of each type that the user has, types ascending."""
    once = np.ones(len(histories.micros), np.int64)
    counts = count_pairs(histories.user, histories.type.astype(np.int64), once, once)
    shares = counts.events / histories.length[counts.user]
    names = pa.array(lookups.types, pa.string()).take(pa.array(counts.code))
    return pa.MapArray.from_arrays(_offsets(counts.user, len(histories)), names, pa.array(shares))


def _roots(users: int, fields: Sequence[TokenCounts], settings: RowSettings) -> dict[str, pa.Array]:
    """Codes of root categories and the user's events in each."""
    if settings.root is None:
        nothing = pa.array(np.zeros(users + 1, np.int32))
        empty = [pa.array([], kind) for kind in (pa.int32(), pa.int64())]
        lists = [pa.ListArray.from_arrays(nothing, values) for values in empty]
        return dict(zip(("root_codes", "root_events"), lists, strict=True))
    counts = fields[settings.root]
    has_token = counts.code != NO_TOKEN
    offsets = _offsets(counts.user[has_token], users)
    codes = pa.array(counts.code[has_token], pa.int32())
    return {
        "root_codes": pa.ListArray.from_arrays(offsets, codes),
        "root_events": pa.ListArray.from_arrays(offsets, pa.array(counts.events[has_token])),
    }


def _counted(
    histories: Histories, fields: Sequence[TokenCounts], lookups: Lookups
) -> dict[str, pa.Array]:
    """Of each field, the user's events with a token and with one that the vocabulary knows."""
    users = len(histories)
    with_token = np.zeros((users, len(fields)))
    with_index = np.zeros((users, len(fields)))
    for field, counts in enumerate(fields):
        has = counts.code != NO_TOKEN
        known = lookups.index[field][counts.code] != UNKNOWN
        for matrix, chosen in ((with_token, has), (with_index, known)):
            matrix[:, field] = np.bincount(
                counts.user[chosen], weights=counts.events[chosen], minlength=users
            )
    return {
        "with_token": _matrix(with_token.astype(np.int64)),
        "with_index": _matrix(with_index.astype(np.int64)),
    }


def _distinct(user: Ints, value: Ints, users: int) -> Ints:
    """Distinct values of each user."""
    order = np.lexsort((value, user))
    by_user, by_value = user[order], value[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (by_user[1:] != by_user[:-1]) | (by_value[1:] != by_value[:-1])
    return np.bincount(by_user[is_new], minlength=users)


def _offsets(user: Ints, users: int) -> pa.Array:
    """Where the entries of each user begin, entries ascending by user."""
    ends = np.cumsum(np.bincount(user, minlength=users))
    return pa.array(np.concatenate([[0], ends]).astype(np.int32))


def _matrix(values: Ints | Floats) -> pa.Array:
    """A list of equal length for every user."""
    users, width = values.shape
    offsets = pa.array((np.arange(users + 1) * width).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))
