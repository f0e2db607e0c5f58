"""What notebooks and other programs read: tables as runs published them, never half of a run.

Example:
    >>> from kinsight import read
    >>> members = read.table("shop.yaml", "segment_members", as_of="2024-06-01")  # doctest: +SKIP
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.config import load_config
from kinsight.dates import parse_date
from kinsight.embed.model import choose_model, read_model
from kinsight.encoders.artifact import Artifact
from kinsight.errors import ConfigError, RefusedError
from kinsight.models import list_models
from kinsight.progress import Progress
from kinsight.runs import RunRecord
from kinsight.spark import build_session
from kinsight.tables import table_names
from kinsight.workspace import Workspace


def table(
    config: str | Path,
    name: str,
    as_of: dt.date | str | None = None,
    *,
    spark: SparkSession | None = None,
    **producer: str,
) -> DataFrame:
    """The rows of a table that its newest succeeded run published.

    Args:
        config: YAML file of the shop.
        name: Table, such as ``segment_members``.
        as_of: Exactly this date; the latest one by default.
        spark: A session with Delta; by default the running one, or a new one.
        producer: Which of several, such as ``segmentation="main"`` or ``audience="vip"``; the one
            of the newest run by default.

    Returns:
        The rows of that date and producer, at the Delta version that the run recorded.

    Raises:
        ConfigError: If the configuration, the table or the date is wrong.
        RefusedError: If no succeeded run published it.
    """
    return published(_open(config, spark), name, as_of, **producer)


def runs(config: str | Path, *, spark: SparkSession | None = None) -> list[RunRecord]:
    """Every run of every stage, oldest first.

    Args:
        config: YAML file of the shop.
        spark: As for :func:`table`.
    """
    return _open(config, spark).log.records()


def model(
    config: str | Path,
    as_of: dt.date | str | None = None,
    model_version: str | None = None,
    *,
    spark: SparkSession | None = None,
) -> Artifact:
    """The model that stage `embed` would take, for :func:`kinsight.embed.udf.embed_udf`.

    Args:
        config: YAML file of the shop.
        as_of: Date of the sequences to encode: the model may know nothing after it. By default
            any model will do.
        model_version: A certain model; by default ``embed.model_version`` of the configuration,
            else the newest ready one.
        spark: As for :func:`table`.

    Raises:
        ConfigError: If the configuration or the date is wrong.
        RefusedError: If no run trained such a model, or it has seen events after the date.
        IntegrityError: If its files are missing or damaged.
    """
    workspace = _open(config, spark)
    date = parse_date(as_of) if isinstance(as_of, str) else as_of
    wanted = model_version or workspace.config.embed.model_version
    producer = {} if wanted is None else {"model_version": wanted}
    found = workspace.log.newest(
        "models", not_after=date if wanted is None else None, producer=producer
    )
    if found is None:
        raise _unpublished("models", date, producer)
    models = list_models(workspace.tables.read("models", found.version))
    latest = max(m.as_of for m in models)
    return read_model(workspace.config.tables, choose_model(models, date or latest, wanted))


def published(
    workspace: Workspace, name: str, as_of: dt.date | str | None = None, **producer: str
) -> DataFrame:
    """As :func:`table`, in an open workspace."""
    if name not in table_names():
        raise ConfigError(
            f"There is no table {name}.",
            expected=", ".join(table_names()),
            found=name,
            to_do="correct the name",
        )
    date = parse_date(as_of) if isinstance(as_of, str) else as_of
    found = workspace.log.newest(name, as_of=date, producer=producer)
    if found is None:
        raise _unpublished(name, date, producer)
    rows = workspace.tables.read(name, found.version)
    if found.record.as_of is not None and "as_of" in rows.columns:
        rows = rows.where(F.col("as_of") == F.lit(found.record.as_of))
    for column, values in found.record.producer.items():
        if column in rows.columns:
            chosen = [producer[column]] if column in producer else values
            rows = rows.where(F.col(column).isin(chosen))
    return rows


def _unpublished(name: str, date: dt.date | None, producer: Mapping[str, str]) -> RefusedError:
    wanted = ", ".join([*([str(date)] if date else []), *map("=".join, producer.items())])
    return RefusedError(
        f"Nothing published {name} yet.",
        expected=f"a succeeded run{f' for {wanted}' if wanted else ''}",
        found="none in table runs",
        to_do="`read.runs(config)` lists what there is; `kinsight run` makes more",
    )


def _open(config: str | Path, spark: SparkSession | None) -> Workspace:
    settings = load_config(Path(config))
    return Workspace.open(spark or build_session(settings.spark), settings, Progress(quiet=True))
