"""The products of the window: each item as its events and the item table describe it.

A product is a distinct (item, category, brand) of the events. There are far fewer products than
events, so everything that follows from a product (its tokens, their indices) is worked out here
once, and an event carries nothing but the product's number through the shuffle.
"""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

PATH_SEPARATOR = " > "
FIELDS_BEFORE_CATEGORIES = ("item", "brand")
_KEY = ("item_id", "event_category", "event_brand")


def fields_of(levels: int) -> list[str]:
    """The fields of a product: item, brand, category_1 (root) to category_N."""
    return [*FIELDS_BEFORE_CATEGORIES, *(f"category_{k}" for k in range(1, levels + 1))]


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
        item_id, event_category, event_brand, event_type, each combination once.
    """
    return window.select(
        "item_id",
        F.col("category").alias("event_category"),
        F.col("brand").alias("event_brand"),
        "event_type",
    ).distinct()


def event_types(seen: DataFrame) -> list[str]:
    """The types of the events, ascending.

    Args:
        seen: See :func:`distinct_products`.
    """
    return sorted(row[0] for row in seen.select("event_type").distinct().collect())


def find_products(seen: DataFrame, items: DataFrame, instant: dt.datetime) -> DataFrame:
    """The distinct products of the events, described by what was known at the instant.

    What the event says of category and brand comes first (a category may be a path, its levels
    parted by " > "); the item row with the newest ``valid_from`` before the instant fills what
    the event lacks.

    Args:
        seen: See :func:`distinct_products`.
        items: Table items.
        instant: The as-of instant.

    Returns:
        product (INT, numbered in the order of the key), the key (item_id, event_category,
        event_brand), and brand, path (ARRAY<STRING>, null where unknown) and title.
    """
    known = (
        items.where(F.col("valid_from") < F.lit(instant))
        .groupBy("item_id")
        # Equal valid_from: the greatest content wins, whatever file or order it came in.
        .agg(F.max(F.struct("valid_from", "category", "brand", "title")).alias("row"))
        .select("item_id", "row.category", "row.brand", "row.title")
    )
    path = F.filter(
        F.coalesce(F.split("event_category", PATH_SEPARATOR), F.col("category")),
        lambda part: part.isNotNull() & (part != ""),
    )
    products = seen.select(*_KEY).distinct()
    return products.join(known, "item_id", "left").select(
        # One task numbers all products; they are few beside the events.
        F.row_number().over(Window.orderBy(*_KEY)).alias("product"),
        *_KEY,
        F.coalesce("event_brand", "brand").alias("brand"),
        F.when(F.size(path) > 0, path).alias("path"),
        "title",
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


def product_tokens(products: DataFrame, levels: int) -> DataFrame:
    """One row for each product and field: product, field (its number), token, label, code.

    A path shorter than the number of levels is repeated downward: at the levels below its own
    end its token is the whole path. So every product with a category has one at every level, and
    the last level is the leaf. The code (INT) stands for the token in counts: the least product
    that has it, null where the token is null.
    """
    entries = [
        _entry(F.col("item_id"), F.coalesce("title", "item_id")),
        _entry(F.col("brand"), F.col("brand")),
    ]
    for level in range(1, levels + 1):
        # least() skips nulls, and a null path must stay without token.
        end = F.when(F.col("path").isNotNull(), F.least(F.lit(level), F.size("path")))
        entries.append(
            _entry(
                F.array_join(F.slice("path", 1, end), PATH_SEPARATOR),
                F.element_at("path", end),
            )
        )
    rows = products.select("product", F.posexplode(F.array(*entries)).alias("field", "entry"))
    same_token = Window.partitionBy("field", "entry.token")
    return rows.select(
        "product",
        "field",
        "entry.token",
        "entry.label",
        F.when(F.col("entry.token").isNotNull(), F.min("product").over(same_token)).alias("code"),
    )


def _entry(token: Column, label: Column) -> Column:
    return F.struct(token.alias("token"), label.alias("label"))


def tokens_of(coded: DataFrame) -> DataFrame:
    """One row for each token of :func:`product_tokens`: field, code, token, label."""
    return coded.where(F.col("code") == F.col("product")).select("field", "code", "token", "label")
