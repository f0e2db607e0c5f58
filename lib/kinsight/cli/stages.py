"""The commands that do the work: each calls the same function as its job in `jobs/`."""

from __future__ import annotations

import datetime as dt
import importlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kinsight.cli.app import DEFAULT_CONFIG, ConfigOption, app, example
from kinsight.config import KinsightConfig, load_config
from kinsight.dates import AsOf, parse_date
from kinsight.errors import KinsightError, RefusedError
from kinsight.progress import Progress
from kinsight.runs import StageSummary
from kinsight.spark import build_session, is_running
from kinsight.summary import print_results, print_stages, screen
from kinsight.workspace import Workspace

AsOfOption = Annotated[
    str,
    typer.Option(
        "--as-of",
        help="Use events before midnight of this date, YYYY-MM-DD, which must have begun in the "
        "shop. By default today in the shop.",
        show_default=False,
    ),
]
LatestOption = Annotated[
    bool,
    typer.Option(
        "--latest-input",
        help="Let a date that was published before take in what arrived since.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and the summary.")]

DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be read and done, and write nothing."),
]

Stage = Callable[[Workspace, AsOf], Iterable[StageSummary]]

DATED = {
    "embed": "Turn the sequences of a date into user vectors, in the executors.",
    "segment": "Group the users of a date into named segments with stable ids.",
    "expand": "Expand every seed list of the audience folder to the users most like it.",
    "report": "Write the HTML report of a date.",
}
"""Stages that take a date and nothing else."""


@app.command(epilog=example("ingest -c shop.yaml", "ingest -c shop.yaml --dry-run"))
def ingest(
    config: ConfigOption = DEFAULT_CONFIG,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read new and changed source files into events, items, users and identities."""

    def stage(workspace: Workspace, _: AsOf) -> list[StageSummary]:
        from kinsight.ingest.job import run_ingest

        return [run_ingest(workspace)]

    _run_or_plan(config, "", quiet, stage, dry_run, ["ingest"])


@app.command(epilog=example("sequence -c shop.yaml --as-of 2017-10-30"))
def sequence(
    config: ConfigOption = DEFAULT_CONFIG,
    as_of: AsOfOption = "",
    latest_input: LatestOption = False,
    new_vocabulary: Annotated[
        bool, typer.Option("--new-vocabulary", help="Make a new vocabulary, for a new encoder.")
    ] = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn events into vocabularies, sequences, user features and bags."""

    def stage(workspace: Workspace, date: AsOf) -> list[StageSummary]:
        from kinsight.sequence.job import run_sequence

        return [
            run_sequence(workspace, date, latest_input=latest_input, new_vocabulary=new_vocabulary)
        ]

    _run_or_plan(config, as_of, quiet, stage, dry_run, ["sequence"], latest_input)


@app.command(epilog=example("train -c shop.yaml --as-of 2017-10-30"))
def train(
    config: ConfigOption = DEFAULT_CONFIG,
    as_of: AsOfOption = "",
    latest_input: LatestOption = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, not where a killed training was.")
    ] = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train an encoder on the sequences of a date."""

    def stage(workspace: Workspace, date: AsOf) -> list[StageSummary]:
        from kinsight.train.job import run_train

        return [run_train(workspace, date, latest_input=latest_input, restart=restart)]

    _run_or_plan(config, as_of, quiet, stage, dry_run, ["train"], latest_input)


def _add_dated(name: str, about: str) -> None:
    """Add the command of a stage that takes a date and nothing else."""

    @app.command(name, help=about, epilog=example(f"{name} -c shop.yaml --as-of 2017-10-30"))
    def command(
        config: ConfigOption = DEFAULT_CONFIG,
        as_of: AsOfOption = "",
        latest_input: LatestOption = False,
        dry_run: DryRunOption = False,
        quiet: QuietOption = False,
    ) -> None:
        def stage(workspace: Workspace, date: AsOf) -> list[StageSummary]:
            job = importlib.import_module(f"kinsight.{name}.job")
            return [getattr(job, f"run_{name}")(workspace, date, latest_input=latest_input)]

        _run_or_plan(config, as_of, quiet, stage, dry_run, [name], latest_input)


for _name, _about in DATED.items():
    _add_dated(_name, _about)


@app.command(
    epilog=example(
        "run -c shop.yaml --as-of 2017-10-30", "run -c shop.yaml --as-of 2017-10-30 --dry-run"
    )
)
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    as_of: AsOfOption = "",
    latest_input: LatestOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run all stages for a date: what a nightly job calls."""

    def stage(workspace: Workspace, date: AsOf) -> Iterable[StageSummary]:
        from kinsight.pipeline import run_pipeline

        return run_pipeline(workspace, date, latest_input=latest_input)

    _run_or_plan(config, as_of, quiet, stage, dry_run, None, latest_input)


@app.command(epilog=example("demo --folder demo"))
def demo(
    folder: Annotated[Path, typer.Option(help="Where sources, tables and reports go.")] = Path(
        "demo"
    ),
    quiet: QuietOption = False,
) -> None:
    """A year of a real grocer: two dates, segments, three audiences, a report."""
    from kinsight.demo import run_demo

    run_demo(folder, Progress(quiet=quiet), screen())


def _run_or_plan(
    config_file: Path,
    as_of: str,
    quiet: bool,
    stage: Stage,
    dry_run: bool,
    stages: Sequence[str] | None,
    latest_input: bool = False,
) -> None:
    """Do what a command says, or with ``--dry-run`` print what it would read and do.

    Stages import their libraries when called, so that a wrong configuration is told at once.

    Args:
        config_file: Configuration.
        as_of: Date, or nothing for today in the shop.
        quiet: Only warnings and the summary.
        stage: The work.
        dry_run: Write nothing.
        stages: Names of what `stage` runs; all of the pipeline where None.
        latest_input: Let a published date take in what arrived since.
    """
    config = load_config(config_file)
    date = _date(config, as_of)
    if not dry_run:
        check_root(config)
    progress = Progress(quiet=quiet)
    with progress.step("starting Spark"):
        spark = build_session(config.spark)
    if dry_run:
        from kinsight.plan import ALL_STAGES, plan
        from kinsight.show import list_plan

        workspace = Workspace.look(spark, config, progress)
        found = plan(workspace, date, stages or ALL_STAGES, latest_input=latest_input)
        screen().print(list_plan(found))
    else:
        _run(Workspace.open(spark, config, progress), date, stage)


def _run(workspace: Workspace, date: AsOf, stage: Stage) -> None:
    """Run stages, print the summary, turn refused audiences into exit code 3."""
    console = screen()
    summaries: list[StageSummary] = []
    try:
        summaries.extend(stage(workspace, date))
    finally:
        if summaries:
            print_stages(console, summaries)
            if is_running(workspace.spark.sparkContext):
                print_results(console, workspace, date, summaries)
    refuse_if_audiences_were(summaries)


def refuse_if_audiences_were(summaries: Sequence[StageSummary]) -> None:
    """End with the exit code of a gate where single audiences were refused.

    Raises:
        RefusedError: Naming how many; why is among the warnings and in table audiences.
    """
    refused = sum(summary.counts.get("audiences_refused", 0) for summary in summaries)
    if refused:
        raise RefusedError(
            "Not every audience could be expanded; all else is published.",
            expected="seed lists that pass their gates",
            found=f"{refused} refused, see the warnings above and table audiences",
            to_do="mend the seed lists, then run `kinsight expand` again",
        )


def _date(config: KinsightConfig, as_of: str) -> AsOf:
    """The date asked for, or today in the shop."""
    date = parse_date(as_of) if as_of else dt.datetime.now(config.zone).date()
    return AsOf.of(date, config.shop_timezone)


def check_root(config: KinsightConfig) -> None:
    """Refuse a table root on this machine that cannot be written, before Spark starts.

    Raises:
        KinsightError: If the folder cannot be made or written to.
    """
    root = config.tables.path
    if root is None or "://" in root:
        return
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise KinsightError(
            f"The table folder {root} cannot be used.",
            expected="a folder that this user may write to",
            found=f"{error.strerror}: {error.filename or root}",
            to_do="change its permissions or `tables.path` in the configuration",
        ) from None
