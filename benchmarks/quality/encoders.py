"""Encoders and objectives: what a user vector is worth to an audience, alone and beside the bags.

    python -m benchmarks.quality.encoders [--long]

Every recipe's vectors are read by one logistic regression on the seeds; the audiences are those of
``lookalike``: people (Complete Journey, one table) and who takes a target next (all other shops).
Each recipe is trained once a shop; draws are of seeds and halves, the same for all recipes, so that
differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality import tables
from benchmarks.quality.audiences import SEEN, Audience, behavioural, demographic
from benchmarks.quality.lookalike import Cells, families_of, measure
from benchmarks.quality.recipes import FLOORS, Recipe, recipes
from benchmarks.quality.shops import SHOPS, at_hand
from benchmarks.quality.ways import BAGS, BESIDE_BAGS, Crowd, Way, vector_ways

DRAWS = 20


def vector_rows(crowd: Crowd) -> list[Way]:
    """What is measured of a crowd."""
    return vector_ways(list(crowd.vectors))


def rows_of(cells: Cells, names: Sequence[str]) -> list[list[str]]:
    """A row a recipe: its mean, differences to the floors, what it adds to the bags, seconds."""
    bags = cells.array(BAGS.name, names)
    rows = [[BAGS.name, tables.spread(bags), *[""] * (len(FLOORS) + 2)]]
    for recipe, spent in cells.training.items():
        own = cells.array(recipe, names)
        if np.isnan(own).any():
            # Refused somewhere: a mean over other audiences would stand among theirs.
            rows.append([recipe, *[""] * (len(FLOORS) + 2), f"{spent:.0f}"])
            continue
        beside = [
            "" if recipe == floor else str(tables.paired(own, cells.array(floor, names)))
            for floor in FLOORS
        ]
        added = cells.array(f"{recipe}, {BESIDE_BAGS}", names)
        rows.append(
            [recipe, tables.spread(own), *beside, str(tables.paired(added, bags)), f"{spent:.0f}"]
        )
    return rows


def examine(
    name: str,
    title: str,
    audiences: Sequence[Audience],
    wanted: Sequence[Recipe],
    draws: int,
    seed: int,
    epochs: int,
    notes: Sequence[str] = (),
) -> None:
    """One table."""
    cells = measure(audiences, wanted, draws, seed, epochs, rows=vector_rows, with_scores=False)
    families = families_of(cells)
    everything = [one for names in families.values() for one in names]
    told = ", ".join(f"{len(names)} of {family}" for family, names in families.items())
    tables.keep(
        name, title,
        f"AUC of half of the members, the other half being seeds; logistic regression on the "
        f"vectors. Audiences: {told}. Mean ± std of {draws} draws of seeds. Differences: paired, "
        f"95 % interval (over draws for fewer than {tables.CLUSTERS} audiences, else over "
        f"audiences). The last difference: ranks of vectors and {BAGS.name} averaged, beside "
        f"{BAGS.name} alone. At most {epochs} epochs, stopped by held-out users; nothing is "
        "chosen on what is measured. Seconds of training, one thread.",
        ["vectors of", "AUC", *(f"beside {floor}" for floor in FLOORS), "added to the bags", "s"],
        rows_of(cells, everything),
        {"auc": cells.auc, "seconds": cells.training},
        [*notes, *(f"Refused: {one}" for one in cells.refused)],
    )  # fmt: skip


def main() -> None:
    """Parse arguments, measure, save."""
    o = tables.options(__doc__, "encoders").parse_args()
    kind = "long" if o.long else "short"
    wanted, epochs, draws = recipes(o.long, o.only), o.epochs or (20 if o.long else 2), o.draws
    data = o.data or at_hand(list(SHOPS))
    if "complete_journey" in data:
        examine(
            f"encoders_people_{kind}", f"Encoders and objectives: people ({kind} form)",
            demographic(), wanted, draws or DRAWS, o.seed, epochs, [SEEN],
        )  # fmt: skip
    number = 3 if o.long else 2
    others = [SHOPS[name]() for name in data if name != "complete_journey"]
    audiences = [
        audience
        for shop in others
        for audience in behavioural(shop, shop.cut, shop.end, number, removed=False)
    ]
    if audiences:
        examine(
            f"encoders_behaviour_{kind}",
            f"Encoders and objectives: who takes it next ({kind} form)",
            audiences, wanted, draws or DRAWS, o.seed, epochs,
        )  # fmt: skip


if __name__ == "__main__":
    main()
