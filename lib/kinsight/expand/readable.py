"""The readable numbers of users that scorers may read."""

from __future__ import annotations

from kinsight.config.ingest import EVENT_TYPES
from kinsight.tables import numeric_columns


def readable_features() -> list[str]:
    """SQL expressions over user_features: its plain numbers, and the share of each event type.

    Types that only this shop has are left out, so that the numbers of two shops mean the same.
    """
    shares = (f"type_shares['{name}']" for name in EVENT_TYPES)
    return [*numeric_columns("user_features"), *shares]
