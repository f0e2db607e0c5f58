"""Lists of user ids as files, for shops that bring their own seeds: the demo, synthetic ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kinsight.hashing import hash_fractions


def halves(ids: Iterable[str], salt: str) -> tuple[list[str], list[str]]:
    """Cut ids in two by their hash: seeds, and the truth that is hidden from them.

    Args:
        ids: User ids; each counts once.
        salt: Purpose and seed of the cut.
    """
    distinct = pd.Series(sorted(set(ids)), dtype=str)
    first = hash_fractions(distinct, salt) < 0.5
    return list(distinct[first]), list(distinct[~first])


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write a list, ascending, each id once; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"user_id": sorted(set(ids))}).to_csv(path, index=False)
