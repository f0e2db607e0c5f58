"""Stage `sequence` in plain Python: slow, obvious, and the measure of the real one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from kinsight.config import SequenceConfig
from kinsight.dates import AsOf

Record = Mapping[str, Any]
Index = dict[tuple[str, str], int]
DAY_PARTS = {
    "morning_share": range(5, 12),
    "afternoon_share": range(12, 17),
    "evening_share": range(17, 22),
    "night_share": (22, 23, 0, 1, 2, 3, 4),
}


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the stage should write: rows without run_id, by table."""

    vocabularies: list[dict[str, Any]]
    sequences: list[dict[str, Any]]
    user_features: list[dict[str, Any]]
    user_bags: list[dict[str, Any]]


def expect(
    events: Sequence[Record],
    items: Sequence[Record],
    as_of: AsOf,
    settings: SequenceConfig,
) -> Expected:
    """The four tables of a date that makes its own vocabulary."""
    histories = {
        user: sorted(history, key=_place)
        for user, history in _histories(events, as_of, settings).items()
    }
    known = _known_items(items, as_of.instant)
    paths = [_describe(e, known)[1] for h in histories.values() for e in h]
    levels = max((len(path) for path in paths), default=0)
    fifths = _fifths(histories, known, levels, settings.crosses)
    tokens = {
        u: [_tokens(e, known, levels) | _crossed(e, known, levels, fifths) for e in h]
        for u, h in histories.items()
    }
    edges = _price_edges(histories, settings.price_buckets)
    vocabulary = _vocabulary(histories, tokens, known, edges, settings)
    index = {(row["field"], row["token"]): row["index"] for row in vocabulary}
    level = settings.category_level or levels
    before_cap = Counter(e["user_id"] for e in _window(events, as_of, settings))
    hot = {u for u, n in before_cap.items() if n > settings.hot_user_events}
    roots = _largest_roots(tokens, settings.category_shares)
    return Expected(
        vocabularies=vocabulary,
        sequences=[
            _sequence(u, h, tokens[u], index, edges, level, as_of, settings)
            for u, h in histories.items()
        ],
        user_features=[
            _features(u, h, tokens[u], roots, level, as_of, u in hot) for u, h in histories.items()
        ],
        user_bags=[_bag(u, h, tokens[u], index, as_of) for u, h in histories.items()],
    )


def _window(events: Sequence[Record], as_of: AsOf, settings: SequenceConfig) -> list[Record]:
    start = as_of.days_before(settings.lookback_days).instant
    return [e for e in events if start <= e["event_time"] < as_of.instant]


def _histories(
    events: Sequence[Record], as_of: AsOf, settings: SequenceConfig
) -> dict[str, list[Record]]:
    histories: dict[str, list[Record]] = defaultdict(list)
    for event in sorted(
        _window(events, as_of, settings), key=lambda e: (e["event_time"], e["event_id"])
    ):
        histories[event["user_id"]].append(event)
    return {u: h[-settings.hot_user_events :] for u, h in histories.items()}


def _place(event: Record) -> tuple[Any, ...]:
    """What orders the events of a user: time, then what they say; unknown texts come first."""
    words = [event[name] for name in ("item_id", "category", "brand")]
    numbers = [event[name] for name in ("price", "quantity")]
    return (
        event["event_time"],
        *((word is not None, word or "") for word in words),
        event["event_type"],
        *(math.inf if number is None else number for number in numbers),
    )


def _known_items(items: Sequence[Record], instant: dt.datetime) -> dict[str, Record]:
    earlier = [item for item in items if item["valid_from"] < instant]
    return {i["item_id"]: i for i in sorted(earlier, key=lambda i: i["valid_from"])}


def _describe(event: Record, known: Mapping[str, Record]) -> tuple[str | None, list[str]]:
    item = known.get(event["item_id"], {})
    brand = event["brand"] if event["brand"] is not None else item.get("brand")
    path = event["category"].split(" > ") if event["category"] else item.get("category")
    return brand, [part for part in path or [] if part]


def _tokens(event: Record, known: Mapping[str, Record], levels: int) -> dict[str, str | None]:
    brand, path = _describe(event, known)
    categories = {
        f"category_{k}": " > ".join(path[:k]) if path else None for k in range(1, levels + 1)
    }
    return {"item": event["item_id"], "brand": brand, **categories}


Fifths = Mapping[str, Mapping[tuple[Any, ...], int]]
"""By cross, the price fifth of each product; nothing for crosses with brands."""


def _product(event: Record) -> tuple[Any, ...]:
    return event["item_id"], event["category"], event["brand"]


def _outer(
    cross: str, event: Record, known: Mapping[str, Record], levels: int
) -> tuple[str, str | None]:
    inner, outer = cross.split("_in_")
    level = f"category_{levels}" if outer == "category" else outer
    return inner, _tokens(event, known, levels).get(level)


def _fifths(
    histories: Mapping[str, list[Record]],
    known: Mapping[str, Record],
    levels: int,
    crosses: Sequence[str],
) -> Fifths:
    prices: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    example: dict[tuple[Any, ...], Record] = {}
    for event in (e for h in histories.values() for e in h):
        example[_product(event)] = event
        if event["price"]:
            prices[_product(event)].append(event["price"])
    mean = {product: math.fsum(of) / len(of) for product, of in prices.items()}
    found: dict[str, dict[tuple[Any, ...], int]] = {}
    for cross in crosses:
        found[cross] = {}
        groups: dict[str | None, list[tuple[Any, ...]]] = defaultdict(list)
        for product in mean:
            groups[_outer(cross, example[product], known, levels)[1]].append(product)
        for group in groups.values():
            for product in group:
                below = sum(mean[other] < mean[product] for other in group)
                found[cross][product] = 1 + below * 5 // len(group)
    return found


def _crossed(
    event: Record, known: Mapping[str, Record], levels: int, fifths: Fifths
) -> dict[str, str | None]:
    tokens = {}
    for cross, of_products in fifths.items():
        inner, outer = _outer(cross, event, known, levels)
        within = _describe(event, known)[0]
        if inner == "price":
            fifth = of_products.get(_product(event))
            within = f"price {fifth}" if fifth else None
        tokens[cross] = f"{outer} x {within}" if outer and within else None
    return tokens


def _price_edges(histories: Mapping[str, list[Record]], buckets: int) -> list[float] | None:
    prices = sorted(e["price"] for h in histories.values() for e in h if e["price"])
    if not prices:
        return None
    cuts = {prices[math.ceil(j * len(prices) / buckets) - 1] for j in range(1, buckets)}
    return sorted(cuts - {prices[-1]})


def _price_bucket(price: float | None, edges: list[float] | None) -> int | None:
    if not price or edges is None:
        return None
    return 1 + sum(price > edge for edge in edges)


def _vocabulary(
    histories: Mapping[str, list[Record]],
    tokens: Mapping[str, list[dict[str, str | None]]],
    known: Mapping[str, Record],
    edges: list[float] | None,
    settings: SequenceConfig,
) -> list[dict[str, Any]]:
    frequency: Counter[tuple[str, str]] = Counter()
    users: dict[tuple[str, str], set[str]] = defaultdict(set)
    for user, history in histories.items():
        for event, of_event in zip(history, tokens[user], strict=True):
            bucket = _price_bucket(event["price"], edges)
            of_event = of_event | {
                "event_type": event["event_type"],
                "price": str(bucket) if bucket else None,
            }
            for field, token in of_event.items():
                if token is not None:
                    frequency[field, token] += 1
                    users[field, token].add(user)
    rows = []
    for field in sorted({f for f, _ in frequency}):
        found = [t for f, t in frequency if f == field]
        if field == "price":
            found = [str(n) for n in range(1, len(found) + 1)]
        else:
            found.sort(key=lambda t: (-len(users[field, t]), t))
        if field not in ("price", "event_type"):
            least = settings.minimum_token_users
            found = [t for t in found if len(users[field, t]) >= least]
            found = found[: settings.vocabulary_size]
        for place, token in enumerate(found):
            digest = hashlib.md5(f"{field}:{token}".encode()).hexdigest()
            label = token.split(" > ")[-1] if field.startswith("category_") else token
            if field == "item":
                label = known.get(token, {}).get("title") or token
            upper = edges[place] if field == "price" and edges and place < len(edges) else None
            rows.append(
                {
                    "field": field,
                    "token": token,
                    "index": 2 + place,
                    "bucket": int(digest[:8], 16) % settings.hash_buckets,
                    "frequency": frequency[field, token],
                    "users": len(users[field, token]),
                    "upper_edge": upper,
                    "label": label,
                }
            )
    return rows


def _sequence(
    user: str,
    history: list[Record],
    tokens: list[dict[str, str | None]],
    index: Index,
    edges: list[float] | None,
    level: int,
    as_of: AsOf,
    settings: SequenceConfig,
) -> dict[str, Any]:
    latest = list(zip(history, tokens, strict=True))[-settings.max_length :]

    def indices(field: str, values: list[str | None]) -> list[int]:
        return [1 if value is None else index.get((field, value), 1) for value in values]

    buckets = [_price_bucket(e["price"], edges) for e, _ in latest]
    local = [e["event_time"].astimezone(ZoneInfo(as_of.timezone)) for e, _ in latest]
    return {
        "user_id": user,
        "length": len(latest),
        "events_total": len(history),
        "first_event_time": latest[0][0]["event_time"],
        "last_event_time": latest[-1][0]["event_time"],
        "item": indices("item", [t["item"] for _, t in latest]),
        "event_type": indices("event_type", [e["event_type"] for e, _ in latest]),
        "category": indices(f"category_{level}", [t.get(f"category_{level}") for _, t in latest]),
        "brand": indices("brand", [t["brand"] for _, t in latest]),
        "price": indices("price", [str(b) if b else None for b in buckets]),
        "hour_of_week": [1 + 24 * moment.weekday() + moment.hour for moment in local],
        "seconds": [math.floor(e["event_time"].timestamp()) for e, _ in latest],
    }


def _features(
    user: str,
    history: list[Record],
    tokens: list[dict[str, str | None]],
    roots: list[str],
    level: int,
    as_of: AsOf,
    is_hot: bool,
) -> dict[str, Any]:
    n = len(history)
    local = [e["event_time"].astimezone(ZoneInfo(as_of.timezone)) for e in history]
    hours, weekdays = Counter(m.hour for m in local), Counter(m.weekday() for m in local)
    types = Counter(e["event_type"] for e in history)
    of_root = Counter(t.get("category_1") for t in tokens)
    sessions = len({e["session_id"] for e in history})
    prices = [e["price"] for e in history if e["price"] is not None]
    sign = {"purchase": 1, "return": -1}

    def amount(event: Record) -> float:
        quantity = 1.0 if event["quantity"] is None else event["quantity"]
        return sign.get(event["event_type"], 0) * (event["price"] or 0.0) * quantity

    def distinct(field: str) -> int:
        return len({t.get(field) for t in tokens} - {None})

    def days_before(moment: dt.datetime) -> float:
        return (as_of.instant - moment) / dt.timedelta(days=1)

    return {
        "user_id": user,
        "recency_days": days_before(history[-1]["event_time"]),
        "tenure_days": days_before(history[0]["event_time"]),
        "frequency": len({m.date() for m in local}),
        "monetary": math.fsum(amount(e) for e in history),
        "events": n,
        "sessions": sessions,
        "purchases": types["purchase"],
        "returns": types["return"],
        "items": distinct("item"),
        "categories": distinct(f"category_{level}"),
        "brands": distinct("brand"),
        "average_price": float(np.mean(prices)) if prices else None,
        "events_per_session": n / sessions,
        "weekend_share": (weekdays[5] + weekdays[6]) / n,
        **{name: sum(hours[h] for h in part) / n for name, part in DAY_PARTS.items()},
        "type_shares": {name: count / n for name, count in types.items()},
        "category_shares": {r: of_root[r] / n for r in roots if of_root[r]},
        "hour_shares": [hours[h] / n for h in range(24)],
        "weekday_shares": [weekdays[d] / n for d in range(7)],
        "is_hot": is_hot,
    }


def _largest_roots(tokens: Mapping[str, list[dict[str, str | None]]], largest: int) -> list[str]:
    users = Counter(root for ts in tokens.values() for root in {t.get("category_1") for t in ts})
    del users[None]
    return sorted((str(root) for root in users), key=lambda r: (-users[r], r))[:largest]


def _bag(
    user: str,
    history: Sequence[Record],
    tokens: list[dict[str, str | None]],
    index: Index,
    as_of: AsOf,
) -> dict[str, Any]:
    zone = ZoneInfo(as_of.timezone)
    odd = [
        (e["event_time"].astimezone(zone).date() - dt.date(1970, 1, 1)).days % 2 for e in history
    ]
    bags = {}
    for field in tokens[0]:
        counts = Counter(index.get((field, t[field] or "")) for t in tokens)
        del counts[None]
        known = sorted((number, n) for number, n in counts.items() if number is not None)
        on_odd = Counter(
            index.get((field, t[field] or "")) for t, o in zip(tokens, odd, strict=True) if o
        )
        bags[field] = {
            "tokens": [i for i, _ in known],
            "counts": [float(n) for _, n in known],
            "odd_days": [float(on_odd[i]) for i, _ in known],
        }
    return {"user_id": user, "events": len(tokens), "bags": bags}
