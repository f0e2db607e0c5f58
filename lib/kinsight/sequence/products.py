"""The products of the window: each item as its events and the item table describe it.

A product is a distinct (item, category, brand) of the events. There are far fewer products than
events, so everything that follows from a product (its tokens, their indices) is worked out here
once, and an event carries nothing but the product's number through the shuffle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kinsight.bags import parts_of_cross

PATH_SEPARATOR = " > "
FIELDS_BEFORE_CATEGORIES = ("item", "brand")
CROSS_SEPARATOR = " x "
PRICE_FIFTHS = 5
MOST_PRICE = 1e9  # a greater one counts as this, so that sums cannot overflow
_KEY = ("item_id", "event_category", "event_brand")


def fields_of(levels: int, crosses: Sequence[str] = ()) -> list[str]:
    """The fields of a product: item, brand, category_1 (root) to category_N, then crosses."""
    categories = (f"category_{k}" for k in range(1, levels + 1))
    return [*FIELDS_BEFORE_CATEGORIES, *categories, *crosses]


def field_number(field: str) -> int:
    """The place of a field in :func:`fields_of`, whatever the number of levels."""
    if field in FIELDS_BEFORE_CATEGORIES:
        return FIELDS_BEFORE_CATEGORIES.index(field)
    return len(FIELDS_BEFORE_CATEGORIES) + int(field.removeprefix("category_")) - 1


def distinct_products(window: DataFrame) -> DataFrame:
    """What is told apart of events in one look at them: their products with their types.

    Args:
        window: Events that the run may see.

    Returns:
        item_id, event_category, event_brand, event_type, each combination once, with prices (how
        many events have one above 0) and price_sum.
    """
    # Decimals add up to the same sum in any order; floating-point numbers do not.
    price = F.when(F.col("price") > 0, F.least("price", F.lit(MOST_PRICE)))
    return window.groupBy(
        "item_id",
        F.col("category").alias("event_category"),
        F.col("brand").alias("event_brand"),
        "event_type",
    ).agg(F.count(price).alias("prices"), F.sum(price.cast("decimal(18, 4)")).alias("price_sum"))


def event_types(seen: DataFrame) -> list[str]:
    """The types of the events, ascending.

    Args:
        seen: See :func:`distinct_products`.
    """
    return sorted(row[0] for row in seen.select("event_type").distinct().collect())


def find_products(seen: DataFrame, items: DataFrame, instant: dt.datetime) -> DataFrame:
    """The distinct products of the events, described by what was known at the instant.

    What the event says of category and brand comes first (a category may be a path, its levels
    parted by " > "); the item row with the newest ``valid_from`` before the instant, of equal
    ones that of the newest file, fills what the event lacks.

    Args:
        seen: See :func:`distinct_products`.
        items: Table items.
        instant: The as-of instant.

    Returns:
        product (INT, numbered in the order of the key), the key (item_id, event_category,
        event_brand), and brand, path (ARRAY<STRING>, null where unknown), title and price (the
        mean of its events, null where none has one).
    """
    # Equal valid_from: the newest file wins, whose id begins with its modification time; of one
    # file the greatest content, in whatever order it came.
    row = F.struct("valid_from", "source_file_id", "category", "brand", "title")
    known = (
        items.where(F.col("valid_from") < F.lit(instant))
        .groupBy("item_id")
        .agg(F.max(row).alias("row"))
        .select("item_id", "row.category", "row.brand", "row.title")
    )
    path = F.filter(
        F.coalesce(F.split("event_category", PATH_SEPARATOR), F.col("category")),
        lambda part: part.isNotNull() & (part != ""),
    )
    mean_price = F.sum("price_sum").cast("double") / F.nullif(F.sum("prices"), F.lit(0))
    products = seen.groupBy(*_KEY).agg(mean_price.alias("price"))
    return products.join(known, "item_id", "left").select(
        # One task numbers all products; they are few beside the events.
        F.row_number().over(Window.orderBy(*_KEY)).alias("product"),
        *_KEY,
        F.coalesce("event_brand", "brand").alias("brand"),
        F.when(F.size(path) > 0, path).alias("path"),
        "title",
        "price",
    )


def with_product(window: DataFrame, products: DataFrame) -> DataFrame:
    """The events with column product in place of item_id, category and brand.

    Args:
        window: Events.
        products: See :func:`find_products`.
    """
    numbers = products.select("product", *_KEY)
    matches = (
        window["item_id"].eqNullSafe(numbers["item_id"])
        & window["category"].eqNullSafe(numbers["event_category"])
        & window["brand"].eqNullSafe(numbers["event_brand"])
    )
    joined = window.join(numbers, matches)
    columns = [window[c] for c in window.columns if c not in ("item_id", "category", "brand")]
    return joined.select(*columns, "product")


def product_tokens(products: DataFrame, levels: int, crosses: Sequence[str] = ()) -> DataFrame:
    """One row for each product and field: product, field (its number), token, label, code.

    A path shorter than the number of levels is repeated downward: at the levels below its own
    end its token is the whole path. So every product with a category has one at every level, and
    the last level is the leaf. The code (INT) stands for the token in counts: the least product
    that has it, null where the token is null.

    A cross such as brand_in_category has a token where the product has both parts. The price is
    the fifth of the product among those that share the other part, by mean price.
    """
    entries = [
        _entry(F.col("item_id"), F.coalesce("title", "item_id")),
        _entry(F.col("brand"), F.col("brand")),
    ]
    for level in range(1, levels + 1):
        end = _end_of(level)
        entries.append(_entry(_category(level), F.element_at("path", end)))
    # Window functions are no part of a generator: columns first.
    crossed = {f"cross_{n}": _cross_token(cross) for n, cross in enumerate(crosses)}
    products = products.withColumns(crossed)
    entries += [_entry(F.col(name), F.col(name)) for name in crossed]
    rows = products.select("product", F.posexplode(F.array(*entries)).alias("field", "entry"))
    same_token = Window.partitionBy("field", "entry.token")
    return rows.select(
        "product",
        "field",
        "entry.token",
        "entry.label",
        F.when(F.col("entry.token").isNotNull(), F.min("product").over(same_token)).alias("code"),
    )


def _end_of(level: int) -> Column:
    """Where a path cut to a level ends, null for a null path."""
    # least() skips nulls, and a null path must stay without token.
    return F.when(F.col("path").isNotNull(), F.least(F.lit(level), F.size("path")))


def _category(level: int) -> Column:
    """The category of a level."""
    return F.array_join(F.slice("path", 1, _end_of(level)), PATH_SEPARATOR)


def _cross_token(cross: str) -> Column:
    """What a product is in a cross, such as `Baby > Diapers x Huggies` or `... x price 4`."""
    inner, outer = parts_of_cross(cross)
    if outer == "brand":
        around = F.col("brand")
    elif outer == "category":
        around = F.array_join("path", PATH_SEPARATOR)
    else:
        around = _category(int(outer.removeprefix("category_")))
    if inner == "brand":
        within = F.col("brand")
    else:
        group = Window.partitionBy(around, F.col("price").isNull())
        cheaper = F.rank().over(group.orderBy("price")) - 1
        fifth = F.floor(cheaper * PRICE_FIFTHS / F.count("*").over(group)) + 1
        within = F.when(F.col("price").isNotNull(), F.concat(F.lit("price "), fifth))
    return F.concat(around, F.lit(CROSS_SEPARATOR), within)


def _entry(token: Column, label: Column) -> Column:
    return F.struct(token.alias("token"), label.alias("label"))


def tokens_of(coded: DataFrame) -> DataFrame:
    """One row for each token of :func:`product_tokens`: field, code, token, label."""
    return coded.where(F.col("code") == F.col("product")).select("field", "code", "token", "label")
