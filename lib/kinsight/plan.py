"""What a run would read and do, without doing it: `--dry-run`.

What can be told without reading rows is refused here as the run would: a missing source or
column, a date without input, a model from the future or of another vocabulary, a wrong audience
file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from kinsight.config import Settings
from kinsight.dates import AsOf
from kinsight.embed.job import fitting_sequences, model_for
from kinsight.encoders.registry import encoder_type
from kinsight.expand.definition import AudienceDefinition, load_audiences
from kinsight.expand.roster import compile_predicates
from kinsight.ingest.batch import check_columns
from kinsight.ingest.inventory import sources_of, take_inventory
from kinsight.labels import plural
from kinsight.models import model_folder
from kinsight.report.job import report_path
from kinsight.runs import StageRun, newest_publication
from kinsight.sequence.versions import version_to_use
from kinsight.train.job import has_present_settings, newest_model, usable_model
from kinsight.workspace import Workspace

ALL_STAGES = ("ingest", "sequence", "train", "embed", "segment", "expand", "report")
MADE_BY = {
    "events": "ingest",
    "sequences": "sequence",
    "user_features": "sequence",
    "user_bags": "sequence",
    "models": "train",
    "embeddings": "embed",
    "segments": "segment",
    "audiences": "expand",
}
UNDATED = ("events", "models")
"""Tables that are not made for one date: a re-run reads the version that the last run read."""


@dataclasses.dataclass(frozen=True)
class Planned:
    """What one stage would do.

    Attributes:
        stage: The stage.
        reads: Tables with their versions, or files.
        does: What it would do, in words.
        warnings: What its run would warn of before it begins.
    """

    stage: str
    reads: str
    does: str
    warnings: tuple[str, ...] = ()


def plan(
    workspace: Workspace,
    as_of: AsOf,
    stages: Sequence[str] = ALL_STAGES,
    *,
    latest_input: bool = False,
) -> list[Planned]:
    """Look at what stages would read and do, in this order.

    Args:
        workspace: Session, configuration and tables, best opened for looking only.
        as_of: The date.
        stages: Which; what one of them publishes counts as there for the next.
        latest_input: As for the stages.

    Raises:
        ConfigError: If the configuration or an audience file is wrong.
        RefusedError: If a stage would be refused before it writes anything.
    """
    planner = _Planner(workspace, as_of, tuple(stages), latest_input)
    return [getattr(planner, stage)() for stage in stages]


class _Planner:
    """One method a stage."""

    def __init__(
        self, workspace: Workspace, as_of: AsOf, stages: tuple[str, ...], latest_input: bool
    ) -> None:
        self.workspace = workspace
        self.config = workspace.config
        self.as_of = as_of
        self.stages = stages
        self.latest_input = latest_input
        # As in the pipeline: only with all stages does the age of the model decide.
        self.training_due = "train" in stages and (
            stages == ("train",) or usable_model(workspace, as_of) is None
        )

    def ingest(self) -> Planned:
        """New and changed files by source, one of each with the columns that it must have."""
        run = self.workspace.run("ingest", None, self.config.ingest)
        inventory = take_inventory(self.workspace.spark, run, self.config.ingest)
        names = ", ".join(source.name for _, source in sources_of(self.config.ingest))
        reads = f"sources {names}; {plural(inventory.unchanged, 'file')} read before"
        warnings = tuple(inventory.warnings())
        if not inventory.new and not inventory.gone:
            return Planned("ingest", reads, "nothing: no file is new or changed", warnings)
        check_columns(self.workspace.spark, run, self.config.ingest, inventory.new)
        parts = []
        for name, fresh in inventory.new.items():
            kinds = inventory.states(fresh)
            size = sum(file.size for file in fresh) / 1e6
            count = " and ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), reverse=True))
            parts.append(f"{count} of {name} ({size:,.1f} MB)")
        does = [f"would read {'; '.join(parts)}"] if parts else []
        if inventory.gone:
            files = plural(len(inventory.gone), "file")
            does.append(f"would remove the rows of {files} no longer in their table")
        if parts:
            does.append("one file of each has all mapped columns")
        return Planned("ingest", reads, "; ".join(does), warnings)

    def sequence(self) -> Planned:
        """The vocabulary and the window."""
        config = self.config.sequence
        run = self._run("sequence", config)
        version = None if self.training_due else version_to_use(run, self.as_of.date)
        vocabulary = f"vocabulary {version}" if version else "a new vocabulary"
        does = (
            f"would make histories of at most {config.max_length} events from "
            f"{config.lookback_days} days before {self.as_of.instant:%Y-%m-%d %H:%M} UTC, "
            f"in {vocabulary}"
        )
        return Planned("sequence", self._inputs(run, "events"), does)

    def train(self) -> Planned:
        """Whether training is due, and why."""
        config = self.config.train
        run = self._run("train", config)
        newest = newest_model(self.workspace, self.as_of)
        if not self.training_due and newest is not None:
            age = (self.as_of.date - newest.as_of).days
            reads = f"models: {newest.model_version}"
            fresh = f"{age} days old, refreshed after {config.refresh_after_days}"
            return Planned("train", reads, f"nothing: the model is {fresh}")
        if newest is None:
            why = "there is no model up to this date"
        elif not has_present_settings(self.workspace, newest):
            why = f"the settings changed since {newest.model_version}"
        else:
            why = f"{newest.model_version} is of {newest.as_of}"
        does = f"would make {config.encoder.name}, which learns nothing by gradients"
        if encoder_type(config.encoder.name).learns:
            objectives = ", ".join(f"{o.name} x {o.weight:g}" for o in config.objective)
            most = f"at most {plural(config.epochs, 'epoch')}"
            does = f"would train {config.encoder.name} for {objectives}, {most}"
        model_folder(self.workspace.config.tables, "any")  # refuses what cannot be written to
        return Planned("train", self._inputs(run, "sequences"), f"{does}: {why}")

    def embed(self) -> Planned:
        """Which model reads the sequences."""
        run = self._run("embed", self.config.embed)
        if self.training_due and self.config.embed.model_version is None:
            model = "the model trained above"
        else:
            chosen = model_for(run, self.as_of, self.config.embed.model_version)
            model = chosen.model_version
            if "sequence" not in self.stages:
                fitting_sequences(run, self.as_of, chosen)
        does = f"would make user vectors, by {model}"
        return Planned("embed", self._inputs(run, "sequences"), does)

    def segment(self) -> Planned:
        """How many segments, by what, and the date compared with."""
        config = self.config.segment
        run = self._run("segment", config)
        previous = newest_publication(
            run.records(),
            "segment_members",
            before=self.as_of.date,
            producer={"segmentation": config.name},
        )
        ids = f"ids kept from {previous.record.as_of}" if previous else "the first of its name"
        how = {
            "bags": "by what users take (bags; of embeddings only the users, no vectors)",
            "embedding": "by their vectors",
            "both": "by what users take (bags) and by their vectors",
        }[config.input]
        does = f"segmentation {config.name}: would make {config.segments} segments {how}, {ids}"
        inputs = self._inputs(run, "embeddings", "user_features", "user_bags")
        return Planned("segment", inputs, does)

    def expand(self) -> Planned:
        """The audiences, each with its seeds."""
        config = self.config.expand
        if config.folder is None and self.stages != ("expand",):
            return Planned("expand", "", "nothing: expand.folder is not set")
        audiences = load_audiences(config)
        compile_predicates(audiences)
        run = self._run("expand", config)
        parts = [f"{a.name} ({_seeds(a)}{self._unmade(run, a)}{_missing(a)})" for a in audiences]
        does = f"would expand {plural(len(parts), 'audience')}: {', '.join(parts)}"
        tables = ["embeddings", "user_bags", "user_features"]
        if any(audience.reads_histories for audience in audiences):
            tables += ["sequences", "models"]
        return Planned("expand", self._inputs(run, *tables), does)

    def _unmade(self, run: StageRun, audience: AudienceDefinition) -> str:
        """Words for the segmentation of an audience's seeds where it was not made for the date.

        The run would refuse this audience and go on with the others.
        """
        if audience.seeds.segment is None or "segment" in self.stages:
            return ""
        date, name = self.as_of.date, audience.seeds.segmentation
        wanted = {"segmentation": name}
        found = newest_publication(run.records(), "segment_members", as_of=date, producer=wanted)
        return "" if found is not None else f"; no segmentation {name} at this date"

    def report(self) -> Planned:
        """Where the report goes."""
        path = report_path(self.config.report, self.as_of.date)
        run = self._run("report", self.config.report)
        reads = f"{self._inputs(run, 'user_features')}; all else that is published of the date"
        return Planned("report", reads, f"would write {path}")

    def _run(self, stage: str, settings: Settings) -> StageRun:
        """A run that is never entered, so that nothing of it is written."""
        return self.workspace.run(stage, self.as_of, settings, self.latest_input)

    def _inputs(self, run: StageRun, *tables: str) -> str:
        """Where a stage's inputs come from, in words.

        Raises:
            RefusedError: If nothing has published one, and no stage before would.
        """
        parts = []
        for table in tables:
            made_by = MADE_BY[table]
            pinned = run.earlier_version(table) if table in UNDATED else None
            if pinned is not None:
                parts.append(f"{table} version {pinned}, as this date's last run")
            elif made_by in self.stages:
                parts.append(f"{table}, as `{made_by}` above publishes it")
            else:
                date = None if table in UNDATED else self.as_of.date
                found = run.require(table, as_of=date, made_by=made_by)
                parts.append(f"{table} version {found.version}, by {found.record.run_id}")
        return "; ".join(parts)


def _missing(audience: AudienceDefinition) -> str:
    """Words for the lists of an audience that are not on this machine.

    The run would refuse this audience and go on with the others, unless Spark finds the list where
    its own file system is.
    """
    files = [
        s.file for s in audience.sources.values() if s.file is not None and "://" not in s.file
    ]
    missing = [file for file in files if not Path(file).exists()]
    return f"; not on this machine: {', '.join(missing)}" if missing else ""


def _seeds(audience: AudienceDefinition) -> str:
    seeds = audience.seeds
    if seeds.file is not None:
        return Path(seeds.file).name
    return f"segment {seeds.segment}" if seeds.segment is not None else str(seeds.predicate)
