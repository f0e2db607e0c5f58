"""Sequences that lie on no mounted disk are fetched for training by Spark's own file systems."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyspark.sql import SparkSession

from kinsight.errors import EnvironmentProblem
from kinsight.train.fetching import local_files
from kinsight.train.files import footer_rows, readable_url


@pytest.fixture
def mounted(spark: SparkSession, tmp_path: Path) -> Path:
    """A folder that Hadoop also knows as viewfs://lake/."""
    (tmp_path / "lake").mkdir()
    conf = spark.sparkContext._jsc.hadoopConfiguration()  # type: ignore[attr-defined]  # no hints
    conf.set("fs.viewfs.mounttable.lake.link./here", f"file://{tmp_path}/lake")
    conf.set("fs.viewfs.impl.disable.cache", "true")
    return tmp_path / "lake"


def test_files_of_another_file_system_are_copied_and_removed(
    spark: SparkSession, mounted: Path
) -> None:
    for number in range(2):
        table = pa.table({"length": list(range(number + 1))})
        parquet.write_table(table, mounted / f"part-0000{number} a b.parquet")
    urls = [f"viewfs://lake/here/{path.name}" for path in sorted(mounted.iterdir())]
    with local_files(spark, urls) as copies:
        assert footer_rows([readable_url(copy) for copy in copies]) == [1, 2]
        folder = Path(copies[0].removeprefix("file://")).parent
        assert folder != mounted
    assert not folder.exists()


def test_a_file_that_is_gone_is_named(spark: SparkSession, mounted: Path) -> None:
    gone = "viewfs://lake/here/part-00000.parquet"
    with pytest.raises(EnvironmentProblem, match="part-00000"), local_files(spark, [gone]):
        pass


def test_files_on_a_disk_stay_where_they_are(spark: SparkSession) -> None:
    files = ["file:/a/part-00000.parquet", "/b/part-00001.parquet"]
    with local_files(spark, files) as same:
        assert same == files
