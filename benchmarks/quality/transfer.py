"""Transfer: what several tasks on one vector give for a task that was not learned.

    python -m benchmarks.quality.transfer

``multi_task`` learns the tasks of a shop together, and each alone; a logistic head then reads the
held-out task from the vectors of users who were not trained on (half of all; the head is fitted on
half of those). Which tasks a shop has, and which is held out, follows from what its events tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality import tables
from benchmarks.quality.audiences import past_of
from benchmarks.quality.recipes import TRAINED_ENCODER, Recipe, make_before
from benchmarks.quality.shops import SHOPS, Shop, at_hand

OBJECTIVE = "multi_task"
RECIPE = Recipe(TRAINED_ENCODER, (OBJECTIVE,))
TOGETHER = "together"
TASKS = {
    "complete_journey": (("next_category", "next_price", "next_gap"), "next_brand"),
    "alibaba2014": (("next_brand", "next_type", "next_gap"), "will_buy"),
    "taobao2017": (("next_category", "next_type", "next_gap"), "will_buy"),
}
"""What is learned of a shop's events, and what is held out."""
HOLDOUT = 0.5


def held_out_quality(
    shop: Shop, tasks: Sequence[str], held_out: str, seed: int, epochs: int
) -> tuple[float, float]:
    """How well the held-out task is told (accuracy, or AUC) and how well by chance."""
    training = {
        "objective": [{"name": OBJECTIVE, "tasks": list(tasks), "held_out": held_out}],
        "holdout_share": HOLDOUT,
        "epochs": epochs,
    }
    made = make_before(past_of(shop, shop.cut), RECIPE, seed, training, shop.name)
    name = f"held_out_{held_out}"
    if f"{name}_auc" in made.measures:
        return made.measures[f"{name}_auc"], 0.5
    return made.measures[f"{name}_accuracy"], made.measures[f"{name}_majority"]


def main() -> None:
    """Parse arguments, measure, save."""
    o = tables.options(__doc__, "transfer").parse_args()
    kind = "long" if o.long else "short"
    seeds = range(o.seed, o.seed + (o.draws or (20 if o.long else 5)))
    epochs = o.epochs or 20
    rows, kept = [], {}
    for name in o.data or at_hand(list(TASKS)):
        shop = SHOPS[name]()
        tasks, held_out = TASKS[name]
        variants = {
            "untrained": (tasks, 0),
            **{f"{task} alone": ([task], epochs) for task in tasks},
            TOGETHER: (tasks, epochs),
        }
        found = {
            what: [held_out_quality(shop, some, held_out, seed, at_most) for seed in seeds]
            for what, (some, at_most) in variants.items()
        }
        kept[name] = found
        values = {what: np.array([own for own, _ in pairs])[None] for what, pairs in found.items()}
        chance = np.array([by_chance for _, by_chance in found[TOGETHER]])[None]
        rows.append([name, held_out, "by chance", tables.spread(chance), ""])
        for what, own in values.items():
            beside = "" if what == TOGETHER else str(tables.paired(values[TOGETHER], own))
            rows.append([name, held_out, what, tables.spread(own), beside])
            print(*rows[-1], flush=True)
    tables.keep(
        f"transfer_{kind}",
        f"Transfer: a task that was not learned ({kind} form)",
        f"`{RECIPE.name}`: tasks learned together and each alone, at most {epochs} epochs. "
        "Measured on users who were not trained on, a logistic head fitted on half of them: "
        f"accuracy, or AUC for will_buy; mean ± std of {len(seeds)} seeds, each of which "
        "trains anew and holds out other users. The last column: learned together beside this "
        "row, paired by seed, 95 % interval. Nothing is chosen on what is measured.",
        ["shop", "held-out task", "learned", "told", "together beside it"],
        rows, {"found": kept},
    )  # fmt: skip


if __name__ == "__main__":
    main()
