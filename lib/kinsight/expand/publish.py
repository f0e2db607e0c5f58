"""The rows of audiences and audience_curves."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.dates import AsOf
from kinsight.errors import KinsightError
from kinsight.expand.admitted import SeedCounts
from kinsight.expand.evaluation import RANDOM, CurvePoint, curve, random_curve
from kinsight.expand.fitting import Expansion
from kinsight.expand.reasons import Reason
from kinsight.expand.roles import SEED_LEVEL
from kinsight.runs import StageRun, newest_publication


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An audience that the gate, or its lists, refused."""

    name: str
    counts: SeedCounts
    needed: int
    error: KinsightError


@dataclasses.dataclass(frozen=True)
class LevelFacts:
    """What the members within one size level are like.

    Attributes:
        threshold: Lowest score.
        mean_score: Mean score.
        similarity: Mean cosine to the seeds' centre; None where nobody has a vector.
    """

    threshold: float
    mean_score: float
    similarity: float | None


@dataclasses.dataclass(frozen=True)
class Churn:
    """What left since the previous published date."""

    previous_as_of: dt.date
    share: float


def level_facts(
    members: DataFrame, expansions: Iterable[Expansion]
) -> dict[str, dict[str, LevelFacts]]:
    """Facts of every level of every audience, each level holding the smaller ones."""
    # Decimals add up to the same sum in any order; floating-point numbers do not.
    exact = "decimal(28, 9)"
    rows = (
        members.where(F.col("level") != SEED_LEVEL)
        .groupBy("audience", "level")
        .agg(
            F.count("*").alias("users"),
            F.min("score").alias("lowest"),
            F.sum(F.col("score").cast(exact)).alias("scores"),
            F.count("similarity").alias("with_vector"),
            F.sum(F.col("similarity").cast(exact)).alias("similarities"),
        )
        .collect()
    )
    by_level = {(row["audience"], row["level"]): row for row in rows}
    facts: dict[str, dict[str, LevelFacts]] = {}
    for expansion in expansions:
        users = with_vector = 0
        scores = similarities = 0.0
        of_level = facts[expansion.audience.name] = {}
        for level in expansion.levels:
            row = by_level[expansion.audience.name, level.name]
            users += row["users"]
            scores += float(row["scores"])
            with_vector += row["with_vector"]
            similarities += float(row["similarities"] or 0)
            similarity = similarities / with_vector if with_vector else None
            of_level[level.name] = LevelFacts(row["lowest"], scores / users, similarity)
    return facts


def published_row(
    expansion: Expansion,
    as_of: AsOf,
    facts: Mapping[str, LevelFacts],
    churn: Churn | None,
    reasons: Iterable[Reason],
) -> dict[str, Any]:
    """The row of a published audience."""
    audience, reference = expansion.audience, expansion.reference
    held_out = {level.name: expansion.chosen.recall(level.share) for level in expansion.levels}
    measures = [
        (
            line.name,
            line.auc,
            line.auc_error,
            line.recall(reference.share),
            line.recall(reference.share) / reference.share,
            line.seconds,
        )
        for line in expansion.lines
    ]
    return _row(audience.name, audience.counts, audience.needed) | {
        "status": "published",
        "members": expansion.members,
        "scorer": expansion.chosen.name,
        "scorer_reason": expansion.choice.reason,
        "scorers": [*measures, (RANDOM, 0.5, 0.0, reference.share, 1.0, 0.0)],
        "scorer_weights": dict(expansion.choice.weights),
        "reference_share": reference.share,
        "verdict": expansion.verdict.word,
        "verdict_text": expansion.verdict.text,
        "levels": [
            (
                level.name,
                level.share,
                level.reach,
                facts[level.name].threshold,
                facts[level.name].mean_score,
                held_out[level.name],
                held_out[level.name] / level.share,
            )
            for level in expansion.levels
        ],
        "reasons": [reason.row() for reason in reasons],
        "churn": churn.share if churn else None,
        "previous_as_of": churn.previous_as_of if churn else None,
        "valid_until": as_of.date + dt.timedelta(days=audience.valid_days),
    }


def refused_row(refusal: Refusal) -> dict[str, Any]:
    """The row of a refused audience."""
    return _row(refusal.name, refusal.counts, refusal.needed) | {
        "status": "refused",
        "refusal_reason": refusal.error.text(),
    }


def _row(name: str, counts: SeedCounts, needed: int) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("refusal_reason", "scorer", "scorer_reason", "reference_share", "verdict", "verdict_text")
    )
    return {
        **empty,
        **dict.fromkeys(("churn", "previous_as_of", "valid_until")),
        "audience": name,
        "seeds_sent": counts.sent,
        "seeds_duplicate": counts.duplicate,
        "seeds_unknown": counts.unknown,
        "seeds_ineligible": counts.ineligible,
        "seeds_matched": counts.matched,
        "seeds_needed": needed,
        "users_eligible": counts.eligible,
        "users_suppressed": counts.suppressed,
        "members": 0,
        "scorers": [],
        "scorer_weights": {},
        "levels": [],
        "reasons": [],
    }


def curve_rows(expansion: Expansion, facts: Mapping[str, LevelFacts]) -> list[dict[str, Any]]:
    """The held-out curves of an audience: its scorers, the activity line, the random line."""
    shares = [level.share for level in expansion.levels]
    points: list[CurvePoint] = [p for line in expansion.lines for p in curve(line, shares)]
    points += random_curve(expansion.audience.counts.matched, shares)
    by_share = {level.share: level for level in expansion.levels}
    return [
        {
            "audience": expansion.audience.name,
            "scorer": point.scorer,
            "share": point.share,
            "reach": by_share[point.share].reach,
            "recall": point.recall,
            "recall_low": point.recall_low,
            "recall_high": point.recall_high,
            "lift": point.lift,
            "similarity": facts[by_share[point.share].name].similarity
            if point.scorer == expansion.chosen.name
            else None,
            "is_chosen": point.scorer == expansion.chosen.name,
        }
        for point in points
    ]


def churn_since_previous(
    run: StageRun, as_of: AsOf, members: DataFrame, names: Sequence[str]
) -> dict[str, Churn]:
    """For each audience, the share of its previous members that left.

    Previous is the latest earlier date at which the audience was published, as the newest run of
    an earlier date left the tables, or as this date's run before this one read them.

    Args:
        run: The run.
        as_of: The date.
        members: audience, user_id, level of this date.
        names: Audiences published at this date.
    """
    newest = newest_publication(run.records(), "audience_members", before=as_of.date)
    if newest is None:
        return {}
    versions = {
        table: run.earlier_version(table) or newest.record.outputs[table]
        for table in ("audiences", "audience_members")
    }
    earlier = (
        run.read("audiences", versions["audiences"])
        .where(F.col("audience").isin(list(names)) & (F.col("as_of") < F.lit(as_of.date)))
        .where(F.col("status") == "published")
        .groupBy("audience")
        .agg(F.max("as_of").alias("as_of"))
    )
    here = members.select("audience", "user_id", F.lit(1).alias("stays"))
    compared = (
        run.read("audience_members", versions["audience_members"])
        .where(F.col("level") != SEED_LEVEL)
        .join(F.broadcast(earlier), ["audience", "as_of"])
        .join(here, ["audience", "user_id"], "left")
        .groupBy("audience", "as_of")
        .agg(F.count("*"), F.count("stays"))
    )
    return {r[0]: Churn(r[1], 1.0 - r[3] / r[2]) for r in compared.collect()}
