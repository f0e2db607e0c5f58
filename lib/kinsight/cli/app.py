"""The application of the `kinsight` command and the options that its sub-commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import kinsight

EXIT_CODES = "Exit codes: 0 done, 1 failure, 2 wrong usage or configuration, 3 refused by a gate."

app = typer.Typer(
    name="kinsight",
    help="Customer segments and lookalike audiences from a clickstream, as Delta tables.\n\n"
    + EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="KINSIGHT_CONFIG", help="YAML file of the shop."),
]
DEFAULT_CONFIG = Path("kinsight.yaml")


def example(*commands: str) -> str:
    """The end of a command's help: how it is called, and its exit codes."""
    calls = ", ".join(f"`kinsight {command}`" for command in commands)
    return f"Example{'s' if len(commands) > 1 else ''}: {calls}\n\n{EXIT_CODES}"


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Customer segments and lookalike audiences from a clickstream, as Delta tables."""
    if version:
        typer.echo(f"kinsight {kinsight.__version__}")
        raise typer.Exit
