"""Spark columns that more than one stage needs. Pure: columns in, a column out."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def hash_fraction(user_id: Column, salt: str) -> Column:
    """A number in [0, 1) for each id; equal to ``kinsight.hashing.hash_fractions``."""
    digest = F.md5(F.concat(F.lit(f"{salt}:"), user_id).cast("binary"))
    return F.conv(F.substring(digest, 1, 8), 16, 10).cast("double") / F.lit(2.0**32)
