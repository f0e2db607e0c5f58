"""Lookalike audiences: how early the members that were hidden come in the ranking.

    python -m benchmarks.quality.lookalike [--long]

Three tables: people (demographics as cross-validation / lookalike, coupon redeemers), behaviour
(who takes a target in the next period, its earlier events visible and removed), and attributes of
Amazon Beauty (in the long form, or asked for by ``--data amazon_beauty``). See ``ways`` for
the protocols and ``audiences`` for who is a member. AUC, the pool's members against the others.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from benchmarks.quality import tables
from benchmarks.quality.audiences import (
    FOLDS,
    SEEN,
    Audience,
    attributes,
    behavioural,
    demographic,
    redeemers,
)
from benchmarks.quality.history import Past
from benchmarks.quality.recipes import (
    DEFAULT,
    FLOORS,
    Made,
    Recipe,
    batch_of,
    make_before,
    recipes,
    try_to_make,
)
from benchmarks.quality.shops import BEAUTY, SHOPS, at_hand
from benchmarks.quality.ways import SO_FAR, Crowd, Way, ways
from kinsight.encoders.histories import cut_by_tokens
from kinsight.expand.measures import BoolArray, FloatArray, auc
from kinsight.expand.scorers.registry import AUTO
from kinsight.expand.scorers.tuning import is_tunable
from kinsight.expand.scorers.users import Users
from kinsight.hashing import hash_fractions
from kinsight.objectives.base import ItemObjective

BESIDE = "bag_logistic"
"""What rows are compared with, pair by pair."""
BEAUTY_EPOCHS = 60

Trained = dict[str, Made]
Score = Callable[[Way, Crowd, BoolArray, str], float]


@dataclasses.dataclass
class Cells:
    """AUC and seconds of every row, audience and draw.

    Attributes:
        auc: Row to audience to one AUC a draw.
        seconds: Row to the time of all of them.
        training: Recipe to the time of its trainings, one a past.
        floors: The rows that are floors.
        refused: What could not be made, in words.
    """

    auc: dict[str, dict[str, list[float]]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    training: dict[str, float] = dataclasses.field(default_factory=dict)
    floors: list[str] = dataclasses.field(default_factory=list)
    refused: list[str] = dataclasses.field(default_factory=list)

    def array(self, row: str, names: Sequence[str]) -> FloatArray:
        """AUC of a row [audiences, draws]; NaN where it has none."""
        draws = max(len(of) for by in self.auc.values() for of in by.values())
        values = [self.auc[row].get(name, []) for name in names]
        return np.array([list(v) + [np.nan] * (draws - len(v)) for v in values], dtype=np.float64)


def ranked(way: Way, crowd: Crowd, members: BoolArray, salt: str) -> tuple[FloatArray, BoolArray]:
    """Half of the members, by a hash of their ids, are seeds; scores [n] and who is no seed [n]."""
    ids, rows = crowd.users.ids, np.flatnonzero(members)
    drawn = rows[np.argsort(hash_fractions(ids[rows], f"{salt}:seeds"), kind="stable")]
    seeds = np.zeros(len(ids), dtype=bool)
    seeds[drawn[: len(drawn) // 2]] = True
    return way.rank(crowd.in_halves(f"{salt}:half"), seeds, ~seeds, ~seeds), ~seeds


def lookalike(way: Way, crowd: Crowd, members: BoolArray, salt: str) -> float:
    """AUC of half of the members among everybody but the other half, who are the seeds."""
    scores, pool = ranked(way, crowd, members, salt)
    return auc(scores[pool], members[pool])


def cross_validated(way: Way, crowd: Crowd, members: BoolArray, salt: str) -> float:
    """AUC over folds of the labelled users, members and others spread evenly; the folds' mean."""
    order = hash_fractions(crowd.users.ids, f"{salt}:fold")
    fold = np.empty(len(order), dtype=np.int64)
    for kind in (members, ~members):
        rows = np.flatnonzero(kind)
        fold[rows[np.argsort(order[rows], kind="stable")]] = np.arange(len(rows)) % FOLDS
    found = []
    for own in range(FOLDS):
        asked = fold == own
        scores = way.rank(crowd, members & ~asked, ~members & ~asked, asked)
        found.append(auc(scores[asked], members[asked]))
    return float(np.mean(found))


def crowd_of(audience: Audience, trained: Mapping[str, Made], with_scores: bool = True) -> Crowd:
    """The pool of an audience in all views; ready scores, which cost a pass, may be left out."""
    past = audience.past
    crowd = _everybody(past, tuple(trained.values()))
    scores: dict[str, FloatArray] = {}
    # Of removed events nothing is left to count, nor to come back to.
    if audience.items is not None and with_scores and not audience.removed:
        items = audience.items
        taken = np.asarray(past.counts("item")[:, items].sum(axis=1)).ravel()
        scores[SO_FAR] = taken / np.maximum(past.events, 1)
        for name, made in trained.items():
            for objective in made.objectives.values():
                if isinstance(objective, ItemObjective) and len(items):
                    scores[f"{name}, chance of its items"] = _chance(made, objective, past, items)
    crowd = dataclasses.replace(crowd, scores=scores)
    return crowd.rows(np.isin(past.ids, audience.pool))


@functools.lru_cache(maxsize=2)
def _everybody(past: Past, trained: tuple[Made, ...]) -> Crowd:
    """All users of a past, which audiences share, without ready scores."""
    vectors = {made.recipe.name: made.vectors(past.histories) for made in trained}
    default = vectors.get(DEFAULT, next(iter(vectors.values()), None))
    return Crowd(
        past.users(default),
        past.users(fields=["item"]),
        past.features(),
        {made.recipe.name: _readers(past, vectors[made.recipe.name], made) for made in trained},
        {},
    )


def _readers(past: Past, vectors: np.ndarray, made: Made) -> Users:
    """The users of a past with vectors, and with histories where the encoder may be fine-tuned."""
    users = past.users(vectors, fields=[])
    if not is_tunable(made.model):
        return users
    return dataclasses.replace(users, histories=past.histories, model=made.model)


def _chance(made: Made, objective: ItemObjective, past: Past, items: np.ndarray) -> FloatArray:
    """The logarithm of the chance that one of some items comes next [n]."""
    histories, found = past.histories, np.zeros(len(past))
    order = np.argsort(histories.length, kind="stable").astype(np.int64)
    chosen = torch.from_numpy(items)
    with torch.inference_mode():
        for part in cut_by_tokens(histories.length[order], 4_096):
            batch = batch_of(made.encoder, histories.take(order[part]))
            logits = objective.scores(made.encoder, batch).log_softmax(dim=1)
            found[order[part]] = logits[:, chosen].logsumexp(dim=1).double().numpy()
    return found


@functools.lru_cache(maxsize=2)
def train_all(
    wanted: tuple[Recipe, ...], past: Past, seed: int, epochs: int, data: str
) -> tuple[Trained, list[str]]:
    """All recipes on one past of a data set, and those that it cannot serve, in words."""
    training = {"epochs": epochs}
    refused: list[str] = []
    trained = {}
    for recipe in wanted:
        made = try_to_make(
            functools.partial(make_before, past, recipe, seed, training, data), recipe, refused
        )
        if made is not None:
            trained[recipe.name] = made
    return trained, refused


def all_ways(crowd: Crowd, with_auto: bool = True, with_tuned: bool = False) -> list[Way]:
    """Every row of a table.

    Args:
        crowd: What there is to rank by.
        with_auto: Whether ``auto`` is measured.
        with_tuned: Whether trained encoders are fine-tuned too.
    """
    tuned = [n for n, users in crowd.vectors.items() if users.model and n not in FLOORS]
    return ways(list(crowd.vectors), list(crowd.scores), with_auto, tuned if with_tuned else [])


def measure(
    audiences: Sequence[Audience],
    wanted: Sequence[Recipe],
    draws: int,
    seed: int,
    epochs: int,
    score: Score = lookalike,
    rows: Callable[[Crowd], Sequence[Way]] = all_ways,
    with_scores: bool = True,
) -> Cells:
    """Some rows on all audiences.

    Args:
        audiences: The audiences.
        wanted: The recipes.
        draws: Draws of seeds and halves.
        seed: Of training and draws.
        epochs: Of training, at most.
        score: The protocol.
        rows: What is measured.
        with_scores: Whether ready scores are among it.
    """
    cells = Cells()
    pasts: list[Past] = []
    for audience in audiences:
        trained, refused = train_all(tuple(wanted), audience.whole, seed, epochs, audience.data)
        cells.refused = list(dict.fromkeys([*cells.refused, *refused]))
        if audience.whole not in pasts:
            pasts.append(audience.whole)
            for recipe, made in trained.items():
                cells.training[recipe] = cells.training.get(recipe, 0.0) + made.seconds
        crowd = crowd_of(audience, trained, with_scores)
        members = np.isin(crowd.users.ids, audience.members)
        name = f"{audience.family}: {audience.name}"
        for way in rows(crowd):
            begun = time.perf_counter()
            salt = f"quality:{seed}:{audience.name}"
            found = [score(way, crowd, members, f"{salt}:{draw}") for draw in range(draws)]
            cells.auc.setdefault(way.name, {})[name] = found
            if way.kind == "floor" and way.name not in cells.floors:
                cells.floors.append(way.name)
            spent = time.perf_counter() - begun
            cells.seconds[way.name] = cells.seconds.get(way.name, 0.0) + spent
        print(f"{name}: {members.sum()} of {len(members)}", flush=True)
    return cells


def rows_of(cells: Cells, families: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """A row a way: each family's mean, the mean of all, the paired difference, seconds."""
    everything = [name for names in families.values() for name in names]
    rows = []
    for row in cells.auc:
        parts = []
        for names in families.values():
            values = cells.array(row, names)
            parts.append("" if np.isnan(values).all() else tables.spread(values))
        whole = cells.array(row, everything)
        complete = not np.isnan(whole[:, 0]).any()
        difference = (
            tables.paired(whole, cells.array(BESIDE, everything))
            if not np.isnan(whole).all()
            else ""
        )
        rows.append([
            row, *parts, tables.spread(whole) if complete else "",
            "" if row == BESIDE else str(difference), f"{cells.seconds[row]:.0f}",
        ])  # fmt: skip
    return rows


def notes_of(cells: Cells) -> list[str]:
    """What is said under a table: `auto` beside the best of the floors, and what was refused."""
    names = [name for of in families_of(cells).values() for name in of]
    floors = {floor: cells.array(floor, names) for floor in cells.floors}
    means = {floor: float(v.mean()) for floor, v in floors.items() if not np.isnan(v).any()}
    notes = []
    if AUTO in cells.auc and means:
        best = max(means, key=lambda floor: means[floor])
        difference = tables.paired(cells.array(AUTO, names), floors[best])
        notes.append(f"`{AUTO}` beside the floor that is best here, {best}: {difference}.")
    return [*notes, *(f"Refused: {told}" for told in cells.refused)]


def families_of(cells: Cells) -> dict[str, list[str]]:
    """Audiences by family, as the cells name them."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for by in cells.auc.values() for name in by):
        found.setdefault(name.split(": ")[0], []).append(name)
    return found


def main() -> None:
    """Parse arguments, measure, save."""
    parser = tables.options(__doc__, "lookalike")
    parser.add_argument("--audiences", type=int, help="behavioural audiences a data set")
    o = parser.parse_args()
    wanted = recipes(o.long, o.only)
    draws = o.draws or (20 if o.long else 5)
    epochs = o.epochs or (20 if o.long else 2)
    number = o.audiences or (15 if o.long else 3)
    data = o.data or at_hand([*SHOPS, BEAUTY] if o.long else list(SHOPS))
    kind = "long" if o.long else "short"
    rows = functools.partial(all_ways, with_tuned=o.long)
    if "complete_journey" in data:
        people = measure([*demographic(), *redeemers()], wanted, draws, o.seed, epochs, rows=rows)
        without_auto = functools.partial(rows, with_auto=o.long)
        folds = measure(demographic(), wanted, 1, o.seed, epochs, cross_validated, without_auto)
        report_people(people, folds, kind, draws)
    audiences = []
    for name in data:
        if name != BEAUTY:
            shop = SHOPS[name]()
            for removed in (False, True):
                audiences += behavioural(shop, shop.cut, shop.end, number, removed)
    draws = max(1, draws // 5)
    if audiences:
        cells = measure(audiences, wanted, draws, o.seed, epochs, rows=rows)
        report_behaviour(cells, kind, draws)
    if BEAUTY in data:
        audiences, epochs = attributes(o.audiences or 15), o.epochs or BEAUTY_EPOCHS
        cells = measure(audiences, wanted, 1, o.seed, epochs, rows=rows)
        report_attributes(cells, kind)


def report_people(people: Cells, folds: Cells, kind: str, draws: int) -> None:
    """The table on demographics and redeemers."""
    families = {name.split(": ", 1)[1]: [name] for name in people.auc[BESIDE]}
    columns = ["ranked by", *families, "mean", f"beside {BESIDE}", "s"]
    rows = rows_of(people, families)
    for row in rows:
        for place, (name, [full]) in enumerate(families.items(), start=1):
            found = folds.auc.get(row[0], {}).get(full)
            if found and name in columns:
                row[place] = f"{found[0]:.3f} / {row[place]}"
    tables.keep(
        f"lookalike_people_{kind}",
        f"Lookalike: people ({kind} form)",
        "Complete Journey. Demographics: AUC among the 801 labelled households by 5-fold "
        f"cross-validation / as lookalikes, mean ± std of {draws} draws; redeemers: lookalike "
        "among the members of the campaign, behaviour before its start. The mean and the "
        "difference (95 % interval, paired by draw) are of lookalikes. Each scorer chooses its "
        "settings inside its training part; encoders stop by held-out users; nothing is chosen on "
        "what is measured. Vectors of scorers are those of the default recipe. Seconds are of all "
        "draws, without training; a row counts only the fits that no row above it made.",
        columns, rows,
        {"auc": people.auc, "cross_validated": folds.auc, "seconds": people.seconds},
        [*notes_of(people), SEEN],
    )  # fmt: skip


def report_attributes(cells: Cells, kind: str) -> None:
    """The table on attributes of Amazon Beauty."""
    families = families_of(cells)
    tables.keep(
        f"lookalike_attributes_{kind}",
        f"Lookalike: who takes an item with an attribute next ({kind} form)",
        f"Amazon Beauty: AUC of half of those whose last item has one of {len(families[BEAUTY])} "
        "attributes, the other half being seeds, by all that came before, one draw; attributes of "
        "evenly spaced sizes, their members in brackets in the JSON file. At most "
        f"{BEAUTY_EPOCHS} epochs in either form. "
        "Encoders train on the same histories and stop by held-out users; nothing is chosen on "
        "what is measured. Difference: paired, 95 % interval over audiences.",
        ["ranked by", *families, "mean", f"beside {BESIDE}", "s"],
        rows_of(cells, families),
        {"auc": cells.auc, "seconds": cells.seconds},
        notes_of(cells),
    )  # fmt: skip


def report_behaviour(cells: Cells, kind: str, draws: int) -> None:
    """The table on next-period takers."""
    families = families_of(cells)
    number = {name: len(names) for name, names in families.items()}
    tables.keep(
        f"lookalike_behaviour_{kind}",
        f"Lookalike: who takes it next ({kind} form)",
        "AUC of half of those who take a target in the next period, the other half being seeds; "
        f"{', '.join(f'{n} audiences of {name}' for name, n in number.items())}; {draws} draws. "
        "Visible and removed: the target's events before the cut. The largest audiences of at most "
        "30 % of the users were taken; nothing else was chosen. Difference: paired, 95 % interval "
        "over audiences. Targets: product type (complete_journey), family of stock numbers "
        "(online_retail), brand (alibaba2014), category (taobao2017).",
        ["ranked by", *families, "mean", f"beside {BESIDE}", "s"],
        rows_of(cells, families),
        {"auc": cells.auc, "seconds": cells.seconds},
        notes_of(cells),
    )  # fmt: skip


if __name__ == "__main__":
    main()
