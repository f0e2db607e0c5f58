"""Trained models as table `models` lists them, for the stages that make and use them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from pyspark.sql import DataFrame

from kinsight.config import TablesConfig
from kinsight.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Model:
    """One row of `models`, as far as choosing one needs it; see schemas/models.sql."""

    model_version: str
    as_of: dt.date
    config: str
    config_hash: str
    vocabulary_version: str
    dimension: int
    sha256: str
    status: str


def list_models(rows: DataFrame) -> list[Model]:
    """All models of a version of the table, newest first. One row a training: small."""
    fields = [field.name for field in dataclasses.fields(Model)]
    found = rows.select(*fields, "created_at").collect()
    found.sort(key=lambda r: (r["as_of"], r["created_at"], r["model_version"]), reverse=True)
    return [Model(**{name: row[name] for name in fields}) for row in found]


def model_folder(config: TablesConfig, model_version: str) -> Path:
    """Where the files of a model lie: a folder of its name under the artifact root.

    Raises:
        ConfigError: If the artifact root is no local path.
    """
    root = config.artifact_root
    if root.startswith("file:"):
        root = "/" + root.removeprefix("file:").lstrip("/")
    if "://" in root:
        raise ConfigError(
            "Model files are written to a local path only.",
            expected="tables.artifacts as a path that this machine can write, such as a mount",
            found=root,
            to_do="set tables.artifacts to a folder; the tables themselves may stay at a URI",
        )
    return Path(root) / model_version
