"""What all quality tables share: means, paired differences, options, and where results go."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.results import circumstances, save, table

FOLDER = Path(__file__).parent
HEAD = (
    "# How good the models are\n\nMade by the commands in this folder from `results/*.json`; edit "
    "neither. `make quality` makes the short form, `make quality QUALITY=long` the long one.\n"
)
PACKAGES = ("torch", "scikit-learn", "faiss-cpu", "numpy")
CLUSTERS = 5
"""From so many audiences on, the interval of a difference is taken over audiences."""

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Difference:
    """A paired difference and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.mean:+.3f}"
        told = f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        return f"**{told}**" if self.low > 0 or self.high < 0 else told


def paired(ours: Floats, theirs: Floats) -> Difference:
    """The mean difference of two rows, with its 95 % interval by Student's t.

    Draws of one audience share their users, so where there are at least CLUSTERS audiences the
    draws of each are averaged and the interval is over audiences: it says what another audience
    would give. With fewer, the audiences are averaged and the interval is over draws: it says what
    another draw of the same audiences would give.

    Args:
        ours: Measure by audience and draw [audiences, draws]; NaN where there is none.
        theirs: The same of the row compared with.
    """
    both = ours - theirs
    values = np.nanmean(both, axis=1 if len(both) >= CLUSTERS else 0)
    values = values[~np.isnan(values)]
    mean = float(values.mean())
    if len(values) < 2:
        return Difference(mean, math.nan, math.nan)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return Difference(mean, mean - float(half), mean + float(half))


def spread(values: Floats) -> str:
    """Mean over everything, and the standard deviation over draws of the mean over audiences."""
    by_draw = np.nanmean(np.atleast_2d(values), axis=0)
    if len(by_draw) < 2:
        return f"{by_draw.mean():.3f}"
    return f"{by_draw.mean():.3f} ± {by_draw.std(ddof=1):.3f}"


def options(doc: str | None, name: str) -> argparse.ArgumentParser:
    """The options that every table has.

    Args:
        doc: Docstring of the module.
        name: Its name.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.quality.{name}", description=(doc or "").splitlines()[0]
    )
    parser.add_argument("--long", action="store_true", help="all recipes, more draws and epochs")
    parser.add_argument("--data", nargs="*", help="names of the data sets; all by default")
    parser.add_argument("--only", nargs="*", default=[], help="recipes beside the floors")
    parser.add_argument("--draws", type=int, help="draws or seeds")
    parser.add_argument("--epochs", type=int, help="epochs of training at most")
    parser.add_argument("--seed", type=int, default=7)
    return parser


def keep(
    name: str,
    title: str,
    about: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    more: Mapping[str, Any],
    notes: Sequence[str] = (),
    folder: Path | None = None,
) -> None:
    """Print a table and save it as JSON and Markdown.

    Args:
        name: Of the JSON file.
        title: Heading.
        about: What was measured, and what chose what.
        columns: Heads of the columns.
        rows: Cells.
        more: What else the JSON file keeps.
        notes: Said under the table, such as what was refused.
        folder: Where results go; FOLDER by default.
    """
    folder = folder or FOLDER
    markdown = table(columns, rows)
    text = "\n\n".join([about.strip(), markdown, *notes])
    result = {
        "circumstances": circumstances(*PACKAGES),
        "columns": list(columns),
        "rows": [[str(cell) for cell in row] for row in rows],
        **more,
    }
    save(name, result, title, text, folder, HEAD)
    print(f"{title}\n\n{text}\n")
