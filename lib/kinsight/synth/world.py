"""The shop that is made up: who its customers can be, and what it sells."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinsight.synth.draws import Draws, Floats, Ints

DEPARTMENTS = (
    "Baby", "Garden", "Games", "Wine", "Pets", "Sports",
    "Beauty", "Books", "Grocery", "Home", "Fashion", "Electronics",
)  # fmt: skip
BRANDS = 240
CATEGORIES_A_DEPARTMENT = 10


@dataclasses.dataclass(frozen=True)
class Archetype:
    """A kind of customer.

    Attributes:
        name: As the truth names it.
        share: Of all customers.
        tastes: Department: weight among the departments the archetype prefers.
        peak_hour: Hour of the day around which visits lie.
        weekend: Share of visits on Saturday and Sunday; 2/7 is even.
        session_events: Mean events of a visit.
        buys: Chance that a visit ends in a purchase.
        price_tier: 0 cheapest to 1 dearest, what is chosen of two like items.
        young: Chance of the younger age band.
    """

    name: str
    share: float
    tastes: dict[str, float]
    peak_hour: float
    weekend: float
    session_events: float
    buys: float
    price_tier: float
    young: float


ARCHETYPES = (
    Archetype("new parents", 0.06, {"Baby": 6, "Grocery": 2, "Home": 1}, 21, 0.3, 6, 0.5, 0.5, 0.8),
    Archetype("gardeners", 0.08, {"Garden": 6, "Home": 2}, 9, 0.45, 5, 0.4, 0.5, 0.2),
    Archetype("gamers", 0.09, {"Games": 5, "Electronics": 3}, 23, 0.4, 9, 0.2, 0.6, 0.9),
    Archetype("wine lovers", 0.05, {"Wine": 6, "Grocery": 2}, 19, 0.35, 4, 0.5, 0.9, 0.3),
    Archetype("pet owners", 0.1, {"Pets": 6, "Grocery": 2, "Garden": 1}, 17, 0.3, 4, 0.6, 0.4, 0.5),
    Archetype("athletes", 0.08, {"Sports": 6, "Fashion": 2}, 7, 0.3, 6, 0.3, 0.7, 0.7),
    Archetype("beauty fans", 0.09, {"Beauty": 6, "Fashion": 3}, 20, 0.3, 8, 0.35, 0.7, 0.7),
    Archetype("readers", 0.07, {"Books": 7, "Games": 1}, 22, 0.3, 4, 0.4, 0.3, 0.4),
    Archetype("weekly shoppers", 0.16, {"Grocery": 7, "Home": 2}, 18, 0.6, 12, 0.8, 0.4, 0.4),
    Archetype("movers", 0.05, {"Home": 6, "Electronics": 3}, 13, 0.5, 8, 0.3, 0.5, 0.6),
    Archetype("fashion hunters", 0.11, {"Fashion": 7, "Beauty": 2}, 12, 0.25, 10, 0.15, 0.2, 0.8),
    Archetype("early adopters", 0.06, {"Electronics": 6, "Games": 1}, 14, 0.2, 7, 0.25, 0.9, 0.6),
)  # fmt: skip


def archetype_table(attribute: str) -> Floats:
    """One number of every archetype, [archetypes]."""
    return np.array([getattr(archetype, attribute) for archetype in ARCHETYPES], np.float64)


@functools.cache
def department_weights() -> Floats:
    """The tastes of every archetype, [archetypes, departments]."""
    return np.array(
        [[archetype.tastes.get(name, 0.0) for name in DEPARTMENTS] for archetype in ARCHETYPES]
    )


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What the shop sells; items of a category are numbered one after another.

    Attributes:
        first: First item number of each category, [categories + 1]; the last entry is the count.
        price: Of each item, [items], in the shop's currency.
        tier: Rank of the price within the category, 0 to 1, [items].
        brand: Of each item, [items].
    """

    first: Ints
    price: Floats
    tier: Floats
    brand: Ints

    @classmethod
    def of(cls, items: int, seed: int) -> Catalogue:
        """Make a catalogue.

        Args:
            items: Items in all; at least one a category.
            seed: Seed of the shop.
        """
        categories = len(DEPARTMENTS) * CATEGORIES_A_DEPARTMENT
        draws = Draws(seed, np.arange(categories))
        weight = np.exp(0.7 * draws.normal("category size"))
        ends = np.floor(np.cumsum(weight / weight.sum()) * (items - categories)).astype(np.int64)
        ends[-1] = items - categories
        first = np.concatenate([[0], ends + np.arange(1, categories + 1)])
        category = np.repeat(np.arange(categories), np.diff(first))
        of_items = Draws(seed, np.arange(items))
        level = np.exp(2.5 + 0.8 * draws.normal("category price"))
        price = np.round(level[category] * np.exp(0.6 * of_items.normal("item price")), 2)
        price = np.maximum(price, 0.01)
        order = np.lexsort((price, category))
        tier = np.empty(items)
        size = np.diff(first)[category]
        tier[order] = (np.arange(items) - first[:-1][category]) / np.maximum(size - 1, 1)
        # A department's brands; the square makes some of them common.
        per_department = BRANDS // len(DEPARTMENTS)
        common = np.floor(of_items.uniform("brand") ** 2 * per_department).astype(np.int64)
        brand = (category // CATEGORIES_A_DEPARTMENT) * per_department + common
        return cls(first, price, tier, brand)

    @property
    def categories(self) -> int:
        """Number of categories."""
        return len(self.first) - 1

    @functools.cached_property
    def category(self) -> Ints:
        """Category of each item, [items]."""
        return np.repeat(np.arange(self.categories), np.diff(self.first))

    @functools.cached_property
    def popularity(self) -> Floats:
        """How often a category is visited by chance, [categories]: as its size."""
        return np.diff(self.first).astype(np.float64)


def item_rows(catalogue: Catalogue, item: Ints) -> pa.Table:
    """What the shop knows of its items: item_id, department, category, brand, title.

    Args:
        catalogue: What is sold.
        item: Item numbers, [n].
    """
    category = catalogue.category[item]
    department = pa.array(DEPARTMENTS).take(pa.array(category // CATEGORIES_A_DEPARTMENT))
    shelf = pa.array(category % CATEGORIES_A_DEPARTMENT + 1).cast(pa.string())
    within = pa.array(item - catalogue.first[category] + 1).cast(pa.string())
    name = pc.binary_join_element_wise(department, shelf, " ")
    brand = pa.array(catalogue.brand[item] + 1).cast(pa.string())
    return pa.table(
        {
            "item_id": item_names(item),
            "department": department,
            "category": name,
            "brand": pc.binary_join_element_wise("Brand", brand, " "),
            "title": pc.binary_join_element_wise(name, within, " no. "),
        }
    )


def item_names(item: Ints) -> pa.Array:
    """Item ids, [n]."""
    padded = pc.utf8_lpad(pa.array(item).cast(pa.string()), width=7, padding="0")
    return pc.binary_join_element_wise("i", padded, "")
