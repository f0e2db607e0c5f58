"""Spark and Python draw the same sample."""

from __future__ import annotations

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kinsight.columns import hash_fraction
from kinsight.hashing import hash_fractions


def test_both_forms_agree_and_salts_are_independent(spark: SparkSession) -> None:
    ids = [f"user-{i}" for i in range(500)] + ["ünï", ""]
    rows = spark.createDataFrame([(i,) for i in ids], ["id"])
    found = rows.select(hash_fraction(F.col("id"), "salt").alias("x")).collect()
    here = hash_fractions(ids, "salt")
    np.testing.assert_array_equal([r["x"] for r in found], here)
    other = hash_fractions(ids, "other")
    assert abs(np.corrcoef(here, other)[0, 1]) < 0.15
    assert 0.4 < here.mean() < 0.6
