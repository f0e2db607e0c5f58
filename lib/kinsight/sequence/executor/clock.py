"""Local time of events: hours and days of the shop's zone, in numpy."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

QUARTER_HOUR = 900
SECONDS_A_DAY = 86_400
THURSDAY = 3
"""Weekday of 1970-01-01, Monday 0."""


@dataclasses.dataclass(frozen=True)
class LocalTimes:
    """Local times, [events].

    Attributes:
        seconds: Since 1970 UTC.
        day: Days since 1970 of the local date.
        hour: 0 to 23.
        weekday: Monday 0.
    """

    seconds: Ints
    day: Ints
    hour: Ints
    weekday: Ints


def local_times(micros: Ints, timezone: str) -> LocalTimes:
    """When events were by the shop's clock.

    Args:
        micros: Microseconds since 1970 UTC, [events].
        timezone: The shop's zone. Clocks that change within a quarter of an hour (St John's until
            2011, at one minute past midnight) are read as if they changed at its end.
    """
    seconds = np.floor_divide(micros, 1_000_000)
    quarter = np.floor_divide(seconds, QUARTER_HOUR)
    # One look at the zone a day, and within a day of a change one a quarter of an hour.
    first = int(quarter.min()) // 96
    days = int(quarter.max()) // 96 - first + 1
    local = seconds + _offsets(timezone, first, days)[quarter - first * 96]
    day = np.floor_divide(local, SECONDS_A_DAY)
    return LocalTimes(
        seconds,
        day,
        np.floor_divide(local - day * SECONDS_A_DAY, 3600),
        (day + THURSDAY) % 7,
    )


@functools.lru_cache(maxsize=4)
def _offsets(timezone: str, first: int, days: int) -> Ints:
    """Seconds between the zone's clock and UTC at each quarter of an hour of some UTC days."""
    zone = ZoneInfo(timezone)
    at_midnight = [_offset(zone, (first + day) * SECONDS_A_DAY) for day in range(days + 1)]
    offsets = np.repeat(np.array(at_midnight[:-1], np.int64), 96)
    for day in np.flatnonzero(np.diff(at_midnight)).tolist():
        begin = (first + day) * SECONDS_A_DAY
        offsets[day * 96 : (day + 1) * 96] = [
            _offset(zone, begin + quarter * QUARTER_HOUR) for quarter in range(96)
        ]
    return offsets


def _offset(zone: ZoneInfo, seconds: int) -> int:
    moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc).astimezone(zone)
    return int((moment.utcoffset() or dt.timedelta()).total_seconds())
