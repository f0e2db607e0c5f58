"""Table user_bags, as the stages that read it need to know it."""

from __future__ import annotations

from collections.abc import Iterable

_OTHERS = ("event_type", "price")
"""Fields of the vocabulary that are in no bag."""


def bag_fields(fields: Iterable[str]) -> list[str]:
    """The fields of a vocabulary that bags have, in the order of their names."""
    return sorted(set(fields) - {*_OTHERS})
