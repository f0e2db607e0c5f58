"""Which model encodes a date, and its files, checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from kinsight.config import TablesConfig
from kinsight.encoders.artifact import Artifact, read_recorded
from kinsight.errors import RefusedError
from kinsight.models import Model, model_folder


def choose_model(models: Sequence[Model], date: dt.date, wanted: str | None) -> Model:
    """The model asked for, or the newest ready one whose as-of is not later than the date.

    Args:
        models: All models, newest first.
        date: As-of date of what is to be encoded.
        wanted: A model version; None for the newest.

    Raises:
        RefusedError: If there is none, or the one asked for knows what came after the date.
    """
    if wanted is None:
        found = [m for m in models if m.status == "ready" and m.as_of <= date]
    else:
        found = [m for m in models if m.model_version == wanted]
    if not found or found[0].status != "ready":
        raise RefusedError(
            "There is no model to encode with.",
            expected="a model with status ready" + (f" named {wanted}" if wanted else ""),
            found=f"status {found[0].status}" if found else "retired models only",
            to_do=f"run `kinsight train --as-of {date}`, or change embed.model_version",
        )
    if found[0].as_of > date:
        raise RefusedError(
            f"Model {wanted} has seen events after {date}.",
            expected=f"a model with an as-of up to {date}",
            found=f"as-of {found[0].as_of}",
            to_do="leave embed.model_version out, which takes the newest model of the time",
        )
    return found[0]


def read_model(tables: TablesConfig, model: Model) -> Artifact:
    """The files of a model, checked before any executor sees them.

    Raises:
        IntegrityError: If they are missing, damaged, or those of another model.
    """
    folder = model_folder(tables, model.model_version)
    artifact = read_recorded(folder, model.sha256, model.vocabulary_version)
    artifact.build()
    return artifact
