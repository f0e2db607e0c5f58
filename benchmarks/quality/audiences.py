"""Audiences whose members are known: demographics, campaign redeemers, next-period buyers.

A demographic audience is judged among the labelled households alone, redeemers among the members of
their campaign by behaviour before it began: among all households both are found by activity.

A behavioural audience is whoever takes a target (see ``shops``) between the cut and the end of the
period, among all who had an event before the cut; with the target's earlier events visible, and
with them removed. The audiences are the targets with the most members among those with at most
LARGEST of the users; how many, a table says.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.quality.history import Past, before
from benchmarks.quality.shops import (
    BEAUTY,
    BEAUTY_SEQUENCES,
    Shop,
    beauty,
    complete_journey,
)
from kinsight.config import SequenceConfig
from kinsight.demo import CAMPAIGN, data_folder

LARGEST = 0.3
SMALLEST = 30
SMALLEST_ATTRIBUTE = 200
SEEN = (
    "What `content_mean` reads was chosen on these demographics (docs/adr/0009): they flatter it, "
    "and what reads its vectors."
)
"""Said under the tables on demographics."""
FOLDS = 5

Ids = npt.NDArray[np.object_]


@dataclasses.dataclass(frozen=True)
class Audience:
    """Members among some users, as of an instant.

    Attributes:
        name: As tables show it.
        family: What is averaged together.
        data: Name of the data set.
        past: Users before the instant, without the target where it is removed.
        whole: The same with all events: what encoders are trained on.
        pool: Ids of the users to be ranked and learned from.
        members: Ids of those among them who belong to it.
        target: What members take next; None for other audiences.
        items: Indices of its items in the vocabulary of ``past``.
        removed: Whether their earlier events of these are removed.
    """

    name: str
    family: str
    data: str
    past: Past
    whole: Past
    pool: Ids
    members: Ids
    target: str | None = None
    items: npt.NDArray[np.int64] | None = None
    removed: bool = False


@functools.lru_cache(maxsize=2)
def past_of(shop: Shop, instant: pd.Timestamp) -> Past:
    """A shop before an instant, with the product's own settings."""
    return before(shop.events, instant, SequenceConfig())


def demographic() -> list[Audience]:
    """Age 55+, income 75K+ and kids among the 801 labelled households, from a year of purchases."""
    shop = complete_journey()
    past = past_of(shop, shop.end)
    people = pd.read_parquet(data_folder() / "demographics.parquet")
    people = people.assign(id=people["household_id"].astype(str))
    people = people[people["id"].isin(past.ids)]
    rich = ("75-99K", "100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+")
    truth = {
        "age 55+": people["age"].isin(["55-64", "65+"]),
        "income 75K+": people["income"].isin(rich),
        "kids": people["kids_count"].isin(["1", "2", "3+"]),
    }
    pool = np.sort(people["id"].to_numpy(dtype=object))
    return [
        Audience(
            name,
            "demographics",
            shop.name,
            past,
            past,
            pool,
            people.loc[is_one, "id"].to_numpy(dtype=object),
        )
        for name, is_one in truth.items()
    ]


def redeemers() -> list[Audience]:
    """Who redeems a coupon of the demo's campaign, among its members, by behaviour before it."""
    folder = data_folder()
    campaigns = pd.read_parquet(folder / "campaign_descriptions.parquet").set_index("campaign_id")
    start = pd.Timestamp(campaigns.loc[CAMPAIGN, "start_date"]).tz_localize("UTC")
    shop = complete_journey()
    past = past_of(shop, start)
    told = pd.read_parquet(folder / "campaigns.parquet")
    sent = told.loc[told["campaign_id"] == CAMPAIGN, "household_id"].astype(str)
    used = pd.read_parquet(folder / "coupon_redemptions.parquet")
    redeemed = used.loc[used["campaign_id"] == CAMPAIGN, "household_id"].astype(str)
    pool = np.sort(sent[sent.isin(past.ids)].to_numpy(dtype=object))
    return [
        Audience(
            f"redeems in campaign {CAMPAIGN}",
            "redeemers",
            shop.name,
            past,
            past,
            pool,
            pool[np.isin(pool, redeemed)],
        )
    ]


def behavioural(
    shop: Shop, cut: pd.Timestamp, end: pd.Timestamp, number: int, removed: bool
) -> list[Audience]:
    """Who takes a target between two instants.

    Args:
        shop: The data set.
        cut: Only events before it are seen.
        end: End of the period.
        number: Audiences at most.
        removed: Whether earlier events of the target are removed.
    """
    past = past_of(shop, cut)
    events = shop.events
    later = events[(events["event_time"] >= cut) & (events["event_time"] < end)]
    if shop.taken_by is not None:
        later = later[later["event_type"].isin(shop.taken_by)]
    later = later[later["user_id"].isin(past.ids) & later["target"].notna()]
    # A target that nobody could have met before tells nothing of what is visible or removed.
    known = set(past.target_of[past.target_of != np.array(None)])
    taken = later[["user_id", "target"]].drop_duplicates()
    sizes = taken.groupby("target").size().reset_index(name="users")
    sizes = sizes[sizes["target"].isin(known)]
    sizes = sizes[(sizes["users"] <= LARGEST * len(past)) & (sizes["users"] >= SMALLEST)]
    sizes = sizes.sort_values(["users", "target"], ascending=[False, True])
    found = []
    for target in sizes["target"].head(number):
        members = np.sort(taken.loc[taken["target"] == target, "user_id"].to_numpy(dtype=object))
        seen = past.without(target) if removed else past
        found.append(
            Audience(
                f"{shop.name}: {target}",
                f"{shop.name}, {'removed' if removed else 'visible'}",
                shop.name,
                seen,
                past,
                seen.ids,
                members[np.isin(members, seen.ids)],
                target,
                past.items_of(target),
                removed,
            )
        )
    return found


def attributes(number: int) -> list[Audience]:
    """Amazon Beauty: whose last item has an attribute, by all the items before it.

    Args:
        number: Audiences, of evenly spaced sizes from SMALLEST_ATTRIBUTE users to LARGEST of all.
    """
    events, of_item = beauty()
    last = events["place"] == events.groupby("user_id")["place"].transform("max")
    after_all = events["event_time"].max() + pd.Timedelta(days=1)
    past = before(events[~last], after_all, BEAUTY_SEQUENCES)
    taken = events.loc[last, ["user_id", "item_id"]]
    members: dict[int, list[str]] = {}
    for user, item in taken.itertuples(index=False):
        for attribute in of_item.get(item, []):
            members.setdefault(attribute, []).append(user)
    sizes = sorted((len(users), attribute) for attribute, users in members.items())
    sizes = [(n, a) for n, a in sizes if SMALLEST_ATTRIBUTE <= n <= LARGEST * len(past)]
    places = np.unique(np.linspace(0, len(sizes) - 1, min(number, len(sizes))).astype(int))
    names = past.tokens["item"].names
    found = []
    for _, attribute in (sizes[place] for place in places):
        items = [i for i, name in enumerate(names) if attribute in of_item.get(name, [])]
        own = np.array(sorted(members[attribute]), dtype=object)
        found.append(
            Audience(
                f"attribute {attribute} ({len(own):,})",
                BEAUTY,
                BEAUTY,
                past,
                past,
                past.ids,
                own,
                items=np.array(items, dtype=np.int64),
            )
        )
    return found
