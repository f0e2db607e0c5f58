"""Raw rows to rows of the tables, each with a reason where it is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.config import (
    EventSourceConfig,
    IdentitySourceConfig,
    IngestConfig,
    ItemSourceConfig,
    UserSourceConfig,
)
from kinsight.errors import RefusedError
from kinsight.ingest import mapping, validation
from kinsight.ingest.mapping import Field
from kinsight.ingest.reading import FILE_ID, row_type

REASON, RAW = "reason", "raw"
CONTENT = (
    "user_id",
    "event_time",
    "event_type",
    "item_id",
    "category",
    "brand",
    "price",
    "quantity",
    "session_id",
    "channel",
    "country",
)

_TEXTS = ("item_id", "category", "brand", "session_id", "channel", "country", "event_id")


def event_rows(
    rows: DataFrame, source: EventSourceConfig, config: IngestConfig, now: dt.datetime, path: str
) -> DataFrame:
    """Rows of events: ``CONTENT``, event_id, source_file_id, reason and raw.

    Args:
        rows: Raw rows, see ``read_rows``.
        source: Their source.
        config: Limits of event times.
        now: Time of the run, for the default of ``latest_event``.
        path: One of the files, for messages.
    """
    fields = mapping.bind(source, row_type(rows), ("user_id", "event_time", "event_type"), path)
    user_id = mapping.text(fields["user_id"])
    time = mapping.instant(fields["event_time"], source.time_format, source.timezone)
    name = mapping.text(fields["event_type"])
    keep_unlisted = source.unlisted_event_types == "keep"
    kind = mapping.event_type(name, source.event_types, keep_unlisted)
    price, quantity, amount = (_number(fields, n) for n in ("price", "quantity", "amount"))

    # Shops export returns as negative quantities; the amount is then negative as well.
    kind = F.when(quantity < 0, F.lit("return")).otherwise(kind)
    # A line without a quantity is one unit; of none, the price of one is not known.
    units = F.coalesce(quantity, F.lit(1.0))
    unit_price = amount / F.when(units != 0, units)
    unit_price = F.when(kind == "return", F.abs(unit_price)).otherwise(unit_price)
    final_price = F.coalesce(price, unit_price)
    latest = config.latest_event or (now + dt.timedelta(days=1)).date()
    checks = [
        validation.fits_its_format(),
        validation.is_present(user_id, fields["user_id"]),
        validation.is_readable(time, fields["event_time"], _expected_time(source.time_format)),
        validation.is_present(time, fields["event_time"]),
        *validation.is_within(time, fields["event_time"], config.earliest_event, latest),
        validation.is_present(name, fields["event_type"]),
        validation.refuse_when(kind.isNull(), f"{fields['event_type'].label} is not listed"),
        *_number_checks(fields, price=price, quantity=quantity, amount=amount),
        validation.is_not_negative(final_price, "price"),
        validation.refuse_when(F.abs(final_price) == float("inf"), "amount is too large"),
    ]
    texts = {n: mapping.text(fields[n]) if n in fields else _null() for n in _TEXTS}
    columns = texts | {
        "user_id": user_id,
        "event_time": time,
        "event_type": kind,
        "price": final_price,
        "quantity": F.abs(quantity),
    }
    return _finish(rows, columns, checks)


def item_rows(rows: DataFrame, source: ItemSourceConfig, path: str) -> DataFrame:
    """Rows of items: the columns of the table but run_id, with reason and raw."""
    types = row_type(rows)
    fields = mapping.bind(source, types, ("item_id",), path)
    levels = [mapping.source_field(source, types, c, path, c) for c in source.category_path]
    attributes = [mapping.source_field(source, types, c, path, c) for c in source.attributes]
    item_id = mapping.text(fields["item_id"])
    price = _number(fields, "price")
    valid_from, time_checks = _valid_from(source, fields)
    checks = [
        validation.fits_its_format(),
        validation.is_present(item_id, fields["item_id"]),
        *time_checks,
        *_number_checks(fields, price=price),
        validation.is_not_negative(price, "price"),
    ]
    columns = {
        "item_id": item_id,
        "valid_from": valid_from,
        "category": mapping.path_of([mapping.text(level) for level in levels]),
        "brand": mapping.text(fields["brand"]) if "brand" in fields else _null(),
        "title": mapping.text(fields["title"]) if "title" in fields else _null(),
        "price": price,
        "attributes": mapping.map_of({f.name: mapping.text(f) for f in attributes}, "string"),
        "content_vector": F.lit(None).cast("array<float>"),
    }
    return _finish(rows, columns, checks)


def user_rows(rows: DataFrame, source: UserSourceConfig, path: str) -> DataFrame:
    """Rows of users: the columns of the table but run_id, with reason and raw."""
    types = row_type(rows)
    fields = mapping.bind(source, types, ("user_id",), path)
    attributes = [mapping.source_field(source, types, c, path, c) for c in source.attributes]
    consent = [mapping.source_field(source, types, c, path, c) for c in source.consent]
    user_id = mapping.text(fields["user_id"])
    valid_from, time_checks = _valid_from(source, fields)
    flags = {field.name: mapping.flag(field) for field in consent}
    checks = [
        validation.fits_its_format(),
        validation.is_present(user_id, fields["user_id"]),
        *time_checks,
        *(validation.is_readable(flags[f.name], f, "yes or no") for f in consent),
    ]
    columns = {
        "user_id": user_id,
        "valid_from": valid_from,
        "attributes": mapping.map_of({f.name: mapping.text(f) for f in attributes}, "string"),
        "consent": mapping.map_of(flags, "boolean"),
    }
    return _finish(rows, columns, checks)


def identity_rows(rows: DataFrame, source: IdentitySourceConfig, path: str) -> DataFrame:
    """Rows of identities: the columns of the table but run_id, with reason and raw.

    Raises:
        RefusedError: If neither known_from nor valid_from is given: a link without either would be
            known before the login that made it.
    """
    types = row_type(rows)
    fields = mapping.bind(source, types, ("anonymous_id", "user_id"), path)
    if "known_from" not in fields and "valid_from" not in fields:
        raise RefusedError(
            f"Source {source.name} does not say when its links became known.",
            expected="column `known_from`, such as the time of the login, or `valid_from`",
            found=f"{', '.join(types.names)} in {path}",
            to_do="map `known_from`; for links that were known before the first event, set "
            "constants: {known_from: '1970-01-01'}",
        )
    anonymous_id, user_id = (mapping.text(fields[n]) for n in ("anonymous_id", "user_id"))
    times = {
        name: mapping.instant(fields[name], source.time_format, source.timezone)
        if name in fields
        else F.lit(None).cast("timestamp")
        for name in ("known_from", "valid_from", "valid_to")
    }
    # A single row without it would be seen from valid_from on, before the login that made it.
    known_from = times["known_from" if "known_from" in fields else "valid_from"]
    valid_from = F.coalesce(times["valid_from"], _always())
    expected = _expected_time(source.time_format)
    known = fields.get("known_from") or fields["valid_from"]
    checks = [
        validation.fits_its_format(),
        validation.is_present(anonymous_id, fields["anonymous_id"]),
        validation.is_present(user_id, fields["user_id"]),
        validation.refuse_when(anonymous_id == user_id, "anonymous_id and user_id are the same"),
        *(validation.is_readable(t, fields[n], expected) for n, t in times.items() if n in fields),
        validation.is_present(known_from, known),
        validation.refuse_when(times["valid_to"] <= valid_from, "valid_to is not after valid_from"),
    ]
    columns = {
        "anonymous_id": anonymous_id,
        "user_id": user_id,
        "known_from": known_from,
        "valid_from": valid_from,
        "valid_to": times["valid_to"],
    }
    return _finish(rows, columns, checks)


def _finish(rows: DataFrame, columns: dict[str, Column], checks: Sequence[Column]) -> DataFrame:
    reason = validation.first_reason(checks)
    return rows.select(
        *(column.alias(name) for name, column in columns.items()),
        FILE_ID,
        reason.alias(REASON),
        validation.raw_json(reason).alias(RAW),
    )


def _number(fields: dict[str, Field], name: str) -> Column:
    return mapping.number(fields[name]) if name in fields else F.lit(None).cast("double")


def _number_checks(fields: dict[str, Field], **values: Column) -> list[Column]:
    return [
        validation.is_readable(value, fields[name], "a number")
        for name, value in values.items()
        if name in fields
    ]


def _valid_from(
    source: ItemSourceConfig | UserSourceConfig, fields: dict[str, Field]
) -> tuple[Column, list[Column]]:
    """From when on a row holds, 1970-01-01 where it does not say, and the check of its value."""
    if "valid_from" not in fields:
        return _always(), []
    field = fields["valid_from"]
    time = mapping.instant(field, source.time_format, source.timezone)
    check = validation.is_readable(time, field, _expected_time(source.time_format))
    return F.coalesce(time, _always()), [check]


def _expected_time(time_format: str | None) -> str:
    return f"a time ({time_format or 'ISO 8601'})"


def _always() -> Column:
    return F.lit(dt.date(1970, 1, 1)).cast("timestamp")


def _null() -> Column:
    return F.lit(None).cast("string")
