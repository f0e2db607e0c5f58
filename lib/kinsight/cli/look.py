"""The commands that look and change nothing: doctor, runs, show, config."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from kinsight.cli.app import DEFAULT_CONFIG, ConfigOption, app, example
from kinsight.config import load_config
from kinsight.dates import parse_date
from kinsight.errors import ConfigError, EnvironmentProblem
from kinsight.progress import Progress
from kinsight.spark import build_session
from kinsight.summary import screen
from kinsight.workspace import Workspace

LOOKING = "Looking at it"

DateOption = Annotated[
    str,
    typer.Option(
        "--as-of",
        help="Exactly this date, YYYY-MM-DD. By default the newest one.",
        show_default=False,
    ),
]
SegmentationOption = Annotated[
    str, typer.Option("--segmentation", help="Name of the segmentation.")
]

show = typer.Typer(
    no_args_is_help=True,
    help="Show one segment, user, audience or run, as published.",
    epilog=example("show segment s01", "show user 2375"),
)
app.add_typer(show, name="show", rich_help_panel=LOOKING)
settings = typer.Typer(no_args_is_help=True, help="Look at a configuration.")
app.add_typer(settings, name="config", rich_help_panel=LOOKING)


@app.command(epilog=example("doctor", "doctor -c shop.yaml"), rich_help_panel=LOOKING)
def doctor(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="KINSIGHT_CONFIG",
            help="YAML file of the shop; kinsight.yaml where there is one.",
        ),
    ] = None,
) -> None:
    """Check what Kinsight needs of this machine: Java, packages, memory, space, sources."""
    from kinsight.doctor import examine, told

    console = screen()
    if config is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG
    colours = {"ok": "green", "warning": "yellow", "problem": "red"}
    problems = []
    for check in examine(load_config(config) if config else None):
        colour = colours[check.verdict]
        console.print(f"[{colour}]{check.verdict:8}[/{colour}] {check.name}: {escape(check.found)}")
        if check.to_do:
            console.print(f"         to do: {escape(check.to_do)}")
        if check.verdict == "problem":
            problems.append(check)
    if problems:
        found, to_do = told(problems)
        raise EnvironmentProblem(
            "Kinsight will not run like this.",
            expected="checks that end with ok or a warning",
            found=found,
            to_do=to_do,
        )


@app.command(epilog=example("runs -c shop.yaml --most 50"), rich_help_panel=LOOKING)
def runs(
    config: ConfigOption = DEFAULT_CONFIG,
    most: Annotated[int, typer.Option("--most", min=1, help="How many, the newest.")] = 20,
) -> None:
    """List the runs of all stages, the newest at the bottom."""
    from kinsight.show import list_runs

    _print(config, lambda w: [list_runs(w.log.records(), most)])


@show.command("segment", epilog=example("show segment s01 -c shop.yaml"))
def segment(
    segment_id: Annotated[str, typer.Argument(help="Such as s01.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_of: DateOption = "",
    segmentation: SegmentationOption = "main",
) -> None:
    """A segment: its profile beside everybody's, its rule, what its members take more of."""
    from kinsight.lookup import find_segment
    from kinsight.show import show_segment

    _print(config, lambda w: show_segment(find_segment(w, segment_id, _date(as_of), segmentation)))


@show.command("user", epilog=example("show user 2375 -c shop.yaml"))
def user(
    user_id: Annotated[str, typer.Argument(help="Id as the events carry it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_of: DateOption = "",
) -> None:
    """A user: features, segments, audiences, the latest events before the date."""
    from kinsight.lookup import find_user
    from kinsight.show import show_user

    _print(config, lambda w: show_user(find_user(w, user_id, _date(as_of))))


@show.command("audience", epilog=example("show audience vip -c shop.yaml"))
def audience(
    name: Annotated[str, typer.Argument(help="Name of the audience.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_of: DateOption = "",
) -> None:
    """An audience: its seeds, how far to trust it, its levels, or why it was refused."""
    from kinsight.lookup import find_audience
    from kinsight.show import show_audience

    _print(config, lambda w: show_audience(find_audience(w, name, _date(as_of))))


@show.command("run", epilog=example("show run 20240601T020000-segment -c shop.yaml"))
def one_run(
    run_id: Annotated[str, typer.Argument(help="Id of a run, or its beginning.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """A run: what it read and wrote, its counts, measures, warnings and settings."""
    from kinsight.lookup import find_run
    from kinsight.show import show_run

    _print(config, lambda w: show_run(find_run(w, run_id)))


@settings.command("check", epilog=example("config check -c shop.yaml"))
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check a configuration, its sources' paths, encoder, objectives and audience files.

    It starts no Spark.
    """
    from kinsight.doctor import check_sources, told
    from kinsight.expand.definition import load_audiences
    from kinsight.objectives.registry import check_choices

    found = load_config(config)
    check_choices(found.train)
    audiences = load_audiences(found.expand) if found.expand.folder else []
    problems = [one for one in check_sources(found) if one.verdict == "problem"]
    if problems:
        what, to_do = told(problems)
        raise ConfigError(
            f"{config} names sources that are not there.",
            expected="at least one file at each path",
            found=what,
            to_do=to_do,
        )
    sources = [source.name for source in found.ingest.sources()]
    console = screen()
    console.print(f"{config} is a configuration of Kinsight.", markup=False)
    for name, values in (("sources", sources), ("audiences", [a.name for a in audiences])):
        console.print(f"  {name}: {', '.join(values) or 'none'}", markup=False)


def _date(text: str) -> dt.date | None:
    return parse_date(text) if text else None


def _print(config_file: Path, tables: Callable[[Workspace], Iterable[Table]]) -> None:
    from kinsight.show import print_all

    config = load_config(config_file)
    progress = Progress()
    with progress.step("starting Spark"):
        spark = build_session(config.spark)
    workspace = Workspace.look(spark, config, progress)
    print_all(screen(), tables(workspace))
