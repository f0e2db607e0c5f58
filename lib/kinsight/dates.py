"""The as-of date and the instant it stands for."""

from __future__ import annotations

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

from kinsight.errors import ConfigError, RefusedError


@dataclasses.dataclass(frozen=True)
class AsOf:
    """A date before whose midnight, in the shop's time zone, every event used must lie.

    Attributes:
        date: The as-of date.
        instant: Its midnight in the shop's zone, as an aware UTC datetime.
        timezone: Name of the shop's zone.
    """

    date: dt.date
    instant: dt.datetime
    timezone: str

    @classmethod
    def of(cls, date: dt.date | str, timezone: str) -> AsOf:
        """Make one from a date or ``YYYY-MM-DD``.

        Raises:
            ConfigError: If the text is no date of the calendar.
        """
        if isinstance(date, str):
            date = parse_date(date)
        midnight = dt.datetime.combine(date, dt.time(), tzinfo=ZoneInfo(timezone))
        return cls(date, midnight.astimezone(dt.timezone.utc), timezone)

    def days_before(self, days: int) -> AsOf:
        """The as-of so many calendar days earlier."""
        return AsOf.of(self.date - dt.timedelta(days=days), self.timezone)

    def refuse_unbegun(self) -> None:
        """Refuse a date that has not begun: its last events are still to come.

        Raises:
            RefusedError: If its instant lies ahead.
        """
        now = dt.datetime.now(dt.timezone.utc)
        if self.instant > now:
            raise RefusedError(
                f"The date {self.date} has not begun in {self.timezone}.",
                expected=f"a date that began by now, {now:%Y-%m-%d %H:%M} UTC",
                found=f"one that begins at {self.instant:%Y-%m-%d %H:%M} UTC",
                to_do="run it after that, or leave --as-of out for today in the shop's time zone",
            )


def parse_date(text: str) -> dt.date:
    """Read ``YYYY-MM-DD``.

    Raises:
        ConfigError: If the text is no date of the calendar.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "That is not a date.",
            expected="a day of the calendar as YYYY-MM-DD, such as 2017-10-30",
            found=f"{text!r} ({error})",
            to_do="correct --as-of",
        ) from None
