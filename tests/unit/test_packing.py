"""The packed interpreter runs wherever it is unpacked, from itself alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kinsight.packing import add_entries, copy_interpreter, make_relocatable

LOOK = """
import json, os, site, sqlite3, ssl, sys
maps = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
print(json.dumps([sys.prefix, sys.base_prefix, os.__file__, site.ENABLE_USER_SITE, sorted(maps)]))
"""

LONG_HEAD = """#!/bin/sh
'''exec' '{}' "$0" "$@"
' '''
"""
"""How installers begin a script whose interpreter has a long path."""


@pytest.mark.skipif(sys.platform != "linux", reason="clusters run Linux")
def test_a_moved_copy_of_the_interpreter_needs_nothing_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made, moved = Path("made"), tmp_path / "moved here"
    python = copy_interpreter(made).resolve()
    for name, head in (("look", f"#!{python}\n"), ("long-look", LONG_HEAD.format(python))):
        script = python.with_name(name)
        script.write_text(head + LOOK)
        script.chmod(0o755)
    make_relocatable(made)
    add_entries(made)
    made.rename(moved)
    for name in ("look", "long-look"):
        shown = subprocess.run(
            [str(moved / "bin" / name)],
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
        )
        prefix, base, library, user_site, maps = json.loads(shown.stdout)
        assert prefix == base == str(moved)
        assert library.startswith(str(moved))
        assert user_site is False
        original = str(Path(sys.base_prefix) / "lib")
        of_the_system = original in ("/usr/lib", "/lib")
        assert of_the_system or not [path for path in maps if path.startswith(original)]
    assert (moved / "jobs" / "pipeline.py").is_file()
    assert (moved / "spark-conf" / "standalone.conf").is_file()
