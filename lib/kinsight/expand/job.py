"""Stage `expand`: every audience file of the folder to one audience of the date."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from kinsight.config import ExpandConfig
from kinsight.dates import AsOf
from kinsight.expand.admitted import Admitted, SeedCounts
from kinsight.expand.collecting import collect_basis, collect_samples
from kinsight.expand.definition import AudienceDefinition, load_audiences
from kinsight.expand.evaluation import FEWEST_WITHIN
from kinsight.expand.executor import NUMBERED
from kinsight.expand.executor_fits import fit_in_executors
from kinsight.expand.fitting import Expansion, fit_expansion
from kinsight.expand.gate import (
    by_construction,
    count_seeds,
    oversized,
    refusal,
    refusal_of_model,
    seeds_needed,
)
from kinsight.expand.inputs import Inputs, read_inputs
from kinsight.expand.lists import ListKey, Lists, read_lists
from kinsight.expand.naming import reasons_of
from kinsight.expand.parallel import side_by_side
from kinsight.expand.predicates import Predicate
from kinsight.expand.publish import (
    Refusal,
    churn_since_previous,
    curve_rows,
    level_facts,
    published_row,
    refused_row,
)
from kinsight.expand.ranking import (
    count_placed,
    place_users,
    rank_users,
    reach_is_filled,
)
from kinsight.expand.roles import LISTED, TRUTH, UNSURE
from kinsight.expand.roster import Roster, build_roster, compile_predicates
from kinsight.expand.scoring import score_users
from kinsight.expand.truth import truth_metrics
from kinsight.runs import StageRun, StageSummary
from kinsight.tables import KeyValue, table_schema
from kinsight.workspace import Workspace


def run_expand(workspace: Workspace, as_of: AsOf, *, latest_input: bool = False) -> StageSummary:
    """Expand the seeds of every audience of the configured folder.

    An audience that the gate refuses gets a row that says why and no members; the others go on.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date.
        latest_input: Read the newest user attributes even if this date's run read others.

    Raises:
        ConfigError: If the folder or an audience file is wrong.
        RefusedError: If an earlier stage published nothing for the date.
        IntegrityError: If an audience needs the encoder, and its files are not what was trained.
    """
    config = workspace.config.expand
    with workspace.run("expand", as_of, config, latest_input) as run:
        audiences = load_audiences(config)
        predicates = compile_predicates(audiences)
        inputs = read_inputs(run, as_of, audiences)
        with run.step("matching the seeds"):
            lists = read_lists(workspace.spark, inputs, audiences)
            readable = [a for a in audiences if a.name not in lists.refused]
            roster = build_roster(inputs, readable, lists, predicates, config.seed)
            admitted, refused = _apply_gate(audiences, inputs, lists, roster, config)
        inputs = dataclasses.replace(inputs, basis=collect_basis(roster, inputs, admitted))
        _tell(run, admitted, refused, predicates, config)
        _tell_of_lists(run, admitted, lists, roster)
        expansions = _fit(run, roster, inputs, admitted, config)
        names = [a.name for a in audiences]
        run.producer = {"audience": names, "model_version": [inputs.model_version]}
        _publish(run, as_of, roster, inputs, expansions, refused, names)
        roster.frame.unpersist()
        lists.entries.unpersist()
        return run.summary()


def _apply_gate(
    audiences: Iterable[AudienceDefinition],
    inputs: Inputs,
    lists: Lists,
    roster: Roster,
    config: ExpandConfig,
) -> tuple[list[Admitted], list[Refusal]]:
    """Part the audiences into those that go on and those that are refused."""
    admitted, refused = [], []
    for audience in audiences:
        needed = seeds_needed(audience, config)
        unreadable = lists.refused.get(audience.name)
        if unreadable is not None:
            refused.append(Refusal(audience.name, SeedCounts(), needed, unreadable))
            continue
        counts = count_seeds(audience, lists, roster)
        reason = refusal_of_model(audience, inputs.model, inputs.model_version)
        reason = reason or refusal(audience, counts, needed, lists, roster)
        if reason is not None:
            refused.append(Refusal(audience.name, counts, needed, reason))
        else:
            days = audience.valid_days or config.valid_days
            admitted.append(Admitted(audience, counts, needed, days))
    return admitted, refused


def _tell(
    run: StageRun,
    admitted: Sequence[Admitted],
    refused: Sequence[Refusal],
    predicates: Mapping[ListKey, Predicate],
    config: ExpandConfig,
) -> None:
    """Count and warn: what was refused and why, where seeds are few or were made from features."""
    run.counts["audiences_published"] = len(admitted)
    run.counts["audiences_refused"] = len(refused)
    for missed in refused:
        run.warn(f"audience {missed.name} is refused: {missed.error.text()}")
    for audience in admitted:
        counts = audience.counts
        run.counts[f"{audience.name}.seeds_sent"] = counts.sent
        run.counts[f"{audience.name}.seeds_matched"] = counts.matched
        circular = by_construction(audience.definition, predicates.get((audience.name, "seeds")))
        if circular is not None:
            run.warn(f"audience {audience.name}: {circular}")
        too_large = oversized(audience.definition.sizes or config.sizes, counts.ranked)
        if too_large is not None:
            run.warn(f"audience {audience.name}: {too_large}")
        if counts.matched < config.warn_below_seeds:
            run.warn(
                f"audience {audience.name} has few seeds ({counts.matched} matched; figures are "
                f"steadier from {config.warn_below_seeds})"
            )


def _tell_of_lists(
    run: StageRun, admitted: Sequence[Admitted], lists: Lists, roster: Roster
) -> None:
    """Warn where a suppression or a hidden truth reaches nobody, or not everybody.

    Listed anonymous ids that count for users are counted and told of too.
    """
    linked = {key: listed.linked for key, listed in lists.counts.items() if listed.linked}
    if linked:
        run.counts["listed_ids_linked"] = sum(linked.values())
    for (name, use), ids in sorted(linked.items()):
        whom = "all users they were ever" if use == "suppress" else "the users they are"
        run.warn(
            f"audience {name}: {ids} ids of `{use}` are anonymous; they count for {whom} linked to"
        )
    for audience in admitted:
        name = audience.name
        for use, flag in (("suppress", LISTED), ("truth", TRUTH)):
            listed = lists.counts.get((name, use))
            if listed is not None and not roster.having(name, flag):
                run.warn(
                    f"audience {name}: `{use}` names {listed.ids} users, none with history at this "
                    "date"
                )
        unsure = roster.having(name, UNSURE)
        if unsure:
            run.warn(
                f"audience {name}: `suppress` has no value for {unsure} users, who are not "
                "suppressed"
            )


def _fit(
    run: StageRun,
    roster: Roster,
    inputs: Inputs,
    admitted: Sequence[Admitted],
    config: ExpandConfig,
) -> list[Expansion]:
    """Evaluate and fit every admitted audience on its sample."""
    with run.step("evaluating on hidden seeds, fitting"):
        if config.fit_in == "executors":
            expansions = fit_in_executors(roster, inputs, admitted, config)
        else:
            expansions = _fit_in_driver(roster, inputs, admitted, config)
    for expansion in expansions:
        name = expansion.audience.name
        run.metrics[f"{name}.auc"] = expansion.chosen.auc
        run.metrics[f"{name}.activity_auc"] = expansion.activity.auc
        rough = [at.name for at in expansion.levels if expansion.chosen.is_rough(at.share)]
        if rough:
            run.warn(
                f"audience {name}: fewer than {FEWEST_WITHIN} of the sampled users lie within "
                f"{', '.join(rough)}, so recall and lift are rough there; raise "
                "expand.background_users, or ask for larger sizes"
            )
        if not expansion.verdict.beats_activity:
            run.warn(f"audience {name}: {expansion.verdict.text}")
    return expansions


def _fit_in_driver(
    roster: Roster, inputs: Inputs, admitted: Sequence[Admitted], config: ExpandConfig
) -> list[Expansion]:
    """One audience after the other, its scorers side by side."""
    with side_by_side(config.processes) as at_once:
        return [
            fit_expansion(audience, sample, config, at_once)
            for audience, sample in collect_samples(roster, inputs, admitted, config)
        ]


def _publish(
    run: StageRun,
    as_of: AsOf,
    roster: Roster,
    inputs: Inputs,
    expansions: Sequence[Expansion],
    refused: Sequence[Refusal],
    names: Sequence[str],
) -> None:
    """Score, rank and write; refused audiences lose what an earlier run of the date wrote."""
    spark = run.tables.spark
    rows = [refused_row(missed) for missed in refused]
    curves: list[dict[str, Any]] = []
    if expansions:
        with run.step("scoring and ranking all users"):
            placed, ranked = _rank(roster, inputs, expansions)
        members = ranked.where(F.col("level") != "")
        with run.step("measuring levels and churn, naming reasons"):
            facts = level_facts(members, expansions)
            churn = churn_since_previous(run, as_of, members, names)
            reasons = reasons_of(spark, inputs, expansions)
            run.metrics |= truth_metrics(roster, ranked, expansions)
        for e in expansions:
            of_levels, name = facts[e.audience.name], e.audience.name
            rows.append(published_row(e, as_of, of_levels, churn.get(name), reasons[name]))
            curves += curve_rows(e, of_levels)
    else:
        members = spark.createDataFrame([], NUMBERED)
    rows = [row | {"model_version": inputs.model_version} for row in rows]
    key: dict[str, KeyValue] = {"as_of": as_of.date, "audience": names}
    with run.step("writing audiences"):
        run.write("audience_members", members.drop("similarity", "is_truth"), key)
        run.write("audience_curves", _frame(spark, "audience_curves", curves), key)
        run.write("audiences", _frame(spark, "audiences", rows), key)
    if expansions:
        ranked.unpersist()
        placed.unpersist()


def _rank(
    roster: Roster, inputs: Inputs, expansions: Sequence[Expansion]
) -> tuple[DataFrame, DataFrame]:
    """The placed and the ranked users, both persisted."""
    for everybody in (False, True):
        # Range partitions are found by reading the rows once before they are moved.
        scored = score_users(roster, inputs, expansions, everybody=everybody).persist()
        placed = place_users(scored).persist()
        counts = count_placed(placed)
        scored.unpersist()
        # The sampled threshold is too high about once in three million audiences.
        if reach_is_filled(counts, expansions):
            break
        placed.unpersist()
    return placed, rank_users(placed, counts, expansions).persist()


def _frame(spark: SparkSession, table: str, rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Rows with the columns of a table, but for those that the write fills in."""
    fields = [f for f in table_schema(table).fields if f.name not in ("run_id", "as_of")]
    values = [tuple(row[field.name] for field in fields) for row in rows]
    return spark.createDataFrame(values, StructType(fields))
