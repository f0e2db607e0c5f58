"""What product numbers stand for: codes and indices of their tokens, as arrays for the tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.sequence.executor.lookups import NO_TOKEN, UNKNOWN, Codes, Lookups
from kinsight.sequence.products import fields_of, tokens_of
from kinsight.sequence.vocabulary import Vocabulary

PRODUCTS_AT_ONCE = 500_000
"""Products whose codes come to the driver in one job: some 20 MB."""


def read_codes(coded: DataFrame, products: int, levels: int) -> Codes:
    """The code of each product in each field, [fields, products + 1].

    Args:
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        products: Their number; they are numbered from 1.
        levels: Levels that ``coded`` was made with.
    """
    codes = np.full((len(fields_of(levels)), products + 1), NO_TOKEN, np.int32)
    has_token = coded.where(F.col("code").isNotNull()).select("field", "product", "code")
    for begin in range(1, products + 1, PRODUCTS_AT_ONCE):
        some = F.col("product").between(begin, begin + PRODUCTS_AT_ONCE - 1)
        rows = has_token.where(some).toArrow()
        field, product, code = (rows[name].to_numpy() for name in rows.column_names)
        codes[field, product] = code
    return codes


def bare_lookups(codes: Codes, types: Sequence[str], levels: int) -> Lookups:
    """Lookups without a vocabulary: every token is unknown."""
    return Lookups(
        fields=tuple(fields_of(levels)),
        code=codes,
        index=np.full_like(codes, UNKNOWN),
        types=tuple(types),
        type_index=np.full(len(types), UNKNOWN, np.int32),
        price_edges=None,
        category=None,
    )


def lookups_with(
    bare: Lookups, coded: DataFrame, vocabulary: Vocabulary, category_level: int
) -> Lookups:
    """The lookups with the indices of a vocabulary.

    Args:
        bare: See :func:`bare_lookups`.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        vocabulary: The version that sequences use.
        category_level: Level in the sequences; 0 where the shop has no categories.
    """
    index = np.full_like(bare.code, UNKNOWN)
    levels = len(bare.fields) - 2
    rows = token_indices(coded, vocabulary.tokens, levels).toArrow()  # a vocabulary's rows at most
    field, code, of_token = (rows[name].to_numpy() for name in rows.column_names)
    index[field, code] = of_token
    known = vocabulary.tokens.where(F.col("field") == "event_type")
    types = {str(token): int(at) for token, at in known.select("token", "index").collect()}
    return Lookups(
        fields=bare.fields,
        code=bare.code,
        index=index,
        types=bare.types,
        type_index=np.array([types.get(name, UNKNOWN) for name in bare.types], np.int32),
        price_edges=None if vocabulary.price_edges is None else tuple(vocabulary.price_edges),
        category=bare.fields.index(f"category_{category_level}") if category_level else None,
    )


def token_indices(coded: DataFrame, tokens: DataFrame, levels: int) -> DataFrame:
    """The index of each product token that a vocabulary knows: field (number), code, index.

    Args:
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        tokens: A vocabulary's field (name), token and index.
        levels: Levels that ``coded`` was made with.
    """
    names = F.array(*(F.lit(name) for name in fields_of(levels)))
    named = tokens_of(coded).withColumn("name", F.get(names, F.col("field")))
    known = tokens.select(F.col("field").alias("name"), "token", "index")
    return named.join(known, ["name", "token"]).select("field", "code", "index")
