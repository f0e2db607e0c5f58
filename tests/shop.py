"""A small shop with planted tastes, written as the files a shop would export.

Four tastes (baby, garden, kitchen, sport) of equal size plus a few visitors with one event. Every
user buys mostly from the taste's own category and sometimes from the common one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

TASTES = ("baby", "garden", "kitchen", "sport")


@dataclasses.dataclass(frozen=True)
class Shop:
    """Files of the shop and the truth behind them.

    Attributes:
        events: events.csv with user, product, event, at, price, units.
        items: items.csv with product, department, aisle, maker, title.
        users: users.csv with user, country.
        taste: user id to planted taste; visitors are absent.
    """

    events: Path
    items: Path
    users: Path
    taste: dict[str, str]

    def ingest(self) -> dict[str, object]:
        """The `ingest` section of the configuration that reads the files."""
        return {
            "events": [
                {
                    "name": "events",
                    "path": str(self.events),
                    "columns": {
                        "user_id": "user",
                        "item_id": "product",
                        "event_type": "event",
                        "event_time": "at",
                        "quantity": "units",
                    },
                    "event_types": {"buy": "purchase", "look": "view"},
                }
            ],
            "items": [
                {
                    "name": "items",
                    "path": str(self.items),
                    "columns": {"item_id": "product", "brand": "maker"},
                    "category_path": ["department", "aisle"],
                }
            ],
            "users": [
                {
                    "name": "users",
                    "path": str(self.users),
                    "columns": {"user_id": "user"},
                    "attributes": ["country"],
                }
            ],
        }


def make_shop(folder: Path, users: int = 240, visitors: int = 12, seed: int = 3) -> Shop:
    """Write the files of a shop into a folder.

    Args:
        folder: Where to write.
        users: Users with a taste, spread evenly over the four.
        visitors: Users with one event only.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    departments = (*TASTES, "common")
    items = pd.DataFrame(
        [
            {
                "product": f"{d}-{i}",
                "department": d,
                "aisle": f"{d} aisle {i % 3}",
                "maker": f"{d[:2]}{i % 4}",
                "title": f"{d.title()} product {i}",
            }
            for d in departments
            for i in range(20)
        ]
    )
    start = pd.Timestamp("2024-01-01")
    rows: list[dict[str, object]] = []
    taste: dict[str, str] = {}
    for number in range(users + visitors):
        user = f"u{number:04d}"
        visits = int(rng.integers(4, 12)) if number < users else 1
        own = TASTES[number % 4]
        if number < users:
            taste[user] = own
        for at in np.sort(rng.integers(0, 80 * 86_400, visits)):
            moment = start + pd.Timedelta(seconds=int(at))
            for _ in range(int(rng.integers(1, 4)) if number < users else 1):
                department = own if rng.random() < 0.8 else "common"
                rows.append(
                    {
                        "user": user,
                        "product": f"{department}-{int(rng.integers(0, 20))}",
                        "event": "buy" if rng.random() < 0.5 else "look",
                        "at": moment.isoformat(sep=" "),
                        "price": round(float(rng.lognormal(1.5, 0.5)), 2),
                        "units": int(rng.integers(1, 3)),
                    }
                )
    shop = Shop(folder / "events.csv", folder / "items.csv", folder / "users.csv", taste)
    pd.DataFrame(rows).to_csv(shop.events, index=False)
    items.to_csv(shop.items, index=False)
    names = sorted({str(row["user"]) for row in rows})
    countries = [("DE", "FR")[i % 2] for i in range(len(names))]
    pd.DataFrame({"user": names, "country": countries}).to_csv(shop.users, index=False)
    return shop
