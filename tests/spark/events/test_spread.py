"""Rows in one partition reach all cores; rows that already do stay where they are."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.spread import LEAST_ROWS_A_TASK, rows_by_task, spread


def users(spark: SparkSession, count: int, partitions: int) -> DataFrame:
    return spark.range(0, count, 1, partitions).selectExpr("cast(id as string) AS user_id")


def test_one_partition_becomes_as_many_as_its_rows_are_worth_in_the_order_of_the_key(
    spark: SparkSession,
) -> None:
    rows = users(spark, 3 * LEAST_ROWS_A_TASK, 1)
    [by_task] = rows_by_task(rows)
    found = spread(rows, "user_id", by_task).rdd.glom().map(lambda part: [r[0] for r in part])
    parts = found.collect()
    assert [len(by_task), len(parts)] == [1, 3]
    assert all(part == sorted(part) and part for part in parts)
    assert sorted(user for part in parts for user in part) == sorted(
        row[0] for row in rows.collect()
    )


@pytest.mark.parametrize(
    ("count", "partitions"), [(2 * LEAST_ROWS_A_TASK, 2), (LEAST_ROWS_A_TASK, 1)]
)
def test_enough_tasks_or_few_rows_are_left_alone(
    spark: SparkSession, count: int, partitions: int
) -> None:
    rows = users(spark, count, partitions)
    [by_task] = rows_by_task(rows)
    assert sum(by_task) == count
    assert spread(rows, "user_id", by_task) is rows


def test_further_counts_come_in_the_same_pass(spark: SparkSession) -> None:
    even = F.count_if(F.col("user_id").cast("int") % 2 == 0)
    by_task, even_by_task = rows_by_task(users(spark, 10, 2), even)
    assert (sum(by_task), sum(even_by_task)) == (10, 5)
