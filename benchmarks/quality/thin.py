"""Thin histories: lookalike and next item by how much is known of a user.

    python -m benchmarks.quality.thin [--long]

The rows of ``lookalike`` (who takes a target next, its events visible) and of ``next_item``, each
user counted in the bucket of his events before the cut. AUC compares members and others of the same
bucket, so that length alone ranks nobody; models and settings are those of all users together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.quality import tables
from benchmarks.quality.audiences import Audience, behavioural
from benchmarks.quality.lookalike import all_ways, crowd_of, ranked, train_all
from benchmarks.quality.next_item import Exam, all_scores, exam, examine
from benchmarks.quality.recipes import Recipe, recipes
from benchmarks.quality.shops import SHOPS, at_hand
from kinsight.expand.measures import FloatArray, auc

BUCKETS = {"1-2": (1, 2), "3-5": (3, 5), "6-20": (6, 20), "> 20": (21, 10**9)}
LEAST_MEMBERS = 5
"""Members in a bucket, and others, below which an audience tells nothing of it."""

ByBucket = dict[str, dict[str, list[float]]]
"""Row to bucket to values."""


def buckets_of(length: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.bool_]]:
    """The users of each bucket [n]."""
    return {name: (length >= low) & (length <= high) for name, (low, high) in BUCKETS.items()}


def lookalike_by_length(
    audiences: Sequence[Audience],
    wanted: Sequence[Recipe],
    seed: int,
    epochs: int,
    with_auto: bool = True,
) -> tuple[ByBucket, list[str]]:
    """One AUC an audience in each bucket; NaN where it has too few members."""
    found: ByBucket = {}
    refused: list[str] = []
    for audience in audiences:
        trained, told = train_all(tuple(wanted), audience.whole, seed, epochs, audience.data)
        refused += told
        crowd = crowd_of(audience, trained)
        members = np.isin(crowd.users.ids, audience.members)
        places = buckets_of(np.exp(crowd.users.activity).round().astype(np.int64))
        for way in all_ways(crowd, with_auto):
            scores, pool = ranked(way, crowd, members, f"quality:{seed}:{audience.name}:0")
            for bucket, inside in places.items():
                value = _auc(scores, members, pool & inside)
                found.setdefault(way.name, {}).setdefault(bucket, []).append(value)
    return found, refused


def _auc(scores: FloatArray, members: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> float:
    own = members[asked]
    if min(own.sum(), (~own).sum()) < LEAST_MEMBERS:
        return float("nan")
    return auc(scores[asked], own)


def next_item_by_length(
    of: Exam, wanted: Sequence[Recipe], seed: int, epochs: int
) -> tuple[ByBucket, list[str]]:
    """HR@10 of each user in each bucket."""
    rows, refused = all_scores(of, wanted, seed, {"epochs": epochs})
    places = buckets_of(of.test[0].length)
    found: ByBucket = {}
    for name, row in rows.items():
        hits = examine(of, row, of.test)["HR@10"]
        found[name] = {bucket: hits[inside].tolist() for bucket, inside in places.items()}
    return found, refused


def cells_of(
    values: Mapping[str, Sequence[float]], reading: Callable[[FloatArray], str]
) -> list[str]:
    """A cell a bucket; empty where nobody can be measured."""
    rows = [np.array(values.get(bucket, []), dtype=np.float64) for bucket in BUCKETS]
    return [reading(row[~np.isnan(row)]) if (~np.isnan(row)).any() else "" for row in rows]


def mean_and_number(values: FloatArray) -> str:
    """The mean, and of how many."""
    return f"{values.mean():.3f} ({len(values)})"


def main() -> None:
    """Parse arguments, measure, save."""
    parser = tables.options(__doc__, "thin")
    parser.add_argument("--audiences", type=int, help="behavioural audiences a data set")
    o = parser.parse_args()
    kind = "long" if o.long else "short"
    wanted, epochs = recipes(o.long, o.only), o.epochs or (20 if o.long else 2)
    short = ["online_retail"]
    for name in o.data or at_hand(list(SHOPS) if o.long else short):
        shop = SHOPS[name]()
        number = o.audiences or (15 if o.long else 3)
        audiences = behavioural(shop, shop.cut, shop.end, number, removed=False)
        by_auc, refused = lookalike_by_length(audiences, wanted, o.seed, epochs, o.long)
        by_hits, refused_too = next_item_by_length(exam(name), wanted, o.seed, epochs)
        for what, found, told in (
            ("lookalike", by_auc, "AUC, mean (audiences that can be measured)"),
            ("next item", by_hits, "HR@10, mean (users)"),
        ):
            tables.keep(
                f"thin_{what.replace(' ', '_')}_{name}_{kind}",
                f"Thin histories: {what}, {name} ({kind} form)",
                f"{told}, by the events of a user before the cut. {len(audiences)} audiences; at "
                f"most {epochs} epochs. Nothing is chosen on what is measured.",
                ["ranked by", *BUCKETS],
                [[row, *cells_of(values, mean_and_number)] for row, values in found.items()],
                {"found": found if what == "lookalike" else {}},
                [f"Refused: {one}" for one in dict.fromkeys([*refused, *refused_too])],
            )


if __name__ == "__main__":
    main()
