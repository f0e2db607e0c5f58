"""Warm start: what a training gains that begins with the weights of the model before it.

    python -m benchmarks.quality.warm_start [--long]

A model is trained as of a shop's earlier cut; the next one, as of the later cut with a grown
vocabulary, begins anew and with the weights of the first. Both stop by the same held-out users,
whose ranking is compared. Neighbours kept: of a held-out user's ten nearest, those that the first
model had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.quality import tables
from benchmarks.quality.audiences import past_of
from benchmarks.quality.history import Past
from benchmarks.quality.recipes import DEFAULT_OBJECTIVE, Made, Recipe, make_before, recipes
from benchmarks.quality.shops import SHOPS, Shop, at_hand
from kinsight.encoders.histories import TOKEN_FIELDS
from kinsight.train.earlier import EarlierModel
from kinsight.train.reading import rows_by_token

SHORT = f"gru + {DEFAULT_OBJECTIVE}"
MEASURES = ("held_out_reciprocal_rank", "best_epoch", "drift_neighbours_kept")


def indices(past: Past, field: str) -> dict[str, int]:
    """Index of each token of a field of sequences."""
    name = past.leaf if field == "category" else field
    if name not in past.tokens or (field == "category" and name == "item"):
        return {}
    return {token: n for n, token in enumerate(past.tokens[name].names) if token}


def earlier_model(made: Made, then: Past, now: Past) -> EarlierModel:
    """A model of an earlier past, readable in the vocabulary of a later one."""
    sizes = then.vocabulary().sizes
    today = now.vocabulary().sizes
    rows = {f: rows_by_token(indices(now, f), indices(then, f), today[f]) for f in TOKEN_FIELDS}
    # Buckets of prices have no names here: the n-th stays the n-th.
    buckets = np.arange(today["price"])
    rows["price"] = np.minimum(buckets, sizes["price"] - 1)
    model = made.model
    return EarlierModel(
        "earlier", model.encoder, model.options, made.encoder, model.item_basis(), sizes, rows
    )


def compare(
    shop: Shop, recipe: Recipe, seeds: Sequence[int], epochs: int
) -> dict[str, list[tuple[float, ...]]]:
    """MEASURES and seconds of each seed, of trainings that begin anew and warm."""
    then, now = past_of(shop, shop.choosing_cut), past_of(shop, shop.cut)
    found: dict[str, list[tuple[float, ...]]] = {"anew": [], "warm": []}
    for seed in seeds:
        first = make_before(then, recipe, seed, {"epochs": epochs}, shop.name)
        earlier = earlier_model(first, then, now)
        for name, values in found.items():
            training = {"epochs": epochs, "warm_start": name == "warm"}
            made = make_before(now, recipe, seed, training, shop.name, earlier)
            # Of a dozen held-out users no neighbours are told.
            measures = (made.measures.get(measure, math.nan) for measure in MEASURES)
            values.append((*measures, made.seconds))
            print(shop.name, recipe.name, seed, name, *values[-1], flush=True)
    return found


def main() -> None:
    """Parse arguments, measure, save."""
    o = tables.options(__doc__, "warm_start").parse_args()
    kind = "long" if o.long else "short"
    only = o.only or ([] if o.long else [SHORT])
    wanted = [r for r in recipes(True, only) if DEFAULT_OBJECTIVE in r.objectives]
    data = o.data or at_hand(list(SHOPS) if o.long else ["complete_journey"])
    seeds, epochs = range(o.seed, o.seed + (o.draws or 3)), o.epochs or 20
    rows, kept = [], {}
    for name in data:
        shop = SHOPS[name]()
        for recipe in wanted:
            found = compare(shop, recipe, seeds, epochs)
            kept[f"{name}: {recipe.name}"] = found
            anew, warm = (np.array(found[way]).T for way in ("anew", "warm"))
            cells = [
                "" if np.isnan(values).all() else tables.spread(values[None])
                for pair in zip(anew, warm, strict=True)
                for values in pair
            ]
            rows.append([name, recipe.name, *cells, str(tables.paired(warm[:1], anew[:1]))])
    columns = [
        f"{what}, {way}"
        for what in ("reciprocal rank", "best epoch", "neighbours kept", "s")
        for way in ("anew", "warm")
    ]
    tables.keep(
        f"warm_start_{kind}",
        f"Warm start ({kind} form)",
        f"Mean reciprocal rank of the items of held-out users' latest times, as training measures "
        f"it; mean ± std of {len(seeds)} seeds, at most {epochs} epochs; seconds of training, one "
        "thread. The last column: warm beside anew, paired by seed, 95 % interval. The best epoch "
        "was chosen by the same held-out users, for both alike.",
        ["shop", "recipe", *columns, "reciprocal rank, warm beside anew"],
        rows, {"found": kept},
    )  # fmt: skip


if __name__ == "__main__":
    main()
