"""Rows onto many cores, where the files that hold them would keep only some of them busy."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

LEAST_ROWS_A_TASK = 500
"""Fewer rows are not worth a task of their own: it takes some hundredths of a second."""
TASKS = 32
"""Tasks that rows are spread over at most. The number hangs on the rows alone and not on the cores
that happen to be there: which rows share an Arrow batch decides the last bits of user vectors."""


def rows_by_task(rows: DataFrame, *more: Column) -> list[list[int]]:
    """How many rows each task would get that gets any, and further counts of these rows.

    Args:
        rows: Any rows.
        more: Counts, such as ``count_if(...)``.

    Returns:
        For the rows and for each further count, one number a task.
    """
    counted = rows.groupBy(F.spark_partition_id()).agg(F.count("*"), *more).collect()
    return [[int(row[place]) for row in counted] for place in range(1, 2 + len(more))]


def spread(rows: DataFrame, key: str, by_task: Sequence[int]) -> DataFrame:
    """The rows over ``TASKS`` tasks, or as many as they are worth, if they come in fewer.

    A table of a hundred thousand users can be one file with one row group, and one task reads a
    row group. Rows that come in enough tasks stay where they are: moving them costs more than it
    gives. Moved rows are sorted by the key.

    Args:
        rows: Any rows.
        key: A column without repeats.
        by_task: What :func:`rows_by_task` says of them.
    """
    tasks = min(TASKS, sum(by_task) // LEAST_ROWS_A_TASK)
    if tasks <= len(by_task):
        return rows
    return rows.repartition(tasks, key).sortWithinPartitions(key)
