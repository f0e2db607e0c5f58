"""Addresses inside the page that stay the same from date to date."""

from __future__ import annotations

import re
import zlib


def anchor(kind: str, *names: str) -> str:
    """An id for a segment or an audience, such as ``segment-main-s03``.

    Args:
        kind: What it is.
        names: What tells it from the others of its kind.

    Returns:
        Small letters, digits and hyphens; a check sum of the names follows where letters had to
        be left out, so that two names never share an address.
    """
    name = "-".join(names)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if slug != name:
        slug = f"{slug}-{zlib.crc32(name.encode()):08x}"
    return f"{kind}-{slug}"
