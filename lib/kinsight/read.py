"""What notebooks and other programs read: what runs published, never half of a run.

Example:
    >>> from kinsight import read
    >>> members = read.table("shop.yaml", "segment_members", as_of="2024-06-01")  # doctest: +SKIP
    >>> read.segment("shop.yaml", "s01")["name"]  # doctest: +SKIP
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from kinsight import lookup
from kinsight.config import KinsightConfig, load_config
from kinsight.doctor import Check, examine
from kinsight.encoders.artifact import Artifact
from kinsight.lookup import Facts, UserFacts
from kinsight.plan import Planned, plan
from kinsight.progress import Progress
from kinsight.runs import RunRecord
from kinsight.spark import build_session
from kinsight.workspace import Workspace

Date = dt.date | str | None
"""A date, its text YYYY-MM-DD, or None for the newest one."""


def table(
    config: str | Path,
    name: str,
    as_of: Date = None,
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
    return lookup.published(_open(config, spark), name, as_of, **producer)


def segment(
    config: str | Path,
    segment_id: str,
    as_of: Date = None,
    *,
    segmentation: str = "main",
    spark: SparkSession | None = None,
) -> Facts:
    """The row of table ``segments`` of one segment, as a mapping.

    Raises:
        ConfigError: If the configuration is wrong, or the segmentation has none of that id.
        RefusedError: If no succeeded run published it.
    """
    return lookup.find_segment(_open(config, spark), segment_id, as_of, segmentation)


def user(
    config: str | Path, user_id: str, as_of: Date = None, *, spark: SparkSession | None = None
) -> UserFacts:
    """Features, segments, audiences and latest events of one user.

    Raises:
        ConfigError: If the configuration or the date is wrong, or the user has no history then.
        RefusedError: If nothing was published for the date.
    """
    return lookup.find_user(_open(config, spark), user_id, as_of)


def audience(
    config: str | Path, name: str, as_of: Date = None, *, spark: SparkSession | None = None
) -> Facts:
    """The row of table ``audiences`` of one audience, as a mapping.

    Raises:
        ConfigError: If the configuration is wrong, or there is no audience of that name.
        RefusedError: If no succeeded run published it.
    """
    return lookup.find_audience(_open(config, spark), name, as_of)


def model(
    config: str | Path,
    as_of: Date = None,
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
    return lookup.find_model(_open(config, spark), as_of, model_version)


def runs(config: str | Path, *, spark: SparkSession | None = None) -> list[RunRecord]:
    """Every run of every stage, oldest first."""
    return _open(config, spark).log.records()


def run(config: str | Path, run_id: str, *, spark: SparkSession | None = None) -> RunRecord:
    """One run by its id, or by the beginning of it.

    Raises:
        ConfigError: If it names no run, or several.
    """
    return lookup.find_run(_open(config, spark), run_id)


def dry_run(
    config: str | Path, as_of: dt.date | str, *, spark: SparkSession | None = None
) -> list[Planned]:
    """What `kinsight run` would read and do for a date; nothing is written.

    Raises:
        ConfigError: If the configuration, the date or an audience file is wrong.
        RefusedError: If a stage would be refused before it writes anything.
    """
    workspace = _open(config, spark)
    return plan(workspace, workspace.as_of(as_of))


def settings(config: str | Path) -> KinsightConfig:
    """The checked configuration.

    Raises:
        ConfigError: If a key or value is wrong.
    """
    return load_config(config)


def machine(config: str | Path | None = None) -> list[Check]:
    """What `kinsight doctor` finds of this machine, and of a configuration where one is given."""
    return list(examine(load_config(config) if config is not None else None))


def _open(config: str | Path, spark: SparkSession | None) -> Workspace:
    found = load_config(Path(config))
    return Workspace.look(spark or build_session(found.spark), found, Progress(quiet=True))
