"""Plants the output of stage `sequence`: users of two tastes, and the vocabulary they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinsight.workspace import Workspace
from tests.planting import day, publish

ITEMS = 24
"""Items 2 to 13 belong to the first taste, 14 to 25 to the second."""


def plant_sequences(
    workspace: Workspace,
    as_of: str = "2024-03-01",
    *,
    users: int = 120,
    vocabulary: str = "v1",
    category: str = "leaf",
    items: int = ITEMS,
    seed: int = 5,
    only: Sequence[str] = ("vocabularies", "sequences"),
) -> list[str]:
    """Publish sequences and their vocabulary.

    User u0000, u0002 … has the first taste, u0001, u0003 … the second; each has three to eight days
    of one to three events. The last user has one single event.

    Returns:
        The user ids.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(users):
        days = np.sort(rng.choice(60, rng.integers(3, 9), replace=False))
        events = [
            (int(d), int(i)) for d in days for i in rng.integers(0, items // 2, rng.integers(1, 4))
        ]
        if number == users - 1:
            events = events[:1]
        half = items // 2 * (number % 2)
        item = [2 + half + i for _, i in events]
        length = len(events)
        seconds = [1_704_067_200 + d * 86_400 + 36_000 for d, _ in events]
        rows.append(
            {
                "user_id": f"u{number:04d}",
                "vocabulary_version": vocabulary,
                "length": length,
                "events_total": length,
                "first_event_time": day("2024-01-01"),
                "last_event_time": day("2024-02-20"),
                "item": item,
                "event_type": [2] * length,
                "category": [2 + (i - 2) // 6 for i in item],
                "brand": [2] * length,
                "price": [2 + i % 3 for i in item],
                "hour_of_week": [1 + s // 3_600 % 168 for s in seconds],
                "seconds": seconds,
            }
        )
    sizes = {
        "item": items,
        "event_type": 1,
        "brand": 1,
        "category_1": 2,
        "category_2": 4,
        "price": 3,
    }
    tokens = [
        {
            "vocabulary_version": vocabulary,
            "field": field,
            "token": f"{field} {index}",
            "index": index,
            "bucket": 0,
            "frequency": 50,
            "users": 20,
            "upper_edge": None,
            "label": f"{field} {index}",
        }
        for field, size in sizes.items()
        for index in range(2, size + 2)
    ]
    tables = {"vocabularies": tokens, "sequences": rows}
    producer = {"vocabulary_version": [vocabulary], "category_level": [category]}
    for name in only:
        key = {"vocabulary_version": vocabulary}
        if name == "sequences":
            key = {"as_of": workspace.as_of(as_of).date, **key}  # type: ignore[dict-item]  # a date beside text
        publish(
            workspace, "sequence", {name: tables[name]}, as_of=as_of, producer=producer, key=key
        )
    return [row["user_id"] for row in rows]  # type: ignore[misc]  # rows hold mixed types
