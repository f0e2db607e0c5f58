"""Table user_bags, as the stages that read it need to know it."""

from __future__ import annotations

from collections.abc import Iterable

_OTHERS = ("event_type", "price")
"""Fields of the vocabulary that are in no bag."""

_CROSS = "_in_"


def bag_fields(fields: Iterable[str]) -> list[str]:
    """The fields of a vocabulary that bags have, in the order of their names."""
    return sorted(set(fields) - {*_OTHERS})


def plain_fields(fields: Iterable[str]) -> list[str]:
    """Those of :func:`bag_fields` that a person reads: not crosses such as brand_in_category."""
    return [field for field in bag_fields(fields) if _CROSS not in field]


def parts_of_cross(field: str) -> tuple[str, str]:
    """The two fields of a cross: of price_in_category_2, price and category_2."""
    inner, outer = field.split(_CROSS)
    return inner, outer
