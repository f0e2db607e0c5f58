"""Files that ship with the package: table definitions, Spark properties, examples, job entries."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_resources"
_CHECKOUT = Path(__file__).parents[2]
_FOLDERS = {"schemas": "schemas", "spark-conf": "spark-conf", "conf": "jobs/conf", "jobs": "jobs"}


def resource(folder: str, name: str = "") -> Path:
    """The path of a shipped file: from the wheel, or from the checkout in an editable install.

    Args:
        folder: ``schemas``, ``spark-conf``, ``conf`` or ``jobs``.
        name: File inside the folder; empty for the folder itself.
    """
    root = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return root / _FOLDERS[folder] / name
