"""The entry of the command line: runs a command and ends with its exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

import click
from rich.console import Console

from kinsight.cli import look, stages
from kinsight.cli.app import app
from kinsight.errors import KinsightError

COMMANDS = (stages, look)  # imported for the commands that they add to the application


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; never a traceback for a known mistake."""
    console = Console(stderr=True, highlight=False)
    try:
        code = app(args=arguments, prog_name="kinsight", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KinsightError as error:
        kind = {2: "Wrong usage", 3: "Refused"}.get(error.exit_code, "Failed")
        console.print(f"[bold red]{kind}:[/bold red]", end=" ")
        console.print(error.text(), markup=False, soft_wrap=True)
        code = error.exit_code
    except Exception as error:
        console.print(f"[bold red]Failed:[/bold red] {type(error).__name__}", end=" ")
        console.print(_first_line(error), markup=False, soft_wrap=True)
        console.print(f"  The full trace is in {_write_trace()}", markup=False)
        code = 1
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "")[:300]


def _write_trace() -> str:
    handle, path = tempfile.mkstemp(prefix="kinsight-trace-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return path
