"""Plants what the stages before `expand` publish: users with a taste, at two dates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kinsight.hashing import hash_fractions
from kinsight.workspace import Workspace
from tests.planting import day, publish

USERS = 360
TOKENS = 40
TASTE_TOKENS = 10
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def user_ids() -> list[str]:
    return [f"u{i:04d}" for i in range(USERS)]


def has_taste() -> np.ndarray:
    """A third of the users."""
    return hash_fractions(user_ids(), "taste") < 0.33


def is_labelled() -> np.ndarray:
    """Three quarters of the users carry the attribute `labelled`."""
    return hash_fractions(user_ids(), "labelled") < 0.75


def consents() -> np.ndarray:
    return hash_fractions(user_ids(), "consent") < 0.9


def split_taste() -> tuple[list[str], list[str]]:
    """Seeds and hidden truth: the users with the taste, halved by hash."""
    first = hash_fractions(user_ids(), "seeds") < 0.5
    ids = np.array(user_ids())
    taste = has_taste()
    return sorted(ids[taste & first]), sorted(ids[taste & ~first])


def plant_users(workspace: Workspace) -> None:
    """Attributes, some of them only known later."""
    rows = []
    for user, labelled, consent in zip(user_ids(), is_labelled(), consents(), strict=True):
        now = {"labelled": "yes" if labelled else "no", "age": "30"}
        later = {"labelled": "no" if labelled else "yes"}
        for valid_from, attributes in ((EPOCH, now), (day("2024-06-01"), later)):
            rows.append(
                {
                    "user_id": user,
                    "valid_from": valid_from,
                    "attributes": attributes,
                    "consent": {"email": bool(consent)},
                    "source_file_id": "f",
                }
            )
    publish(workspace, "ingest", {"users": rows})


def plant_items(workspace: Workspace) -> None:
    """Titles of items, some of them only given later."""
    rows = [
        {
            "item_id": f"item-{t}",
            "valid_from": valid_from,
            "category": None,
            "brand": None,
            "title": title,
            "price": None,
            "attributes": None,
            "content_vector": None,
            "source_file_id": "f",
        }
        for t in range(TOKENS)
        for valid_from, title in ((EPOCH, f"TITLE {t}"), (day("2024-06-01"), f"RENAMED {t}"))
    ]
    publish(workspace, "ingest", {"items": rows})


def plant_date(workspace: Workspace, as_of: str, *, seed: int) -> None:
    """Histories, vectors and segments of a date; another seed gives other items to everybody."""
    rng = np.random.default_rng(seed)
    taste = has_taste()
    rate = np.where(taste[:, None] & (np.arange(TOKENS) < TASTE_TOKENS), 0.6, 0.15)
    met = rng.random((USERS, TOKENS)) < rate
    vectors = rng.normal(0, 1, (USERS, 6)) + 2.5 * taste[:, None] * np.eye(6)[1] + 3.0
    events = np.maximum(met.sum(axis=1) + rng.integers(0, 40, USERS), 1)
    version = f"v-{as_of}"
    tokens = [
        {
            "vocabulary_version": version,
            "field": field,
            "token": f"{field}-{t}",
            "index": t + 2,
            "bucket": 0,
            "frequency": 1,
            "users": int(max(met[:, t].sum(), 1)),
            "upper_edge": None,
            "label": f"{field}-{t}",
        }
        for field in ("item", "category_1")
        for t in range(TOKENS)
    ]
    bags, features, embeddings, members = [], [], [], []
    for i, user in enumerate(user_ids()):
        index = [int(t) + 2 for t in np.flatnonzero(met[i])]
        bag = (index, [1.0] * len(index), [float(t % 2) for t in index])
        bags.append(
            {
                "user_id": user,
                "vocabulary_version": version,
                "events": int(events[i]),
                "bags": {"item": bag} if i % 50 == 7 else {"item": bag, "category_1": bag},
            }
        )
        features.append(_features(user, int(events[i])))
        if i % 40 != 3:  # some users have no vector
            embeddings.append(
                {
                    "user_id": user,
                    "model_version": f"m-{as_of}",
                    "interest": 0,
                    "weight": 1.0,
                    "events_used": int(events[i]),
                    "norm": 1.0,
                    "vector": [float(v) for v in vectors[i]],
                }
            )
        members.append(
            {
                "segmentation": "main",
                "user_id": user,
                "membership_rank": 0,
                "segment_id": "s01" if taste[i] else "s02",
                "confidence": 0.5,
                "distance": 0.5,
                "second_segment_id": None,
            }
        )
    publish(
        workspace,
        "sequence",
        {"vocabularies": tokens},
        as_of=as_of,
        producer={"vocabulary_version": [version]},
        key={"vocabulary_version": version},
    )
    publish(
        workspace,
        "sequence",
        {"user_bags": bags, "user_features": features},
        as_of=as_of,
        producer={"vocabulary_version": [version]},
    )
    publish(
        workspace,
        "embed",
        {"embeddings": embeddings},
        as_of=as_of,
        producer={"model_version": [f"m-{as_of}"]},
    )
    publish(
        workspace,
        "segment",
        {"segment_members": members},
        as_of=as_of,
        producer={"segmentation": ["main"]},
    )


def _features(user: str, events: int) -> dict[str, Any]:
    shares = ("weekend", "morning", "afternoon", "evening", "night")
    counts = ("frequency", "sessions", "purchases", "returns", "items", "categories", "brands")
    return {
        "user_id": user,
        "recency_days": 1.0,
        "tenure_days": 30.0,
        "monetary": 1.0,
        "events": events,
        "average_price": None,
        "events_per_session": 1.0,
        "type_shares": {"purchase": 1.0},
        "category_shares": {},
        "hour_shares": [0.0] * 24,
        "weekday_shares": [0.0] * 7,
        "is_hot": False,
        **dict.fromkeys(counts, 1),
        **{f"{share}_share": 0.0 for share in shares},
    }


def write_lists(folder: Path) -> None:
    """Seed and truth lists, good and bad."""
    seeds, truth = split_taste()
    folder.mkdir(parents=True, exist_ok=True)
    ids = [*seeds, seeds[0], seeds[1], "nobody", "  "]
    pd.DataFrame({"customer": ids, "note": "a, b"}).to_csv(folder / "seeds 1.csv", index=False)
    pd.DataFrame({"user_id": truth}).to_csv(folder / "truth.csv", index=False)
    pd.DataFrame({"user_id": seeds[:10]}).to_csv(folder / "ten.csv", index=False)
    pd.DataFrame({"user_id": ["x-1", "x-2"]}).to_csv(folder / "strangers.csv", index=False)
    others = [f"{number:05}" for number in range(1, 13)]
    pd.DataFrame({"user_id": others}).to_csv(folder / "other ids.csv", index=False)
    (folder / "empty.csv").touch()
    (folder / "folder.csv").mkdir()
    (folder / "only header.csv").write_text("user_id\n")
    (folder / "binary.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (folder / "broken.parquet").write_bytes(b"this is no parquet")
    blocked = user_ids()[::5]
    pd.DataFrame({"id": blocked}).to_parquet(folder / "blocked.parquet")
