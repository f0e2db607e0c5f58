"""Plants what all stages would publish for a shop at two dates, so that a report has it all.

Eight segments of which one is split and one is new at the second date, three audiences of which
one is refused, refused rows, a hot user, and names that try to break out of the page.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from kinsight.workspace import Workspace
from tests.planting import day, publish

FIRST, SECOND = "2017-10-01", "2017-11-01"
HOSTILE = "<script>alert('category')</script>"
HOSTILE_NAME = '"><img src=x onerror=alert(1)> & co'
MODEL = "transformer-2017-10-01-5c1f"
VOCABULARY = "v1"
USERS = 400
Tables = dict[str, list[dict[str, Any]]]
EVENTS = 1_500
SEGMENTS = {
    "S1": "Baby Care · Weekend",
    "S2": "Garden · High Value",
    "S3": "Bread & Milk · Frequent · Morning",
    "S4": "Frozen Meals · Evening",
    "S5": "Pet Food · Big Baskets",
    "S6": "Wine · Premium",
    "S7": HOSTILE_NAME,
    "S8": "Snacks · Low Prices",
    "cold": "Cold: too few events",
}
FEATURES = {
    "recency_days": 21.5,
    "tenure_days": 240.0,
    "frequency": 31.2,
    "monetary": 1204.5,
    "events": 402.0,
    "sessions": 44.0,
    "purchases": 380.0,
    "returns": 2.0,
    "items": 180.0,
    "categories": 42.0,
    "brands": 61.0,
    "average_price": 3.07,
    "events_per_session": 9.1,
    "weekend_share": 0.31,
    "morning_share": 0.28,
    "afternoon_share": 0.33,
    "evening_share": 0.34,
    "night_share": 0.05,
    "type_shares['purchase']": 0.62,
    "category_shares['Baby']": 0.04,
}


def plant_shop(workspace: Workspace) -> None:
    """Publish everything at the second date; at the first only segments and a model."""
    publish(workspace, "ingest", ingested())
    publish(
        workspace,
        "segment",
        {"models": [model()], **segmented(FIRST)},
        as_of=FIRST,
        producer={"segmentation": ["main"]},
    )
    publish(
        workspace,
        "expand",
        {**embedded(SECOND), **segmented(SECOND), **expanded()},
        as_of=SECOND,
        producer={
            "model_version": [MODEL],
            "vocabulary_version": [VOCABULARY],
            "segmentation": ["main"],
            "audience": ["new-parents", "tiny-list", "wine-club"],
        },
    )


def user(number: int) -> str:
    return f"u{number:04d}"


def segment_of(number: int, as_of: str) -> str:
    """Seven segments and cold first; at the second date S8 splits off from S3, some move."""
    if number % 10 == 9:
        return "cold"
    segment = f"S{min(7, 1 + (number % 9) * 7 // 8)}"
    if as_of == SECOND and segment == "S3" and number % 2:
        return "S8"
    if as_of == SECOND and number % 13 == 0:
        return f"S{1 + number % 7}"
    return segment


def ingested() -> Tables:
    rng = np.random.default_rng(1)
    types = ("view", "cart", "purchase")
    events = []
    # Too old; then half an hour after midnight of the second date in Berlin: neither counts.
    unseen = [day("2016-10-31"), dt.datetime(2017, 10, 31, 23, 30, tzinfo=dt.timezone.utc)]
    for number in range(EVENTS + len(unseen)):
        moment = day("2017-01-02", 9) + dt.timedelta(days=21 * int(rng.integers(0, 15)))
        if number >= EVENTS:
            moment = unseen[number - EVENTS]
        events.append(
            {
                "user_id": user(int(rng.integers(0, USERS))),
                "event_time": moment,
                "event_id": f"e{number}",
                "event_type": types[int(rng.choice(3, p=(0.6, 0.15, 0.25)))],
                "item_id": "i1",
                "category": HOSTILE,
                "brand": None,
                "price": 2.5,
                "quantity": 1.0,
                "session_id": f"s{number // 3}",
                "channel": "web",
                "country": "DE",
                "event_date": moment.date(),
                "source_file_id": "f1",
            }
        )
    files = [
        {
            "source": source,
            "kind": kind,
            "source_file_id": f"{source}-{number}",
            "path": f"/data/{source}-{number}.csv",
            "size_bytes": 1_000,
            "modified_at": day("2017-11-02"),
            "rows_read": rows + 17,
            "rows_accepted": rows,
            "rows_quarantined": 12,
            "rows_deduplicated": 5,
            "rows_identical": 3,
            "first_event_time": day("2017-01-02") if kind == "events" else None,
            "last_event_time": day("2017-11-09") if kind == "events" else None,
            "ingested_at": day("2017-11-10"),
        }
        for source, kind, rows, number in (
            ("clicks", "events", 1_250_000, 1),
            ("clicks", "events", 1_250_000, 2),
            ("catalogue", "items", 68_509, 1),
        )
    ]
    refused = [
        {
            "source": "clicks",
            "kind": "events",
            "source_file_id": "clicks-1",
            "path": "/data/clicks-1.csv",
            "reason": reason,
            "raw": raw,
            "quarantined_at": day("2017-11-10"),
        }
        for reason, raw in (
            *[
                ("event_time is no time", f'{{"user": "u{i}", "at": "yesterday"}}')
                for i in range(9)
            ],
            *[("user_id is empty", f'{{"user": "", "item": "{HOSTILE}"}}')] * 3,
        )
    ]
    return {"events": events, "ingested_files": files, "quarantine": refused}


def embedded(as_of: str) -> Tables:
    rng = np.random.default_rng(2)
    features = [
        {
            "user_id": user(number),
            **{name: value for name, value in FEATURES.items() if "[" not in name},
            "frequency": 12,
            "events": 1 if number % 10 == 9 else int(rng.lognormal(3, 1.2)) + 3,
            **dict.fromkeys(("sessions", "purchases", "returns", "items", "brands"), 4),
            "categories": 3,
            "type_shares": {"purchase": 1.0},
            "category_shares": {"Baby": 1.0},
            "hour_shares": [1 / 24] * 24,
            "weekday_shares": [1 / 7] * 7,
            "is_hot": number == 5,
        }
        for number in range(USERS)
    ]
    centres = np.random.default_rng(3).normal(size=(len(SEGMENTS), 8)) * 2
    ids = list(SEGMENTS)
    vectors = [
        {
            "user_id": user(number),
            "model_version": MODEL,
            "interest": 0,
            "weight": 1.0,
            "events_used": 5,
            "norm": 1.0,
            "vector": [
                float(v) for v in centres[ids.index(segment_of(number, as_of))] + rng.normal(size=8)
            ],
        }
        for number in range(USERS)
    ]
    bags = [
        {
            "user_id": user(number),
            "vocabulary_version": VOCABULARY,
            "events": 5,
            "bags": {
                "item": ([9], [1.0], [1.0]),
                "category_1": ([2], [5.0], [3.0]),
                "category_2": (
                    [2, 3 + ids.index(segment_of(number, as_of))],
                    [1.0, 4.0],
                    [1.0, 2.0],
                ),
            },
        }
        for number in range(USERS)
    ]
    return {"user_features": features, "user_bags": bags, "embeddings": vectors}


def model() -> dict[str, Any]:
    return {
        "model_version": MODEL,
        "encoder": "transformer",
        "objective": "next_item",
        "config": "{}",
        "config_hash": "5c1f",
        "vocabulary_version": VOCABULARY,
        "dimension": 8,
        "parameters": 1_234_567,
        "users_trained": 360,
        "users_held_out": 40,
        "training_table_version": 1,
        "metrics": {"loss": 4.2, "hit_rate_at_10": 0.12},
        "artifact_path": "models/x",
        "sha256": "0" * 64,
        "status": "ready",
        "created_at": day(FIRST),
    }


def segmented(as_of: str) -> Tables:
    members = [
        {
            "segmentation": "main",
            "user_id": user(number),
            "membership_rank": 0,
            "segment_id": segment_of(number, as_of),
            "confidence": 0.5,
            "distance": 0.4,
            "second_segment_id": "S1",
        }
        for number in range(USERS if as_of == SECOND else USERS - 20)
    ]
    sizes = {i: sum(m["segment_id"] == i for m in members) for i in SEGMENTS}
    rng = np.random.default_rng(4)
    segments = [
        {
            "segmentation": "main",
            "segment_id": segment_id,
            "parent_id": None,
            "level": 0,
            "name": name,
            "description": f"{sizes[segment_id] / len(members):.0%} of users, with a taste for "
            "Nappies (4.1 times the average). They came on 31 days (average 29), last 12 days "
            "before the date, and are worth 18% more than the average.",
            "rule": None
            if segment_id == "cold"
            else "category_shares['Baby'] > 0.12 AND weekend_share > 0.35",
            "rule_precision": None if segment_id == "cold" else 0.71,
            "rule_recall": None if segment_id == "cold" else 0.64,
            "size": sizes[segment_id],
            "share": sizes[segment_id] / len(members),
            "cohesion": None if segment_id == "cold" else 0.72,
            "name_terms": [],
            "top_categories": terms("Nappies", HOSTILE, "Baby Food", "Wipes"),
            "top_brands": terms("Acme", "Pampered & Co"),
            "top_items": terms("Acme nappies, size 4, 64 pieces", "Organic carrot purée 190 g"),
            "profile": {k: float(v * rng.lognormal(0, 0.6)) for k, v in FEATURES.items()},
            "base_profile": FEATURES,
            "model_version": MODEL,
            "centroid": [1.0] * 8,
        }
        for segment_id, name in SEGMENTS.items()
        if sizes[segment_id]
    ]
    return {
        "segments": segments,
        "segment_members": members,
        "segment_lineage": lineage(as_of),
        "segment_choices": choices() if as_of == SECOND else [],
    }


def choices() -> list[dict[str, Any]]:
    return [
        {
            "segmentation": "main",
            "segments": number,
            "silhouette": 0.1 + 0.01 * number,
            "stability": 0.9 - 0.02 * abs(number - 8),
            "stability_std": 0.03,
            "is_chosen": number == 8,
            "choice_reason": "the largest silhouette among the stable ones"
            if number == 8
            else None,
        }
        for number in range(4, 13)
    ]


def terms(*labels: str) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "token": label,
            "field": "category_3",
            "lift": 4.1 / rank,
            "held_out_lift": 3.8 / rank,
            "share": 0.12,
            "base_share": 0.03,
        }
        for rank, label in enumerate(labels, 1)
    ]


def lineage(as_of: str) -> list[dict[str, Any]]:
    if as_of == FIRST:
        return []
    previous = dt.date.fromisoformat(FIRST)
    links = [(f"S{i}", f"S{i}", "continued") for i in range(1, 8)]
    links += [("S3", "S8", "split"), ("cold", "cold", "continued")]
    return [
        {
            "segmentation": "main",
            "previous_as_of": previous,
            "previous_id": before,
            "segment_id": now,
            "kind": kind,
            "users_common": 30,
            "overlap": 0.8,
        }
        for before, now, kind in links
    ]


def expanded() -> Tables:
    audiences = [
        audience("new-parents", "published", "strong"),
        audience("wine-club", "published", "none"),
        audience("tiny-list", "refused", None),
    ]
    members = [
        {
            "audience": name,
            "user_id": user(number),
            "score": 1 - rank / 100,
            "rank": rank,
            "percentile": rank / USERS,
            "probability": 1.0 - rank / USERS,
            "level": "1%" if rank < 5 else "5%" if rank < 21 else "20%",
            "is_seed": False,
        }
        for name in ("new-parents", "wine-club")
        for rank, number in enumerate(range(3, 243, 3), 1)
    ]
    curves = [
        {
            "audience": name,
            "scorer": scorer,
            "share": share,
            "reach": int(share * USERS),
            "recall": share**power,
            "recall_low": max(0.0, share**power - 0.06),
            "recall_high": min(1.0, share**power + 0.06),
            "lift": share**power / share,
            "similarity": 0.8 - 0.5 * share if scorer == "bag_logistic" else None,
            "is_chosen": scorer == "bag_logistic",
        }
        for name, powers in (("new-parents", (0.35, 0.7, 1.0)), ("wine-club", (0.72, 0.7, 1.0)))
        for scorer, power in zip(("bag_logistic", "activity", "random"), powers, strict=True)
        for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    ]
    return {"audiences": audiences, "audience_members": members, "audience_curves": curves}


def audience(name: str, status: str, verdict: str | None) -> dict[str, Any]:
    published = status == "published"
    measures = (("bag_logistic", 0.86, 0.52), ("activity", 0.58, 0.12), ("random", 0.5, 0.05))
    return {
        "audience": name,
        "status": status,
        "refusal_reason": None
        if published
        else "Too few seeds.\n  expected: 100 matched seeds\n  found: 3 of 4 sent\n"
        "  to do: send a longer list",
        "seeds_sent": 131 if published else 4,
        "seeds_duplicate": 2,
        "seeds_unknown": 7,
        "seeds_ineligible": 0,
        "seeds_matched": 122 if published else 3,
        "seeds_needed": 100,
        "users_eligible": 395,
        "users_suppressed": 5,
        "members": 80 if published else 0,
        "scorer": "bag_logistic" if published else None,
        "scorer_reason": "It found the most hidden seeds of all." if published else None,
        "scorers": [
            {
                "scorer": scorer,
                "auc": auc,
                "auc_std": 0.02,
                "recall": recall,
                "lift": recall / 0.05,
                "seconds": 1.2,
            }
            for scorer, auc, recall in measures
        ]
        if published
        else [],
        "scorer_weights": {"bag_logistic": 1.0} if published else {},
        "reasons": [
            {**reason, "field": field}
            for field, reason in zip(("item", "category_3"), terms("Nappies", HOSTILE), strict=True)
        ]
        if published
        else [],
        "reference_share": 0.05 if published else None,
        "verdict": verdict,
        "verdict_text": "Customers of the top 5% are 7 times as likely to be seeds as others."
        if published
        else None,
        "levels": [
            {
                "level": f"{share:.0%}",
                "share": share,
                "reach": int(share * USERS),
                "score_threshold": 1 - share,
                "mean_score": 1 - share / 2,
                "held_out_recall": share**0.35,
                "held_out_lift": share**0.35 / share,
            }
            for share in (0.01, 0.02, 0.05, 0.1, 0.2)
        ]
        if published
        else [],
        "churn": 0.12 if published else None,
        "previous_as_of": dt.date.fromisoformat(FIRST) if published else None,
        "valid_until": dt.date(2017, 12, 1) if published else None,
        "model_version": MODEL,
    }
