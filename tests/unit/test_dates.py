"""As-of dates and the instants they stand for."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from kinsight.dates import AsOf
from kinsight.errors import RefusedError


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "UTC", "America/Los_Angeles"])
def test_a_date_may_be_run_once_it_has_begun_in_the_shop(zone: str) -> None:
    today = dt.datetime.now(ZoneInfo(zone)).date()
    AsOf.of(today, zone).refuse_unbegun()
    tomorrow = AsOf.of(today + dt.timedelta(days=1), zone)
    with pytest.raises(RefusedError, match=f"has not begun in {zone}") as caught:
        tomorrow.refuse_unbegun()
    assert f"{tomorrow.instant:%Y-%m-%d %H:%M} UTC" in caught.value.found
