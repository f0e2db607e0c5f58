"""What product numbers stand for: codes and indices of their tokens, as arrays for the tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.executor.lookups import NO_TOKEN, UNKNOWN, Lookups, Products
from kinsight.sequence.products import tokens_of
from kinsight.sequence.vocabulary import Vocabulary

PRODUCTS_AT_ONCE = 500_000
"""Products whose codes come to the driver in one job: some 20 MB."""


def read_products(
    coded: DataFrame, number: int, fields: Sequence[str], types: Sequence[str]
) -> Products:
    """The code of each product in each field.

    Args:
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        number: Of products; they are numbered from 1.
        fields: The fields that ``coded`` was made with, by number.
        types: Names of the event types, ascending.
    """
    codes = np.full((len(fields), number + 1), NO_TOKEN, np.int32)
    has_token = coded.where(F.col("code").isNotNull()).select("field", "product", "code")
    for begin in range(1, number + 1, PRODUCTS_AT_ONCE):
        some = F.col("product").between(begin, begin + PRODUCTS_AT_ONCE - 1)
        rows = has_token.where(some).toArrow()
        field, product, code = (rows[name].to_numpy() for name in rows.column_names)
        codes[field, product] = code
    return Products(tuple(fields), codes, tuple(types))


def lookups_with(
    products: Products, coded: DataFrame, vocabulary: Vocabulary, category_level: int
) -> Lookups:
    """The products with the indices of a vocabulary.

    Args:
        products: See :func:`read_products`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        vocabulary: The version that sequences use.
        category_level: Level in the sequences; 0 where the shop has no categories.
    """
    index = np.full_like(products.code, UNKNOWN)
    tokens = vocabulary.tokens
    rows = token_indices(coded, tokens, products.fields).toArrow()  # a vocabulary's rows at most
    field, code, of_token = (rows[name].to_numpy() for name in rows.column_names)
    index[field, code] = of_token
    known = tokens.where(F.col("field") == "event_type").select("token", "index")
    types = {str(token): int(at) for token, at in known.collect()}
    return Lookups(
        fields=products.fields,
        code=products.code,
        types=products.types,
        index=index,
        type_index=np.array([types.get(name, UNKNOWN) for name in products.types], np.int32),
        price_edges=None if vocabulary.price_edges is None else tuple(vocabulary.price_edges),
        category=products.fields.index(f"category_{category_level}") if category_level else None,
    )


def token_indices(coded: DataFrame, tokens: DataFrame, fields: Sequence[str]) -> DataFrame:
    """The index of each product token that a vocabulary knows: field (number), code, index.

    Args:
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        tokens: A vocabulary's field (name), token and index.
        fields: The fields that ``coded`` was made with, by number.
    """
    names = F.array(*(F.lit(name) for name in fields))
    named = tokens_of(coded).withColumn("name", F.get(names, F.col("field")))
    known = tokens.select(F.col("field").alias("name"), "token", "index")
    return named.join(known, ["name", "token"]).select("field", "code", "index")
