"""Histories of unequal lengths on pages of equal size: the form in which petastorm carries them.

petastorm refuses lists of unequal lengths. Padding every history to the longest would do, but a row
group of 160,000 short histories would swell to gigabytes; with pages only the last one is padded,
and memory follows the number of events.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from kinsight.encoders.histories import INDEX_FIELDS, Histories, IntArray

PAGE = 8_192
"""Events a page: the unit in which histories pass through petastorm."""
PAGE_FIELDS = (*INDEX_FIELDS, "place", "draw")
NO_EVENT = -1
"""Stands at the places of a page that hold no event."""


def flat(column: Iterable[npt.NDArray[np.int64]]) -> IntArray:
    """The arrays of a column, one after another."""
    return np.concatenate([np.empty(0, np.int64), *column])


def to_pages(indices: IntArray, times: IntArray) -> pd.DataFrame:
    """Lay histories, one after another, on pages of equal size.

    Args:
        indices: Rows PAGE_FIELDS of flat arrays, [fields, events].
        times: Seconds, [events].

    Returns:
        A frame of at least one page, columns ``indices`` and ``times`` of flat arrays.
    """
    events = indices.shape[1]
    pages = max(1, -(-events // PAGE))
    padding = (0, pages * PAGE - events)
    padded = np.pad(indices.astype(np.int32), ((0, 0), padding), constant_values=NO_EVENT)
    by_page = padded.reshape(len(indices), pages, PAGE).swapaxes(0, 1).reshape(pages, -1)
    by_time = np.pad(times, padding).reshape(pages, PAGE)
    frame: pd.DataFrame = pd.DataFrame({"indices": list(by_page), "times": list(by_time)})
    return frame


def from_pages(
    indices: npt.NDArray[np.int32], times: IntArray
) -> tuple[Histories, npt.NDArray[np.int32]]:
    """Take histories off their pages.

    Args:
        indices: [pages, fields x PAGE].
        times: [pages, PAGE].

    Returns:
        The histories, and the draw of each user, [users].
    """
    fields = indices.reshape(len(indices), len(PAGE_FIELDS), PAGE).swapaxes(0, 1)
    columns = dict(zip(PAGE_FIELDS, fields.reshape(len(PAGE_FIELDS), -1), strict=True))
    events = columns["place"] != NO_EVENT
    taken = {name: column[events] for name, column in columns.items()}
    first = np.flatnonzero(taken["place"] == 0)
    length = np.diff(first, append=len(taken["place"])).astype(np.int64)
    history = {name: taken[name] for name in INDEX_FIELDS}
    history["seconds"] = times.reshape(-1)[events]
    return Histories(history, length), taken["draw"][first]
