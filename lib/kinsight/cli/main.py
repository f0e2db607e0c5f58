"""The entry of the command line: runs a command and ends with its exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

import typer
from rich.console import Console

from kinsight.cli import look, stages, synth
from kinsight.cli.app import app
from kinsight.errors import KinsightError
from kinsight.trouble import explain

COMMANDS = (stages, look, synth)  # imported for the commands that they add to the application


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; never a traceback for a known mistake."""
    console = Console(stderr=True, highlight=False)
    try:
        code = app(args=arguments, prog_name="kinsight", standalone_mode=False)
    except typer.Abort:
        code = 130
    except KinsightError as error:
        code = _show(console, error)
    except Exception as error:
        usage_error = _show_usage_error(error)
        if usage_error is not None:
            sys.exit(usage_error)
        explained = explain(error)
        if explained is not None:
            sys.exit(_show(console, explained))
        console.print(f"[bold red]Failed:[/bold red] {type(error).__name__}", end=" ")
        console.print(_first_line(error), markup=False, soft_wrap=True)
        console.print(f"  The full trace is in {_write_trace()}", markup=False)
        code = 1
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _show(console: Console, error: KinsightError) -> int:
    """Show a mistake that Kinsight knows and return its exit code."""
    kind = {2: "Wrong usage", 3: "Refused"}.get(error.exit_code, "Failed")
    console.print(f"[bold red]{kind}:[/bold red]", end=" ")
    console.print(error.text(), markup=False, soft_wrap=True)
    return error.exit_code


def _show_usage_error(error: Exception) -> int | None:
    """Show a mistake on the command line and return its exit code; None for other errors.

    They are told by what they can do: newer typers bring a click of their own, whose errors are no
    subclasses of click's.
    """
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if not callable(show) or not isinstance(code, int):
        return None
    show()
    return code


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "")[:300]


def _write_trace() -> str:
    handle, path = tempfile.mkstemp(prefix="kinsight-trace-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return path
