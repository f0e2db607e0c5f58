"""Next item and next category: leave-one-out, the whole catalogue ranked.

    python -m benchmarks.quality.next_item [--long]

Each user's latest time (a basket, or one event) is the test, the one before it the validation part;
encoders train on what is before both and stop early by held-out users of that. The catalogue is
what the shop has; nothing else of the two last times is used. Items met before are ranked too,
but for Amazon Beauty, where nobody takes an item twice and the published figures leave them out.

HR at k: users with an item of that time among the first k. NDCG at k: over the distinct items of
the time, the best order = 1. Unknown items count as missed. A category scores the sum of the
chances of its items; encoders that learn nothing score items by products, which are no chances.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.quality import tables
from benchmarks.quality.audiences import past_of
from benchmarks.quality.history import Past, before
from benchmarks.quality.recipes import (
    TRAINED_ENCODER,
    Made,
    Recipe,
    batch_of,
    make,
    recipes,
    try_to_make,
)
from benchmarks.quality.shops import (
    BEAUTY,
    BEAUTY_SEQUENCES,
    MADE_UP,
    PLANTED,
    SHOPS,
    at_hand,
    beauty,
)
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories, cut_by_tokens
from kinsight.objectives.base import ItemObjective
from kinsight.objectives.ranking import SCORES_AT_MOST, split_latest

AT = (10, 20)
PURCHASES = "purchase HR@10"
BY_ITEM, BY_TYPE = (f"{TRAINED_ENCODER} + {name}" for name in ("next_item", "type_then_item"))
"""Recipes that are compared by the next purchase, which one of them foretells as such."""
CHOSEN = {
    BEAUTY: "the settings of training and transformer",
    "alibaba2014": "at what weights by age repeats begin",
}
"""What the validation part of a data set chose."""
PUBLISHED = (
    ("popularity, published", ".0152", ".0068", "", ""),
    ("GRU4Rec, published", ".0283", ".0137", "", ""),
    ("SASRec, published", ".0605", ".0318", "", ""),
    ("S3-Rec, published", ".0647", ".0327", "", ""),
    ("SASRec, published with SRA-CL", "", "", ".0887", ".0382"),
    ("DuoRec, published with SRA-CL", "", "", ".1224", ".0535"),
    ("SRA-CL without its language model, published", "", "", ".1259", ""),
    ("SRA-CL, published", "", "", ".1314", ".0568"),
)
"""HR and NDCG at 10 and 20 on Amazon Beauty, as the S3-Rec and the SRA-CL paper give them."""
PUBLISHED_DIFFERS = (
    "Published with SRA-CL: its code ranks items met before too, and chooses the epoch by the "
    "validation part of all users.",
)

Score = Callable[[Histories], Tensor]
"""Histories of B users to scores, [B, items]; the higher the sooner."""
Floats = npt.NDArray[np.float64]


class Row(NamedTuple):
    """One way to rank items.

    Attributes:
        score: The ranking.
        seconds: What making it took.
        has_chances: Whether scores are logs of chances, which add up to those of categories.
        purchases: The ranking of what is purchased next, where it is another.
    """

    score: Score
    seconds: float
    has_chances: bool
    purchases: Score | None = None


@dataclasses.dataclass(frozen=True)
class Exam:
    """One data set, split.

    Attributes:
        name: As tables show it.
        ids: Users with three times at least [n].
        train: What is before the last two times.
        validation: The same, and the items of the time that follows.
        test: What is before the last time, and the items of it.
        past: Whence vocabulary and categories come.
        allows_repeats: Whether items met before are ranked.
    """

    name: str
    ids: npt.NDArray[np.object_]
    train: Histories
    validation: tuple[Histories, Histories]
    test: tuple[Histories, Histories]
    past: Past
    allows_repeats: bool

    @property
    def frequency(self) -> Tensor:
        """Events of the training part with each item, [items], float64."""
        items = len(self.past.tokens["item"].names)
        counts = np.bincount(self.train.columns["item"], minlength=items).astype(np.float64)
        counts[: UNKNOWN + 1] = 0.0
        return torch.from_numpy(counts)


def split(name: str, past: Past, allows_repeats: bool) -> Exam:
    """Part the two latest times of each user from the rest; users with fewer than three are out."""
    whole = past.histories
    times = np.add.reduceat(_begins(whole).astype(np.int64), whole.start)
    users = np.flatnonzero(times >= 3)
    test = split_latest(whole.take(users))
    validation = split_latest(test[0])
    return Exam(name, past.ids[users], validation[0], validation, test, past, allows_repeats)


def _begins(histories: Histories) -> npt.NDArray[np.bool_]:
    """True where a user's distinct time begins [events]."""
    seconds = histories.columns["seconds"]
    begins = np.ones(len(seconds), dtype=bool)
    begins[1:] = seconds[1:] != seconds[:-1]
    begins[histories.start] = True
    return begins


def exam(name: str) -> Exam:
    """The data set of a name, split."""
    if name == BEAUTY:
        events, _ = beauty()
        after_all = events["event_time"].max() + np.timedelta64(1, "D")
        return split(name, before(events, after_all, BEAUTY_SEQUENCES), allows_repeats=False)
    shop = (MADE_UP | SHOPS)[name]()
    return split(name, past_of(shop, shop.end), allows_repeats=True)


def floors(of: Exam) -> dict[str, Score]:
    """Popularity, and the items met last."""
    frequency = of.frequency.clamp(min=0.5).log().float()

    def popularity(histories: Histories) -> Tensor:
        return frequency.expand(len(histories), -1).clone()

    def recent(histories: Histories) -> Tensor:
        # Popularity, far below, parts those that the user never met.
        scores = popularity(histories) - frequency.max()
        items = torch.from_numpy(histories.padded("item").astype("int64"))
        for place in range(items.shape[1]):
            scores.scatter_(1, items[:, place : place + 1], 1.0 + place)
        return scores

    return {"popularity": popularity, "items met last": recent}


def purchases_of(made: Made) -> Score | None:
    """How a recipe ranks items to be purchased; None where its objectives say nothing of items."""
    encoder = made.encoder
    ranking = [one for one in made.objectives.values() if isinstance(one, ItemObjective)]
    if not ranking:
        return None
    return lambda histories: ranking[0].purchase_scores(encoder, batch_of(encoder, histories))


def score_of(made: Made) -> Score | None:
    """How a recipe ranks items; None where its objectives say nothing of items.

    Encoders that do not learn rank by the product of user and item vector.
    """
    encoder = made.encoder
    ranking = [one for one in made.objectives.values() if isinstance(one, ItemObjective)]
    if ranking:
        return lambda histories: ranking[0].scores(encoder, batch_of(encoder, histories))
    if made.recipe.objectives or encoder.dimension != encoder.item_vectors().shape[1]:
        return None
    items = torch.nn.functional.normalize(encoder.item_vectors(), dim=1)

    def products(histories: Histories) -> Tensor:
        return encoder.read(encoder.encode(batch_of(encoder, histories)))[:, 0] @ items.T

    return products


def examine(of: Exam, row: Row, part: tuple[Histories, Histories]) -> dict[str, Floats]:
    """Measures of each user: ``HR@k`` and ``NDCG@k`` of items and ``category HR@k`` [n].

    Also ``purchase HR@k`` and so on, of the items that are purchased at that time, where purchases
    are one of several types; NaN for users who purchase nothing then.
    """
    past, following = part
    vocabulary = of.past.vocabulary()
    purchase = vocabulary.purchase if int((vocabulary.type_frequency > 0).sum()) > 1 else None
    category = torch.from_numpy(of.past.category_of)
    categories = int(category.max()) + 1
    found: dict[str, Floats] = {}
    order = np.argsort(past.length, kind="stable").astype(np.int64)
    most = max(1, SCORES_AT_MOST // len(category))
    with torch.inference_mode():
        for batch in cut_by_tokens(past.length[order], 4_096):
            for begin in range(batch.start, batch.stop, most):
                users = order[begin : min(begin + most, batch.stop)]
                seen = past.take(users)
                scores = row.score(seen).float()
                scores[:, : UNKNOWN + 1] = -torch.inf
                if not of.allows_repeats:
                    met = torch.from_numpy(seen.padded("item").astype("int64"))
                    scores.scatter_(1, met, -torch.inf)
                comes = following.take(users)
                truth = comes.padded("item").astype("int64")
                measured = _measures(scores, truth, "")
                if row.has_chances and categories > UNKNOWN + 1:
                    measured |= _of_categories(scores, truth, category, categories)
                if purchase is not None:
                    bought = np.where(comes.padded("event_type") == purchase, truth, 0)
                    chances = scores if row.purchases is None else row.purchases(seen).float()
                    chances[:, : UNKNOWN + 1] = -torch.inf
                    nobody = ~(bought > UNKNOWN).any(axis=1)
                    for name, values in _measures(chances, bought, "purchase ").items():
                        measured[name] = np.where(nobody, np.nan, values)
                for name, values in measured.items():
                    found.setdefault(name, np.zeros(len(past)))[users] = values
    return found


def _of_categories(
    scores: Tensor, truth: npt.NDArray[np.int64], category: Tensor, categories: int
) -> dict[str, Floats]:
    chances = scores.softmax(dim=1)
    summed = torch.zeros(len(scores), categories).index_add_(1, category, chances)
    summed[:, : UNKNOWN + 1] = -torch.inf
    of_truth = np.where(truth > UNKNOWN, category.numpy()[truth], 0)
    return _measures(summed, of_truth, "category ")


def _measures(scores: Tensor, truth: npt.NDArray[np.int64], what: str) -> dict[str, Floats]:
    """HR and NDCG of each user; users without a known truth have 0.

    Args:
        scores: [B, things].
        truth: Things of the next time, 0 and 1 for none and unknown [B, T].
        what: Put before the names.
    """
    best = scores.topk(min(max(AT), scores.shape[1]), dim=1).indices.numpy()
    known = [np.unique(row[row > UNKNOWN]) for row in truth]
    hit = np.stack([np.isin(b, k) for b, k in zip(best, known, strict=True)])
    gain = 1.0 / np.log2(np.arange(hit.shape[1]) + 2.0)
    found = {}
    for k in AT:
        ideal = np.array([gain[: min(len(one), k)].sum() for one in known])
        found[f"{what}HR@{k}"] = hit[:, :k].any(axis=1).astype(np.float64)
        found[f"{what}NDCG@{k}"] = (hit[:, :k] * gain[:k]).sum(axis=1) / np.maximum(ideal, gain[0])
    return found


def train(of: Exam, recipe: Recipe, seed: int, training: Mapping[str, object]) -> Made:
    """A recipe on the training part."""
    vocabulary = dataclasses.replace(of.past.vocabulary(), item_frequency=of.frequency)
    return make(recipe, of.ids, of.train, vocabulary, seed, training, of.name)


def all_scores(
    of: Exam, wanted: Sequence[Recipe], seed: int, training: Mapping[str, object]
) -> tuple[dict[str, Row], list[str]]:
    """Every row, and what was refused."""
    rows = {name: Row(score, 0.0, True) for name, score in floors(of).items()}
    refused: list[str] = []
    for recipe in wanted:
        made = try_to_make(functools.partial(train, of, recipe, seed, training), recipe, refused)
        if made is None:
            continue
        score = score_of(made)
        if score is not None:
            rows[recipe.name] = Row(
                score, made.seconds, bool(recipe.objectives), purchases_of(made)
            )
    return rows, refused


def main() -> None:
    """Parse arguments, measure, save."""
    parser = tables.options(__doc__, "next_item")
    parser.add_argument(
        "--stop-by", default="ranking", choices=("ranking", "loss"), help="what ends training"
    )
    o = parser.parse_args()
    kind = "long" if o.long else "short"
    short = [PLANTED, "alibaba2014", "taobao2017"]
    for name in o.data or at_hand([PLANTED, *SHOPS, BEAUTY] if o.long else short):
        of = exam(name)
        training = {"epochs": o.epochs or (60 if o.long else 3), "stop_by": o.stop_by}
        report(of, recipes(o.long, o.only), o.seed, training, kind)


def report(
    of: Exam, wanted: Sequence[Recipe], seed: int, training: Mapping[str, object], kind: str
) -> None:
    """One data set's table."""
    rows, refused = all_scores(of, wanted, seed, training)
    stop_by = training["stop_by"]
    if stop_by != "ranking":
        kind = f"{kind}_by_{stop_by}"
    cells, kept = [], {}
    popular: dict[str, Floats] = {}
    bought: dict[str, Floats] = {}
    for name, row in rows.items():
        begun = time.perf_counter()
        validation = examine(of, row, of.validation)
        test = examine(of, row, of.test)
        spent = row.seconds + time.perf_counter() - begun
        popular = popular or test
        if PURCHASES in test:
            bought[name] = test[PURCHASES]
        kept[name] = {m: float(np.nanmean(v)) for m, v in test.items()}
        beside = tables.paired(test["HR@10"][:, None], popular["HR@10"][:, None])
        told = [f"{kept[name][m]:.4f}" if m in kept[name] else "" for m in popular]
        cells.append(
            [name, f"{validation['HR@10'].mean():.4f}", *told,
             "" if name == "popularity" else str(beside), f"{spent:.0f}"]
        )  # fmt: skip
        print(*cells[-1], flush=True)
    measures = list(next(iter(kept.values())))
    buyers = int((~np.isnan(bought["popularity"])).sum()) if bought else 0
    notes = list(PUBLISHED_DIFFERS if of.name == BEAUTY else ())
    if {BY_TYPE, BY_ITEM} <= set(bought):
        difference = tables.paired(bought[BY_TYPE][:, None], bought[BY_ITEM][:, None])
        notes.append(f"{PURCHASES}: {BY_TYPE} beside {BY_ITEM}, paired by user: {difference}.")
    notes += [f"Refused: {told}" for told in refused]
    if of.name == BEAUTY:
        blank = [""] * (len(measures) - 4)
        for name, *published in PUBLISHED:
            cells.append([name, "", *published, *blank, "", ""])
    users = len(of.ids)
    error = math.sqrt(0.25 / users)
    tables.keep(
        f"next_item_{of.name}_{kind}",
        f"Next item: {of.name} ({kind.replace('_', ' ')})",
        f"{users:,} users, {len(of.frequency) - UNKNOWN - 1:,} items; at most "
        f"{training['epochs']} epochs, stopped by the {stop_by} of held-out users of the training "
        "part; the validation column chose "
        f"{CHOSEN.get(of.name, 'nothing')}, "
        f"the test column nothing. A rate has a standard error of at most {error:.3f}. Difference: "
        "HR@10 paired by user with popularity, 95 % interval."
        + (f" Purchases: of the {buyers} users who purchase something at "
           "their latest time." if bought else ""),
        ["ranked by", "validation HR@10", *measures, "beside popularity", "s"],
        cells, {"test": kept},
        notes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
