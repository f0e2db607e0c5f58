"""Segments: how much they say of what users do in the next period, and how stable they are.

    python -m benchmarks.quality.segments [--long]

Ten segments of the users with events on both sides of the cut, from what they did before it. What
is foretold: which targets (product types; see ``shops``) that 5 to 60 % of them take after it. For
each grouping the measures of ``information``, mean over seeds, and the adjusted Rand index of the
seeds' groupings. Two cuts: settings may be chosen on the earlier one alone; the later is the test.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from benchmarks.quality import tables
from benchmarks.quality.audiences import past_of
from benchmarks.quality.history import Past
from benchmarks.quality.information import (
    Floats,
    Labels,
    Mask,
    agreement,
    beyond_chance,
    fifths,
    given_activity,
)
from benchmarks.quality.recipes import make_before, recipes
from benchmarks.quality.shops import SHOPS, Shop, at_hand
from kinsight.config import SegmentConfig
from kinsight.segment.algorithms.space import Blocks
from kinsight.segment.algorithms.spherical import unit_rows
from kinsight.segment.fitting import fit_points, fit_segments
from kinsight.segment.sample import Features, Sample

SEGMENTS = 10
LEAST, MOST = 0.05, 0.60
STARTS = 10
RECENCY_FREQUENCY_MONEY = ("recency_days", "frequency", "monetary")

Group = Callable[[int], Labels]
"""Seed to the segment of each user [n]."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """Users before an instant and what they do after it.

    Attributes:
        past: Users with events on both sides of the instant, and others.
        rows: Rows of ``past`` of those with both [n].
        later: Whether each takes each target [n, targets].
        activity: Days with events before the instant [n].
    """

    past: Past
    rows: npt.NDArray[np.int64]
    later: Mask
    activity: Floats


@dataclasses.dataclass(frozen=True)
class Found:
    """Measures of one way to group, one value a seed (stability: a pair of seeds)."""

    information: Sequence[float]
    given_activity: Sequence[float]
    stability: Sequence[float]
    seconds: float


def cut_at(shop: Shop, instant: pd.Timestamp, end: pd.Timestamp) -> Cut:
    """A shop cut at an instant; what counts lies before ``end``."""
    past = past_of(shop, instant)
    later = shop.events
    later = later[(later["event_time"] >= instant) & (later["event_time"] < end)]
    rows = np.flatnonzero(np.isin(past.ids, later["user_id"].unique()))
    later = later[later["target"].notna()]
    if shop.taken_by is not None:
        later = later[later["event_type"].isin(shop.taken_by)]
    took = pd.crosstab(later["user_id"], later["target"])
    taken = took.reindex(past.ids[rows]).fillna(0).to_numpy() > 0
    share = taken.mean(axis=0)
    varied = (share >= LEAST) & (share <= MOST)
    return Cut(past, rows, taken[:, varied], past.feature("frequency")[rows])


def k_means(points: npt.NDArray[np.floating], number: int) -> Group:
    """Plain k-means, the best of STARTS."""

    def group(seed: int) -> Labels:
        found = KMeans(number, n_init=STARTS, random_state=seed).fit_predict(points)
        return np.asarray(found, dtype=np.int64)

    return group


def segment(
    blocks: Blocks,
    config: SegmentConfig,
    seed: int,
    fitted_on: Mask | None = None,
    number: int = SEGMENTS,
) -> Labels:
    """As stage `segment` does it: its space, centroids and limits.

    Args:
        blocks: What users are grouped by [n].
        config: Settings of the stage.
        seed: In place of the configuration's.
        fitted_on: Users that space and centroids are fitted on [n]; all by default.
        number: Segments.
    """
    users = len(blocks.vectors) if blocks.vectors is not None else blocks.counts.shape[0]
    held_out = np.zeros(users, dtype=bool) if fitted_on is None else ~fitted_on
    sample = Sample(held_out, blocks, Features((), np.zeros((users, 0))))
    seeded = config.model_copy(update={"seed": seed})
    space, points = fit_points(sample, seeded)
    return fit_segments(sample, space, points, number, seeded).labels


def groupings(
    cut: Cut,
    vectors: Mapping[str, npt.NDArray[np.float32]],
    config: SegmentConfig,
    number: int = SEGMENTS,
) -> dict[str, Group]:
    """All ways to group: floors, those of the reference table, and the product's.

    Args:
        cut: The users.
        vectors: By recipe, vectors of the users of the past.
        config: Settings of stage `segment`.
        number: Segments.
    """
    past, rows = cut.past, cut.rows

    def stage(blocks: Blocks) -> Group:
        return lambda seed: segment(blocks, config, seed, number=number)

    parts = fifths(cut.activity, number)
    rfm = np.column_stack([past.feature(name)[rows] for name in RECENCY_FREQUENCY_MONEY])
    rfm = (rfm - rfm.mean(axis=0)) / np.maximum(rfm.std(axis=0), 1e-12)
    levels = [field for field in past.fields if field.startswith("category_")]
    bags = past.users(fields=["item", *levels[-2:]]).bags
    found: dict[str, Group] = {
        "equal parts by activity": lambda _: parts,
        "recency, frequency, money": k_means(rfm, number),
    }
    tastes = {field: _svd(bag[rows], 64) for field, bag in bags.items()}
    for field, points in tastes.items():
        found[f"SVD-64 of {field}"] = k_means(unit_rows(points), number)
    if levels:
        both = [tastes["item"], tastes[levels[-1]]]
        found[f"SVD-64 of item and {levels[-1]}"] = k_means(
            np.hstack([*map(unit_rows, both)]), number
        )
        narrow = unit_rows(_svd(bags[levels[-1]][rows], 32))
        found[f"recency, frequency, money beside SVD-32 of {levels[-1]}"] = k_means(
            np.hstack([rfm, narrow]), number
        )
    counts = past.counts(past.leaf)[rows]
    found["product, input: bags"] = stage(Blocks(None, counts))
    for name, of_all in vectors.items():
        own = of_all[rows]
        found[f"product, input: embedding ({name})"] = stage(Blocks(own, None))
        found[f"product, input: both ({name})"] = stage(Blocks(own, counts))
    return found


def _svd(bag: csr_matrix, width: int) -> Floats:
    width = min(width, min(bag.shape) - 1)
    return np.asarray(TruncatedSVD(width, random_state=0).fit_transform(bag))


def measure(cut: Cut, group: Group, seeds: Sequence[int]) -> Found:
    """Group with every seed and measure."""
    begun = time.perf_counter()
    with threadpool_limits(1):
        labels = [group(seed) for seed in seeds]
    seconds = time.perf_counter() - begun
    return Found(
        [beyond_chance(of, cut.later, seed) for of, seed in zip(labels, seeds, strict=True)],
        [
            given_activity(of, cut.later, cut.activity, seed)
            for of, seed in zip(labels, seeds, strict=True)
        ],
        agreement(labels),
        seconds / len(seeds),
    )


def cells_of(found: Found) -> list[str]:
    """Mean ± std over seeds of the measures."""
    measures = (found.information, found.given_activity, found.stability)
    return [tables.spread(np.array([values])) for values in measures]


def main() -> None:
    """Parse arguments, measure, save."""
    o = tables.options(__doc__, "segments").parse_args()
    kind = "long" if o.long else "short"
    seeds = list(range(o.draws or (20 if o.long else 4)))
    wanted_data = ["complete_journey", "online_retail"] if o.long else ["complete_journey"]
    for name in o.data or at_hand(wanted_data):
        shop = SHOPS[name]()
        rows: dict[str, list[str]] = {}
        kept: dict[str, dict[str, Found]] = {}
        about = []
        for which, instant, end in (
            ("choosing", shop.choosing_cut, shop.cut), ("test", shop.cut, shop.end),
        ):  # fmt: skip
            cut = cut_at(shop, instant, end)
            about.append(
                f"{which}: {len(cut.rows):,} users, before {instant:%Y-%m-%d}, "
                f"{cut.later.shape[1]} targets taken until {end:%Y-%m-%d}"
            )
            wanted = recipes(o.long, o.only)
            epochs = {"epochs": o.epochs or (20 if o.long else 2)}
            made = {r.name: make_before(cut.past, r, o.seed, epochs) for r in wanted}
            vectors = {n: m.vectors(cut.past.histories) for n, m in made.items()}
            for row, group in groupings(cut, vectors, SegmentConfig()).items():
                found = measure(cut, group, seeds)
                kept.setdefault(row, {})[which] = found
                rows.setdefault(row, []).extend([*cells_of(found), f"{found.seconds:.1f}"])
                print(row, which, *rows[row][-4:], flush=True)
        heads = ("MI", "given activity", "seed stability", "s")
        tables.keep(
            f"segments_{name}_{kind}",
            f"Segments and the future: {name} ({kind} form)",
            f"{SEGMENTS} segments, {len(seeds)} seeds, mean ± std. MI: mutual information of "
            "segment and taking a target, over its entropy, less that of shuffled segments; given "
            "activity: the same inside fifths of active days; stability: adjusted Rand index of "
            f"two seeds' segments; s a fit, encoders not counted. {'; '.join(about)}. Settings may "
            "be chosen on the first columns; the test columns choose nothing.",
            ["segments from", *heads, *(f"test {head}" for head in heads)],
            [[row, *cells] for row, cells in rows.items()],
            {"found": {r: {w: vars(f) for w, f in by.items()} for r, by in kept.items()}},
        )  # fmt: skip


if __name__ == "__main__":
    main()
