"""Tables are what their DDL files say, and writes replace exactly one producer's rows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import Row, SparkSession
from pyspark.sql.types import StructType

from kinsight.config import TablesConfig
from kinsight.errors import IntegrityError
from kinsight.tables import (
    FrozenTables,
    Tables,
    key_predicate,
    quote,
    table_ddl,
    table_names,
    table_schema,
)
from kinsight.workspace import Workspace

FIRST, SECOND = dt.date(2024, 1, 1), dt.date(2024, 2, 1)


def vector(user: str, as_of: dt.date, model: str, value: float) -> Row:
    return Row(
        user_id=user,
        as_of=as_of,
        model_version=model,
        interest=0,
        weight=1.0,
        events_used=3,
        norm=value,
        vector=[value],
    )


def test_every_table_has_the_columns_comments_and_constraints_of_its_file(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables = Tables(spark, TablesConfig(path=str(tmp_path / "with a space")))
    tables.ensure(*table_names())
    for name in table_names():
        found = spark.table(tables.identifier(name)).schema
        expected = table_schema(name)
        assert found.simpleString() == expected.simpleString(), name
        for field in expected:
            assert found[field.name].nullable == field.nullable, f"{name}.{field.name}"
            assert found[field.name].metadata["comment"] == field.metadata["comment"]
        detail = spark.sql(f"DESCRIBE DETAIL {tables.identifier(name)}").first()
        assert detail is not None
        properties = detail["properties"]
        for constraint in [k for k in properties if k.startswith("delta.constraints.")]:
            assert f"'{constraint}'" in table_ddl(name)
        assert table_ddl(name).count("delta.constraints.") == sum(
            k.startswith("delta.constraints.") for k in properties
        )
        assert properties["delta.deletedFileRetentionDuration"] == "interval 30 days"


def test_an_independent_reader_sees_the_same_schema_and_rows(
    workspace: Callable[..., Workspace],
) -> None:
    tables = workspace().tables
    rows = tables.spark.createDataFrame(
        [vector("ä", FIRST, "m", 1.5), vector("b", FIRST, "m", 2.0)]
    )
    written = tables.replace("embeddings", rows, {"as_of": FIRST, "model_version": "m"}, "run")
    reader = DeltaTable(f"{tables.config.path}/embeddings")
    assert reader.version() == written.version
    assert [f.name for f in reader.schema().fields] == table_schema("embeddings").names
    assert len(reader.file_uris()) >= 1
    assert written.rows == tables.read("embeddings").count() == 2


def test_replace_leaves_other_producers_of_the_same_date_alone(
    workspace: Callable[..., Workspace],
) -> None:
    tables = workspace().tables
    spark = tables.spark
    for model, value in (("m1", 1.0), ("m2", 2.0), ("m1", 3.0)):
        rows = spark.createDataFrame([vector("a", FIRST, model, value)])
        tables.replace("embeddings", rows, {"as_of": FIRST, "model_version": model}, "run")
    found = {(r["model_version"], r["norm"]) for r in tables.read("embeddings").collect()}
    assert found == {("m1", 3.0), ("m2", 2.0)}


def test_a_run_is_told_its_own_commit_though_others_wrote_since(
    workspace: Callable[..., Workspace],
) -> None:
    tables = workspace().tables
    for run, users in (("mine", "ab"), ("other", "c")):
        rows = tables.spark.createDataFrame([vector(user, FIRST, run, 1.0) for user in users])
        tables.replace("embeddings", rows, {"as_of": FIRST, "model_version": run}, run)
    assert tables._commit_of("embeddings", "mine", before=0) == (1, 2)
    assert tables._commit_of("embeddings", "mine", before=1) == (2, 0), "nothing, since then"


def test_rows_outside_the_key_are_refused_by_delta(workspace: Callable[..., Workspace]) -> None:
    tables = workspace().tables
    rows = tables.spark.createDataFrame([vector("a", SECOND, "m", 1.0)])
    with pytest.raises(Exception, match="REPLACE_WHERE_MISMATCH"):
        tables.replace("embeddings", rows, {"as_of": FIRST, "model_version": "m"}, "run")


def test_a_check_constraint_is_enforced(workspace: Callable[..., Workspace]) -> None:
    tables = workspace().tables
    rows = tables.spark.createDataFrame(
        [
            Row(
                segmentation="s",
                previous_as_of=None,
                previous_id="a",
                segment_id="b",
                kind="vanished",
                users_common=1,
                overlap=0.5,
            )
        ],
        "segmentation string, previous_as_of date, previous_id string, segment_id string, "
        "kind string, users_common bigint, overlap double",
    )
    with pytest.raises(Exception, match="known_kind"):
        tables.replace("segment_lineage", rows, {"as_of": FIRST, "segmentation": "s"}, "run")


def test_missing_and_surplus_columns_are_named(workspace: Callable[..., Workspace]) -> None:
    tables = workspace().tables
    rows = tables.spark.createDataFrame([Row(user_id="a", surprise=1)])
    with pytest.raises(IntegrityError, match=r"missing: \['events_used'.*surprise"):
        tables.replace("embeddings", rows, {"as_of": FIRST, "model_version": "m"}, "run")


def test_a_table_of_another_shape_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    spark.sql(f"CREATE TABLE delta.`{tmp_path}/embeddings` (user_id STRING) USING delta")
    with pytest.raises(IntegrityError, match="another version of Kinsight"):
        Tables(spark, TablesConfig(path=str(tmp_path))).read("embeddings")


def an_older_kinsights(tables: Tables, name: str, without: str) -> None:
    """Creates a table as an older version defined it: without one column."""
    ddl = re.sub(rf"\n  {without} [^\n]*,(?=\n)", "", table_ddl(name))
    assert ddl != table_ddl(name)
    tables.spark.sql(ddl.replace("{table}", tables.identifier(name), 1))


def test_a_table_of_an_older_version_gets_the_column_that_it_lacks(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables = Tables(spark, TablesConfig(path=str(tmp_path)))
    an_older_kinsights(tables, "audiences", "levels")
    old = dict.fromkeys(table_schema("audiences").names) | {
        **dict.fromkeys(("audience", "status", "model_version", "run_id"), "published"),
        **{n: 0 for n in table_schema("audiences").names if n.startswith(("seeds_", "users_"))},
        **{"as_of": FIRST, "members": 0, "scorers": [], "scorer_weights": {}, "reasons": []},
    }
    names = [n for n in table_schema("audiences").names if n != "levels"]
    schema = StructType([table_schema("audiences")[n] for n in names])
    rows = spark.createDataFrame([tuple(old[n] for n in names)], schema)
    rows.write.format("delta").mode("append").save(f"{tmp_path}/audiences")

    new = spark.createDataFrame(
        [tuple((old | {"levels": []})[n] for n in table_schema("audiences").names)],
        table_schema("audiences"),
    )
    tables.append("audiences", new, "a run")
    found = tables.read("audiences").schema.simpleString()
    assert found == table_schema("audiences").simpleString()
    assert [row["levels"] for row in tables.read("audiences").collect()] == [[], []]
    assert [row["levels"] for row in tables.read("audiences", 1).collect()] == [[]]


def test_a_column_that_needs_a_value_cannot_be_added(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, TablesConfig(path=str(tmp_path)))
    an_older_kinsights(tables, "embeddings", "weight")
    with pytest.raises(IntegrityError, match="missing: weight"):
        tables.read("embeddings")


def test_tables_opened_for_looking_are_not_created_or_changed(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables = FrozenTables(spark, TablesConfig(path=str(tmp_path / "warehouse")))
    assert tables.read("segments").schema.names == table_schema("segments").names
    assert tables.read("segments").count() == 0
    assert tables.version("segments") == 0
    with pytest.raises(IntegrityError, match="looking only"):
        tables.append("segments", tables.read("segments"), "a run")
    with pytest.raises(IntegrityError, match="looking only"):
        tables.compact("segments")
    assert not (tmp_path / "warehouse").exists()


def test_tables_can_live_in_a_catalogue_schema(spark: SparkSession, tmp_path: Path) -> None:
    config = TablesConfig(schema="spark_catalog.kinsight_test", artifacts=str(tmp_path))
    tables = Tables(spark, config)
    rows = spark.createDataFrame([vector("a", FIRST, "m", 1.0)])
    written = tables.replace("embeddings", rows, {"as_of": FIRST, "model_version": "m"}, "run")
    assert tables.exists("embeddings")
    assert not tables.exists("sequences")
    assert tables.read("embeddings", written.version).count() == 1
    spark.sql("DROP SCHEMA spark_catalog.kinsight_test CASCADE")


def test_values_are_quoted_as_data() -> None:
    assert quote("it's \\ here") == "'it\\'s \\\\ here'"
    assert key_predicate({"as_of": FIRST, "audience": ["a", "b'c"]}) == (
        "`as_of` = DATE '2024-01-01' AND `audience` IN ('a', 'b\\'c')"
    )
    assert key_predicate({"audience": []}) == "false"
