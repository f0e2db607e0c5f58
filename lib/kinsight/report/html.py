"""The HTML file: values of the sections put into the template, everything from data escaped."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kinsight.errors import EnvironmentProblem
from kinsight.report.data import ReportData
from kinsight.report.palette import DARK
from kinsight.report.sections.audiences import VERDICTS, audiences_section
from kinsight.report.sections.contents import contents_section
from kinsight.report.sections.movement import movement_section
from kinsight.report.sections.quality import quality_section
from kinsight.report.sections.runs import runs_section
from kinsight.report.sections.segments import segments_section
from kinsight.report.sections.summary import summary_section

STYLE = ("colours", "parts", "contents")
SCRIPTS = ("theme", "contents", "find", "hints")


def render(data: ReportData, generated_at: dt.datetime) -> str:
    """The whole report as one HTML page that fetches nothing.

    Args:
        data: What it shows.
        generated_at: Moment to print.
    """
    environment = Environment(
        loader=PackageLoader("kinsight.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = '"use strict";\n' + "".join(_shipped(f"scripts/{name}.js") for name in SCRIPTS)
    return environment.get_template("report.html.j2").render(
        verdicts=VERDICTS,
        contents=contents_section(data),
        summary=summary_section(data),
        quality=quality_section(data),
        segmentations=[
            {"segments": segments_section(s), "movement": movement_section(s)}
            for s in data.segmentations
        ],
        audiences=audiences_section(data),
        runs=runs_section(data),
        generated_at=f"{generated_at:%Y-%m-%d %H:%M} UTC",
        style=Markup("".join(_shipped(f"style/{name}.css") for name in STYLE) + _dark_charts()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        EnvironmentProblem: If the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"Cannot write {path}.",
            expected="a folder that can be written",
            found=error.strerror or str(error),
            to_do="correct report.folder in the configuration, or its permissions",
        ) from error


def _shipped(name: str) -> str:
    return (resources.files("kinsight.report") / "templates" / name).read_text(encoding="utf-8")


def _dark_charts() -> str:
    """Rules that give each colour of the drawn charts its dark counterpart."""
    rules = [
        f'svg.chart [{what}="{light}"] {{ {what}: light-dark({light}, {dark}); }}\n'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    ]
    return "".join(rules)
