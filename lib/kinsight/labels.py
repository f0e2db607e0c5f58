"""Labels as a person reads them: shop catalogues often hold capitals, slashes and codes."""

from __future__ import annotations

import re

LONGEST = 28
CUT = 20


def readable(label: str) -> str:
    """Title case for labels in capitals or lower case, air around slashes, no parentheses.

    >>> readable("SNACKS/CHIPS&DIPS")
    'Snacks / Chips & Dips'
    >>> readable("WINGS (IQF)")
    'Wings'
    >>> readable("iPhone cases")
    'iPhone cases'
    """
    label = re.sub(r"\s*\([^()]*(\)|$)", " ", label) if not label.startswith("(") else label
    label = re.sub(r"\s*([/&])\s*", r" \1 ", label)
    label = re.sub(r"\s*([:,])\s*", r"\1 ", label)
    label = re.sub(r"[\s_]+", " ", label).strip(" /&:,-")
    if label == label.upper() or label == label.lower():
        label = re.sub(r"[^\W\d_]+('[^\W\d_]+)?", lambda word: word[0].capitalize(), label)
    return label


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> plural(1, "file")
    '1 file'
    >>> plural(2305, "customer")
    '2,305 customers'
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def is_plain(label: str) -> bool:
    """Whether a label can stand in a name: short, of words, not cut off.

    Codes (``2281``), labels cut to a width (``Table Salt Popcorn Saltice C``) and words without
    a vowel (``Sngl``) cannot.
    """
    words = re.findall(r"[^\W\d_]+", label)
    return (
        0 < len(label) <= LONGEST
        and any(len(word) >= 3 for word in words)
        and not (len(label) > CUT and re.search(r" \w$", label))
        and not any(_is_abbreviation(word) for word in words)
    )


def _is_abbreviation(word: str) -> bool:
    """Three or more Latin consonants without a vowel, not written as an acronym."""
    return re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]?[b-df-hj-np-tv-xz]{2,}", word) is not None
