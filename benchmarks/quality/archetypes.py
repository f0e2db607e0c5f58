"""Planted archetypes: what segments and audiences find of a truth that is known.

    python -m benchmarks.quality.archetypes [--long]

Customers of a made-up shop (``shops.planted``) are of twelve kinds, which differ in what they buy,
when and how dear; a tenth of them changed kind on the way and count as what they are at the end.
Segments: as many as kinds, and their adjusted Rand index with these, of all users whom stage
`segment` groups and of those with long histories. Audiences: half of a kind are seeds, and the AUC
of the other half among everybody else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from benchmarks.quality import tables
from benchmarks.quality.audiences import Audience, past_of
from benchmarks.quality.history import Past
from benchmarks.quality.information import agreement
from benchmarks.quality.lookalike import (
    BESIDE,
    all_ways,
    families_of,
    measure,
    notes_of,
    rows_of,
    train_all,
)
from benchmarks.quality.recipes import Made, recipes
from benchmarks.quality.segments import Cut, groupings
from benchmarks.quality.shops import PLANTED, archetypes_of, planted
from kinsight.config import SegmentConfig
from kinsight.synth.world import ARCHETYPES

LONG_HISTORY = 20
"""Events above which an archetype shows clearly."""
SHORT_AUDIENCES = tables.CLUSTERS


def segment_rows(past: Past, trained: Mapping[str, Made], seeds: Sequence[int]) -> list[list[str]]:
    """A row a way to group: agreement with the truth, of all and of long histories; stability."""
    rows = np.flatnonzero(past.events >= SegmentConfig().minimum_events)
    nothing = np.zeros((len(rows), 0), dtype=bool)
    cut = Cut(past, rows, nothing, past.feature("frequency")[rows])
    truth = archetypes_of(past.ids[rows])
    is_long = past.events[rows] > LONG_HISTORY
    vectors = {name: made.vectors(past.histories) for name, made in trained.items()}
    found = []
    for name, group in groupings(cut, vectors, SegmentConfig(), len(ARCHETYPES)).items():
        with threadpool_limits(1):
            labels = [group(of) for of in seeds]
        scores = [
            [adjusted_rand_score(truth[of], one[of]) for one in labels]
            for of in (np.ones(len(rows), dtype=bool), is_long)
        ]
        cells = [tables.spread(np.array([v])) for v in (*scores, agreement(labels))]
        found.append([name, *cells])
        print(*found[-1], flush=True)
    return found


def audiences_of(past: Past, number: int) -> list[Audience]:
    """The archetypes with the most customers, each as an audience."""
    truth = archetypes_of(past.ids)
    names, sizes = np.unique(truth, return_counts=True)
    largest = names[np.argsort(-sizes, kind="stable")][:number]
    return [
        Audience(name, PLANTED, PLANTED, past, past, past.ids, past.ids[truth == name])
        for name in largest
    ]


def main() -> None:
    """Parse arguments, measure, save."""
    parser = tables.options(__doc__, "archetypes")
    parser.add_argument("--audiences", type=int, help="archetypes that are audiences")
    o = parser.parse_args()
    kind = "long" if o.long else "short"
    wanted, epochs = recipes(o.long, o.only), o.epochs or (20 if o.long else 2)
    seeds = list(range(o.draws or (20 if o.long else 4)))
    shop = planted()
    past = past_of(shop, shop.end)
    trained, refused = train_all(tuple(wanted), past, o.seed, epochs, PLANTED)
    tables.keep(
        f"archetypes_segments_{kind}",
        f"Planted archetypes: segments ({kind} form)",
        f"Adjusted Rand index of {len(ARCHETYPES)} segments and the archetypes; {len(past):,} "
        f"customers, of whom those with {SegmentConfig().minimum_events} events or more are "
        f"grouped; long histories: more than {LONG_HISTORY} events. {len(seeds)} seeds, mean ± "
        "std; stability: two seeds' segments. Nothing is chosen on what is measured.",
        ["segments from", "all", "long histories", "seed stability"],
        segment_rows(past, trained, seeds), {},
        [f"Refused: {told}" for told in refused],
    )  # fmt: skip
    number = o.audiences or (len(ARCHETYPES) if o.long else SHORT_AUDIENCES)
    rows = functools.partial(all_ways, with_tuned=o.long)
    draws = o.draws or (3 if o.long else 1)
    cells = measure(audiences_of(past, number), wanted, draws, o.seed, epochs, rows=rows)
    tables.keep(
        f"archetypes_audiences_{kind}",
        f"Planted archetypes: audiences ({kind} form)",
        f"AUC of half of the customers of an archetype, the other half being seeds, among all "
        f"{len(past):,}; the {number} largest archetypes, {draws} draws. Difference: paired, 95 % "
        "interval over audiences. Nothing is chosen on what is measured.",
        ["ranked by", "AUC", f"beside {BESIDE}", "s"],
        [[row, *rest] for row, _, *rest in rows_of(cells, families_of(cells))],
        {"auc": cells.auc, "seconds": cells.seconds}, notes_of(cells),
    )  # fmt: skip


if __name__ == "__main__":
    main()
