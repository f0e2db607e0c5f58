"""What Kinsight needs of a machine, checked one by one: `kinsight doctor`."""

from __future__ import annotations

import dataclasses
import importlib.metadata as metadata
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from kinsight.config import KinsightConfig, SparkConfig
from kinsight.errors import EnvironmentProblem
from kinsight.spark import check_java, delta_jars, properties_file, read_properties

GIB = 2**30
WORKERS_GIB = 1.5
"""Two Python workers with torch, and the driver's own Python."""
LEAST_FREE_GIB = 2.0
"""Tables of a middling shop, their history of 30 days, Spark's scratch files."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What.
        verdict: ok, warning (it may work) or problem (it will not).
        found: What was there.
        to_do: What to do about it; empty where all is well.
    """

    name: str
    verdict: str
    found: str
    to_do: str = ""


def examine(config: KinsightConfig | None) -> Iterator[Check]:
    """Check this machine, and the folders of a configuration where one is given.

    Args:
        config: The shop's configuration, or None for the machine alone.
    """
    given = config.spark if config else SparkConfig()
    properties = read_properties(properties_file(given.master or "local")) | given.conf
    yield _java()
    yield from _packages()
    yield _jars(properties)
    yield _memory(properties)
    folders = {"scratch space": properties.get("spark.local.dir", tempfile.gettempdir())}
    if config is not None and config.tables.path is not None:
        folders["tables"] = config.tables.path
    for name, folder in folders.items():
        yield _space(name, folder)
    if config is not None:
        yield from check_sources(config)


def _java() -> Check:
    try:
        version = check_java()
    except EnvironmentProblem as error:
        return Check("Java", "problem", error.found, error.to_do)
    return Check("Java", "ok", version)


def _packages() -> Iterator[Check]:
    """Every package that Kinsight needs, against the versions that work together."""
    wrong = []
    needed = [Requirement(text) for text in metadata.requires("kinsight") or []]
    needed = [need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    for need in needed:
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            found = "none"
        if found == "none" or not need.specifier.contains(found, prereleases=True):
            wrong.append(f"{need.name} {found}, expected {need.specifier}")
    if wrong:
        to_do = "pip install -c constraints.txt 'kinsight' in a fresh virtual environment"
        yield Check("packages", "problem", "; ".join(wrong), to_do)
    else:
        spark, torch = metadata.version("pyspark"), metadata.version("torch")
        yield Check("packages", "ok", f"{len(needed)} as pinned, pyspark {spark}, torch {torch}")


def _jars(properties: dict[str, str]) -> Check:
    if properties.get("spark.jars"):
        missing = [j for j in properties["spark.jars"].split(",") if not Path(j).is_file()]
        if missing:
            to_do = "correct spark.conf: {spark.jars: ...}"
            return Check("Delta JAR", "problem", f"no such file: {', '.join(missing)}", to_do)
        return Check("Delta JAR", "ok", properties["spark.jars"])
    files = delta_jars(properties)
    if files:
        return Check("Delta JAR", "ok", f"{len(files)} files in {files[0].parent}")
    found = f"{properties.get('spark.jars.packages', 'nothing')} is not in the Ivy cache yet"
    return Check("Delta JAR", "warning", found, "the first run fetches it: connect once")


def _memory(properties: dict[str, str]) -> Check:
    heap = _gib(properties.get("spark.driver.memory", "1g"))
    needed = heap + WORKERS_GIB
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    found = f"{total:.1f} GiB; the JVM takes {heap:.1f}, Python workers about {WORKERS_GIB}"
    if total < needed:
        to_do = "lower spark.conf: {spark.driver.memory: 1g}, or take a larger machine"
        return Check("memory", "warning", found, to_do)
    return Check("memory", "ok", found)


def _gib(text: str) -> float:
    """Spark's size text, such as 3g or 512m, in GiB."""
    units = {"k": 2.0**-20, "m": 2.0**-10, "g": 1.0, "t": 2.0**10}
    number = text.lower().removesuffix("b")
    return float(number[:-1]) * units[number[-1]] if number[-1] in units else float(number) / GIB


def _space(name: str, folder: str) -> Check:
    """Whether a folder, or the nearest one above it, can be written to and has room."""
    if "://" in folder:
        return Check(name, "ok", f"{folder}: not on this machine, not looked at")
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        to_do = f"give this user the right to write to {place}, or choose another folder"
        return Check(name, "problem", f"{folder}: {error.strerror}", to_do)
    free = shutil.disk_usage(place).free / GIB
    found = f"{folder}: {free:.1f} GiB free"
    if free < LEAST_FREE_GIB:
        return Check(name, "warning", found, f"free {LEAST_FREE_GIB} GiB, or choose another folder")
    return Check(name, "ok", found)


def told(problems: Sequence[Check]) -> tuple[str, str]:
    """What was found and what to do about it, over several problems, for one message."""
    found = "; ".join(f"{check.name}: {check.found}" for check in problems)
    return found, "; ".join(dict.fromkeys(check.to_do for check in problems))


def check_sources(config: KinsightConfig) -> Iterator[Check]:
    """Whether local source paths match anything; others are left to `ingest`."""
    for source in config.ingest.sources():
        if source.path is None or "://" in source.path:
            continue
        path = Path(source.path)
        root = Path(path.anchor or ".")
        pattern = str(path.relative_to(root))
        if not path.exists() and not any(root.glob(pattern)):
            to_do = f"correct `path` of source {source.name}, or put the files there"
            yield Check(f"source {source.name}", "problem", f"nothing at {source.path}", to_do)
        elif source.format == "delta" and not (path / "_delta_log").is_dir():
            to_do = f"set `path` of source {source.name} to the folder that holds _delta_log"
            found = f"{source.path} is no Delta table"
            yield Check(f"source {source.name}", "problem", found, to_do)
        else:
            yield Check(f"source {source.name}", "ok", source.path)
