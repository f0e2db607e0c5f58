"""The reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinsight.reference import configuration_page, tables_page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "text"), [("configuration.md", configuration_page()), ("tables.md", tables_page())]
)
def test_the_pages_are_up_to_date(name: str, text: str) -> None:
    stored = (DOCS / name).read_text(encoding="utf-8")
    assert stored == text, "run `python -m kinsight.reference docs`"


def test_keys_with_certain_values_list_them() -> None:
    page = configuration_page()
    assert "One of `keep`, `quarantine`." in page
    assert "Any of `item`, `event_type`," in page
