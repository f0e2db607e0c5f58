"""Files that ship with the package: table definitions, Spark properties, example configurations."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_resources"
_CHECKOUT = Path(__file__).parents[2]
_FOLDERS = {"schemas": "schemas", "spark-conf": "spark-conf", "conf": "jobs/conf"}


def resource(folder: str, name: str = "") -> Path:
    """The path of a shipped file: from the wheel, or from the checkout in an editable install.

    Args:
        folder: ``schemas``, ``spark-conf`` or ``conf``.
        name: File inside the folder; empty for the folder itself.
    """
    packaged = _PACKAGED / folder
    base = packaged if packaged.is_dir() else _CHECKOUT / _FOLDERS[folder]
    return base / name
