"""The command that makes up a shop of any size, to try Kinsight on and to measure it with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kinsight.cli.app import app, example
from kinsight.config import SparkConfig, parse_settings
from kinsight.progress import Progress
from kinsight.spark import build_session
from kinsight.summary import screen
from kinsight.synth.options import SynthOptions

DEFAULTS = SynthOptions()


@app.command(
    epilog=example(
        "synth shop --users 10000",
        "synth big --users 1000000 --bots 1 --nights 7 --late 0.01 --duplicates 0.01",
    )
)
def synth(
    folder: Annotated[Path, typer.Argument(help="New folder for the shop.", show_default=False)],
    users: Annotated[int, typer.Option(help="Users that are no bots.")] = DEFAULTS.users,
    items: Annotated[int, typer.Option(help="Items in the catalogue.")] = DEFAULTS.items,
    days: Annotated[int, typer.Option(help="Days of history.")] = DEFAULTS.days,
    as_of: Annotated[
        str, typer.Option("--as-of", help="The first day without events, YYYY-MM-DD.")
    ] = DEFAULTS.as_of.isoformat(),
    seed: Annotated[int, typer.Option(help="Equal seeds give equal shops.")] = DEFAULTS.seed,
    drift: Annotated[
        float, typer.Option(help="Share of users whose tastes change.")
    ] = DEFAULTS.drift,
    nights: Annotated[
        int, typer.Option(help="Last days that come in folders of their own, as deliveries do.")
    ] = DEFAULTS.nights,
    bots: Annotated[int, typer.Option(help="Users that click without end.")] = DEFAULTS.bots,
    bot_share: Annotated[
        float, typer.Option(help="Share of events that is theirs.")
    ] = DEFAULTS.bot_share,
    late: Annotated[
        float, typer.Option(help="Share of events that come one to three nights later.")
    ] = DEFAULTS.late,
    duplicates: Annotated[
        float, typer.Option(help="Share of events that come twice.")
    ] = DEFAULTS.duplicates,
    malformed: Annotated[
        float, typer.Option(help="Further rows that are no events, as a share of events.")
    ] = DEFAULTS.malformed,
    file_format: Annotated[
        Literal["parquet", "csv", "json"], typer.Option("--format", help="Of the event files.")
    ] = DEFAULTS.format,
    master: Annotated[
        str | None, typer.Option(help="Spark master; local[*] by default.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show the result only.")] = False,
) -> None:
    """Make up a shop with planted archetypes, and a configuration that runs on it.

    Histories are as long as those of real shops (median 6 events, mean 17, 95th percentile 68, at
    most 500). Who is of which archetype is in the Delta table FOLDER/truth.
    """
    given: dict[str, Any] = {
        "users": users, "items": items, "days": days, "as_of": as_of, "seed": seed,
        "drift": drift, "nights": nights, "bots": bots, "bot_share": bot_share, "late": late,
        "duplicates": duplicates, "malformed": malformed, "format": file_format,
    }  # fmt: skip
    options = parse_settings(SynthOptions, given, Path("the options of synth"))
    progress = Progress(quiet=quiet)
    with progress.step("starting Spark"):
        spark = build_session(SparkConfig(master=master) if master else SparkConfig())
    from kinsight.synth.job import write_shop

    shop = write_shop(spark, folder, options, progress)
    console = screen()
    console.print(
        f"{shop.events:,} rows of events of {shop.users:,} users, {shop.seeds:,} seeds",
        soft_wrap=True,
    )
    console.print(f"Truth   {folder / 'truth'}", soft_wrap=True)
    console.print(
        f"Next    kinsight run --config {shop.config} --as-of {options.as_of}", soft_wrap=True
    )
