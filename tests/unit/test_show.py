"""What `kinsight show` prints of rows."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from kinsight.show import print_all, show_audience


def shown(row: dict[str, Any]) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    print_all(console, show_audience(row))
    return console.export_text()


def audience(**changed: Any) -> dict[str, Any]:
    counts = ("sent", "duplicate", "unknown", "ineligible", "matched", "needed")
    return {
        **{f"seeds_{part}": 30 for part in counts},
        "audience": "kids",
        "as_of": "2024-03-01",
        "status": "published",
        "refusal_reason": None,
        "verdict_text": "fair: a clear signal",
        "users_eligible": 300,
        "users_suppressed": 0,
        "members": 20,
        "scorer_reason": "knn and logistic rank together",
        "scorer_weights": {"knn": 0.5, "logistic": 0.5},
        "churn": None,
        "valid_until": "2024-03-31",
        "scorers": [],
        "levels": [],
        "reasons": [
            {
                "label": "Toys [XL]",
                "token": "toys",
                "field": "category_1",
                "lift": 2.34,
                "share": 0.0421,
                "base_share": 0.011,
            }
        ],
        **changed,
    }


def test_an_audience_tells_why_and_which_scorers_rank_together() -> None:
    text = shown(audience())
    for words in ("The seeds do more of this", "Toys [XL]", "category 1", "2.3", "4.21%", "1.10%"):
        assert words in text
    assert "knn 50%, logistic 50%" in text


def test_a_refused_audience_has_no_table_of_reasons() -> None:
    refused = audience(reasons=[], scorer_weights={}, status="refused", refusal_reason="Too few")
    assert "The seeds do more" not in shown(refused)
    assert "Too few" in shown(refused)
