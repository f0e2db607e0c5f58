"""Which vocabulary version a date uses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from pyspark.sql import functions as F

from kinsight.errors import IntegrityError
from kinsight.runs import RunRecord, StageRun


def version_to_use(run: StageRun, date: dt.date) -> str | None:
    """The vocabulary version of a date, or None where one has to be made.

    The rule: the vocabulary of the newest ready model whose as-of is not later than the date;
    without such a model the newest published vocabulary whose as-of is not later; else none. A
    later vocabulary is never used, because it knows tokens of the date's future.

    Raises:
        IntegrityError: If the model's vocabulary was never published, or is later than the date.
    """
    records = run.records()
    made = published_vocabularies(records)
    wanted = _version_of_newest_model(run, records, date)
    if wanted is None:
        usable = [(as_of, number, v) for number, (v, as_of) in enumerate(made.items())]
        return max(((a, n, v) for a, n, v in usable if a <= date), default=(None, 0, None))[2]
    if wanted not in made or made[wanted] > date:
        raise IntegrityError(
            f"The vocabulary {wanted} of the newest model cannot be used as of {date}.",
            expected="a vocabulary that a run of `sequence` published for this date or earlier",
            found=f"it is of {made[wanted]}" if wanted in made else "no such publication in runs",
            to_do="run `kinsight sequence --new-vocabulary` and train again",
        )
    return wanted


def published_vocabularies(records: Iterable[RunRecord]) -> dict[str, dt.date]:
    """Every published vocabulary version and its as-of date, in the order they were made.

    A version's as-of is the earliest date that a run published it for: the run that made it did
    so for its own date, and no earlier date may use it.
    """
    made: dict[str, dt.date] = {}
    for record in records:
        if record.status != "succeeded" or "vocabularies" not in record.outputs:
            continue
        for version in record.producer.get("vocabulary_version", []):
            if record.as_of is not None:
                made[version] = min(record.as_of, made.get(version, record.as_of))
    return made


def _version_of_newest_model(
    run: StageRun, records: Iterable[RunRecord], date: dt.date
) -> str | None:
    """The vocabulary of the newest published ready model that is not later than the date."""
    publications = [r for r in records if r.status == "succeeded" and "models" in r.outputs]
    if not publications:
        return None
    published = {v for r in publications for v in r.producer.get("model_version", [])}
    models = run.read("models", max(r.outputs["models"] for r in publications))
    newest = (
        models.where(F.col("model_version").isin(sorted(published)))
        .where((F.col("status") == "ready") & (F.col("as_of") <= F.lit(date)))
        .orderBy(F.desc("as_of"), F.desc("created_at"), F.desc("model_version"))
        .select("vocabulary_version")
        .first()
    )
    return None if newest is None else str(newest[0])
