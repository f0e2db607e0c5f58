"""Stability: what another seed, other users and one more week of data change.

    python -m benchmarks.quality.stability [--long]

Segments: adjusted Rand index, 1 where nothing changes. *Another seed*: of the encoder where there
is one, and of the segments. *Halves*: fitted on two disjoint halves of the users, all assigned.
*More days*: fitted anew on a week more (taobao2017: a day), users of both. Audiences: share of the
first tenth of the pool that is the same, with the same seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.quality import tables
from benchmarks.quality.audiences import Audience, behavioural, past_of
from benchmarks.quality.history import Past
from benchmarks.quality.information import Labels, agreement
from benchmarks.quality.lookalike import crowd_of, ranked
from benchmarks.quality.recipes import Made, Recipe, make_before, recipes
from benchmarks.quality.segments import SEGMENTS, segment
from benchmarks.quality.shops import SHOPS, Shop, at_hand
from benchmarks.quality.ways import Crowd, Way, ways
from kinsight.config import SegmentConfig
from kinsight.expand.measures import BoolArray
from kinsight.hashing import hash_fractions
from kinsight.segment.algorithms.space import Blocks

MORE = {"taobao2017": pd.Timedelta(days=1)}
WEEK = pd.Timedelta(days=7)
TOP = 0.1
PAIRS = 3
SHORT_WAYS = ("activity", "bag_logistic", "logistic")


@dataclasses.dataclass(frozen=True)
class Two:
    """The same shop at two instants, and a recipe made with two seeds at the first.

    Attributes:
        first: Past at the first instant.
        later: Past some days later.
        made: By recipe, made on ``first`` with two seeds, and on ``later``.
    """

    first: Past
    later: Past
    made: dict[str, tuple[Made, Made, Made]]


def prepare(shop: Shop, wanted: Sequence[Recipe], seed: int, epochs: int) -> Two:
    """Train every recipe three times."""
    first = past_of(shop, shop.cut)
    later = past_of(shop, shop.cut + MORE.get(shop.name, WEEK))
    training = {"epochs": epochs}
    made = {
        recipe.name: (
            make_before(first, recipe, seed, training),
            make_before(first, recipe, seed + 1, training),
            make_before(later, recipe, seed, training),
        )
        for recipe in wanted
    }
    return Two(first, later, made)


def segment_rows(two: Two, config: SegmentConfig) -> dict[str, list[list[float]]]:
    """For each input, agreements with another seed, of halves, and with more days."""
    counts, later = two.first.counts(two.first.leaf), two.later.counts(two.later.leaf)
    rows = {"segments, input: bags": _agreements(
        two, Blocks(None, counts), Blocks(None, counts), Blocks(None, later), config
    )}  # fmt: skip
    for name, (one, other, after) in two.made.items():
        blocks = [
            Blocks(made.vectors(past.histories), None)
            for made, past in ((one, two.first), (other, two.first), (after, two.later))
        ]
        rows[f"segments, input: embedding ({name})"] = _agreements(two, *blocks, config)
    return rows


def _agreements(
    two: Two, one: Blocks, other: Blocks, later: Blocks, config: SegmentConfig
) -> list[list[float]]:
    def labels(blocks: Blocks, seed: int, fitted_on: BoolArray | None = None) -> Labels:
        return segment(blocks, config, seed, fitted_on)

    with threadpool_limits(1):
        base = labels(one, config.seed)
        seeds = [agreement([base, labels(other, config.seed + n)])[0] for n in range(1, PAIRS + 1)]
        halves = []
        for number in range(PAIRS):
            half = hash_fractions(two.first.ids, f"stability:{number}") < 0.5
            pair = [labels(one, config.seed, part) for part in (half, ~half)]
            halves += agreement(pair)
        after = labels(later, config.seed)
    _, ours, theirs = np.intersect1d(two.first.ids, two.later.ids, return_indices=True)
    return [seeds, halves, agreement([base[ours], after[theirs]])]


def audience_rows(
    two: Two, shop: Shop, audiences: Sequence[Audience], names: Sequence[str], seed: int
) -> dict[str, list[list[float]]]:
    """For each way to rank, overlaps of the first tenth: another seed, more days."""
    rows: dict[str, list[list[float]]] = {}
    for audience in audiences:
        items = None if audience.target is None else two.later.items_of(audience.target)
        later = dataclasses.replace(
            audience, past=two.later, whole=two.later, pool=two.later.ids, items=items
        )
        variants = (
            crowd_of(audience, {n: made[0] for n, made in two.made.items()}),
            crowd_of(audience, {n: made[1] for n, made in two.made.items()}),
            crowd_of(later, {n: made[2] for n, made in two.made.items()}),
        )
        for way in ways(list(two.made), list(variants[0].scores), with_auto=False):
            if names and way.name not in names and way.kind != "encoder":
                continue
            tops = [_top(way, crowd, audience, f"{shop.name}:{seed}") for crowd in variants]
            cells = rows.setdefault(way.name, [[], [], []])
            cells[0].append(_overlap(tops[0], tops[1]))
            cells[2].append(_overlap(tops[0], tops[2]))
    return rows


def _top(way: Way, crowd: Crowd, audience: Audience, salt: str) -> npt.NDArray[np.object_]:
    members = np.isin(crowd.users.ids, audience.members)
    scores, pool = ranked(way, crowd, members, salt)
    rows = np.flatnonzero(pool)
    best = rows[np.argsort(-scores[rows], kind="stable")]
    return crowd.users.ids[best[: int(TOP * len(rows))]]


def _overlap(one: npt.NDArray[np.object_], other: npt.NDArray[np.object_]) -> float:
    return len(np.intersect1d(one, other)) / max(1, min(len(one), len(other)))


def main() -> None:
    """Parse arguments, measure, save."""
    o = tables.options(__doc__, "stability").parse_args()
    kind = "long" if o.long else "short"
    wanted, epochs = recipes(o.long, o.only), o.epochs or (20 if o.long else 2)
    for name in o.data or at_hand(list(SHOPS) if o.long else ["alibaba2014"]):
        shop = SHOPS[name]()
        two = prepare(shop, wanted, o.seed, epochs)
        audiences = behavioural(shop, shop.cut, shop.end, 10 if o.long else 3, removed=False)
        rows = segment_rows(two, SegmentConfig())
        rows |= audience_rows(two, shop, audiences, () if o.long else SHORT_WAYS, o.seed)
        tables.keep(
            f"stability_{name}_{kind}",
            f"Stability: {name} ({kind} form)",
            f"{len(two.first):,} users, {SEGMENTS} segments; {len(audiences)} audiences. "
            "Segments: adjusted Rand index; audiences: share of the first tenth that stays. "
            "Nothing is chosen here.",
            ["", "another seed", "halves of users", "more days"],
            [
                [row, *(tables.spread(np.array([v])) if v else "" for v in values)]
                for row, values in rows.items()
            ],
            {"found": rows},
        )  # fmt: skip


if __name__ == "__main__":
    main()
