"""What `kinsight show` prints of rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from kinsight.show import print_all, show_audience, show_segment


def shown(row: dict[str, Any], of: Callable[[Any], Iterable[Table]] = show_audience) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    print_all(console, of(row))
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


def term(label: str, token: str, **known: Any) -> dict[str, Any]:
    figures = {"lift": 12.4, "held_out_lift": 8.0, "share": 0.0006, "base_share": 0.0000281}
    return {"label": label, "token": token, **figures, **known}


def segment(**changed: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(("description", "rule", "rule_precision", "rule_recall")),
        "segment_id": "s01",
        "name": "Baby Foods",
        "as_of": "2024-03-01",
        "size": 20,
        "share": 0.1,
        "profile": {"recency_days": 0.3036, "category_shares['Toys']": 0.0002816},
        "base_profile": {"recency_days": 20.07, "category_shares['Toys']": 0.0002810},
        "name_terms": [term("Baby Foods", "BABY FOODS")],
        "top_categories": [],
        "top_brands": [],
        "top_items": [term("Jar", "17"), term("Jar", "18"), term("Bib", "19", held_out_lift=None)],
        **changed,
    }


def test_equal_labels_are_told_apart_by_their_ids() -> None:
    text = shown(segment(), show_segment)
    assert "Jar (17)" in text
    assert "Jar (18)" in text
    assert "Bib (19)" not in text


def test_small_shares_and_means_are_rounded_to_what_they_say() -> None:
    text = shown(segment(), show_segment)
    assert "0.060%" in text
    assert "0.0028%" in text
    assert "0.3 " in text
    assert "0.3036" not in text
    assert "Toys" not in text, "as everybody"


def test_the_words_of_the_name_stand_with_their_checked_lift_first() -> None:
    text = shown(segment(), show_segment)
    line = next(line for line in text.splitlines() if "Baby Foods" in line and "12.4" in line)
    assert line.index("8.0") < line.index("12.4")
