"""Where measurements go: one JSON file each, and one section of RESULTS.md made from it."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
HEAD = "# Results\n\nMade by the scripts in this folder from `results/*.json`; edit neither.\n"


def circumstances(*packages: str) -> dict[str, Any]:
    """Commit, versions and machine of a measurement.

    Args:
        packages: Distributions whose versions matter.
    """
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ":/lib", ":/benchmarks/**/*.py")
    return {
        "date": dt.date.today().isoformat(),
        "commit": f"{commit}, changed since" if changed else commit,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        # Others may run on the machine: then seconds say little and ratios are noisy.
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def save(
    name: str,
    result: dict[str, Any],
    title: str,
    text: str,
    folder: Path = FOLDER,
    head: str = HEAD,
) -> None:
    """Write results/NAME.json and put its section into RESULTS.md, in place of an older one.

    Args:
        name: Name of the JSON file.
        result: Its content.
        title: Heading of the section.
        text: The section, in Markdown.
        folder: Where both are.
        head: What a new page begins with.
    """
    (folder / "results").mkdir(parents=True, exist_ok=True)
    path = folder / "results" / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    page = folder / "RESULTS.md"
    section = f"## {title}\n\n{text.strip()}\n\n_`results/{name}.json`_\n"
    pattern = rf"## [^\n]*\n(?:(?!^## ).*\n)*?_`results/{re.escape(name)}\.json`_\n"
    # Tables may be made side by side.
    with _locked(folder):
        old = page.read_text(encoding="utf-8") if page.exists() else head
        if re.search(pattern, old, re.MULTILINE):
            new = re.sub(pattern, lambda _: section, old, count=1, flags=re.MULTILINE)
        else:
            new = f"{old.rstrip()}\n\n{section}"
        whole = page.with_suffix(".new")
        whole.write_text(new, encoding="utf-8")
        whole.replace(page)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown" if arguments[0] == "rev-parse" else done.stdout.strip()
