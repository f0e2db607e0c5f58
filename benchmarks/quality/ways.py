"""Ways to rank users by their likeness to seeds: the product's scorers, and the floors beside them.

Two protocols, those of the reference table (design of audiences):

- *lookalike*: half of the positives are seeds; everybody else is the pool, cut in two halves, each
  scored by models that had the other half as background (``kinsight`` ``cross_fit``);
- *cross-validation*: seeds and background are the labelled users of four folds, the fifth is
  scored.

Settings, such as penalties, are chosen by each scorer inside its training part.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.quality.recipes import FLOORS
from kinsight.config import ExpandConfig
from kinsight.expand.choice import (
    Choice,
    affordable,
    choose_by_hidden_seeds,
    fuse_by_hidden_seeds,
)
from kinsight.expand.evaluation import Trials, evaluate
from kinsight.expand.measures import BoolArray, FloatArray, auc
from kinsight.expand.scorers.bag_logistic import BagLogistic
from kinsight.expand.scorers.base import CrossFit, Scorer, cross_fit
from kinsight.expand.scorers.blend import blend
from kinsight.expand.scorers.logistic import Logistic
from kinsight.expand.scorers.registry import AUTO, CANDIDATES, FUSED, OF_HISTORIES, SCORERS
from kinsight.expand.scorers.users import Users
from kinsight.hashing import hash_fractions

HALVES = 2
HEAD = Logistic()
"""What ranks by the vectors of a recipe."""


@dataclasses.dataclass(frozen=True)
class Crowd:
    """The users of one audience, in several views of the same rows.

    Attributes:
        users: Bags of all fields, and the vectors of the default recipe [n].
        items: Bags of items alone [n].
        features: Plain numbers of table user_features [n, features]; NaN where unknown.
        vectors: By recipe, the users with its vectors and no bags; with histories and the model
            where it has layers that an audience may change [n].
        scores: By name, ready scores that need no seeds [n].
    """

    users: Users
    items: Users
    features: FloatArray
    vectors: dict[str, Users]
    scores: dict[str, FloatArray]

    def rows(self, selected: BoolArray) -> Crowd:
        """Some of the users."""
        return Crowd(
            self.users.rows(selected),
            self.items.rows(selected),
            self.features[selected],
            {name: users.rows(selected) for name, users in self.vectors.items()},
            {name: scores[selected] for name, scores in self.scores.items()},
        )

    def in_halves(self, salt: str) -> Crowd:
        """The same with two parts for cross-fitting instead of the product's."""
        part = (hash_fractions(self.users.ids, salt) * HALVES).astype(np.int64)
        return dataclasses.replace(
            self,
            users=dataclasses.replace(self.users, part=part),
            items=dataclasses.replace(self.items, part=part),
            vectors={n: dataclasses.replace(u, part=part) for n, u in self.vectors.items()},
        )


Rank = Callable[[Crowd, BoolArray, BoolArray, BoolArray], FloatArray]
"""Crowd, seeds, background and whom to score [n] to scores of all [n]. Those to be scored are the
background itself (lookalike), or users outside it (cross-validation)."""


@dataclasses.dataclass(frozen=True)
class Way:
    """One row of a table.

    Attributes:
        name: As the table shows it.
        kind: floor, encoder, scorer, fusion or auto.
        rank: The ranking.
    """

    name: str
    kind: str
    rank: Rank


BAGS = SCORERS["bag_logistic"]
BESIDE_BAGS = f"beside {BAGS.name}"
"""Says of a row that its ranks and those of the bags are averaged."""
SO_FAR = "share of it so far"
"""Name of the ready score that is a floor: the share of the user's events with the target."""


def ways(
    vectors: Sequence[str],
    scores: Sequence[str],
    with_auto: bool = True,
    tuned: Sequence[str] = (),
) -> list[Way]:
    """All rows: floors, one logistic a recipe, ready scores, every registered scorer, ``auto``.

    Args:
        vectors: Names of the recipes whose vectors the crowds have.
        scores: Names of the ready scores that they have.
        with_auto: Whether ``auto`` takes part; it costs as much as all others together.
        tuned: Names of the recipes that scorers of histories fine-tune; the dearest of all rows.
    """
    found = [
        Way("activity", "floor", _activity),
        Way("bag of items", "floor", _items),
        Way("boosted trees on user features", "floor", _boosted),
    ]
    if SO_FAR in scores:
        found.append(Way(SO_FAR, "floor", _ready(SO_FAR)))
    found += [
        Way(f"{name}, logistic", "floor" if name in FLOORS else "encoder", _on_vectors(name, HEAD))
        for name in vectors
    ]
    found += [Way(name, "scorer", _scorers(name)) for name in SCORERS if name not in OF_HISTORIES]
    found += [
        Way(f"{recipe}, {name}", "scorer", _on_vectors(recipe, SCORERS[name]))
        for recipe in tuned
        for name in OF_HISTORIES
    ]
    for name in scores:
        if name != SO_FAR:
            found.append(Way(name, "encoder", _ready(name)))
            found.append(Way(f"{name}, {BESIDE_BAGS}", "fusion", _beside_bags(_ready(name))))
    if with_auto:
        found.append(Way(FUSED, "fusion", _together(fuse_by_hidden_seeds)))
        found.append(Way(AUTO, AUTO, _together(choose_by_hidden_seeds)))
    return found


def vector_ways(vectors: Sequence[str]) -> list[Way]:
    """What vectors are worth: the bags, a logistic a recipe, and each of these beside the bags."""
    found = [Way(BAGS.name, "scorer", _scorers(BAGS.name))]
    for name in vectors:
        own = _on_vectors(name, HEAD)
        found.append(Way(name, "encoder", own))
        found.append(Way(f"{name}, {BESIDE_BAGS}", "fusion", _beside_bags(own)))
    return found


T = TypeVar("T")
_KEPT: dict[tuple[str, ...], Any] = {}
_KEPT_MOST = 200
"""Fits kept at most: those of one audience, which several rows of a table share."""


def _once(make: Callable[[], T], name: str, users: Users, *masks: BoolArray) -> T:
    """What was made of the same users and masks before, or is made now."""
    content = hashlib.sha256("\n".join(users.ids).encode())
    for part in (users.part, *masks, users.vectors, *(bag.data for bag in users.bags.values())):
        content.update(np.ascontiguousarray(part).tobytes())
    key = name, content.hexdigest()
    if key not in _KEPT:
        while len(_KEPT) >= _KEPT_MOST:
            _KEPT.pop(next(iter(_KEPT)))
        _KEPT[key] = make()
    found: T = _KEPT[key]
    return found


def _one(
    users: Users, scorer: Scorer, seeds: BoolArray, background: BoolArray, asked: BoolArray
) -> FloatArray:
    if (asked & background).any():
        return _fitted(scorer, users, seeds, background).score(users)
    settings = scorer.tune(users, seeds, background)
    return scorer.fit(users, seeds, background, asked, settings).score(users)


def _fitted(scorer: Scorer, users: Users, seeds: BoolArray, background: BoolArray) -> CrossFit:
    def fit() -> CrossFit:
        return cross_fit(scorer, users, seeds, background)

    return _once(fit, scorer.name, users, seeds, background)


def _activity(
    crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray
) -> FloatArray:
    """Number of events; fewer first where the seeds have fewer than the background."""
    del asked
    known = seeds | background
    more = auc(crowd.users.activity[known], seeds[known]) >= 0.5
    return crowd.users.activity if more else -crowd.users.activity


def _items(crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray) -> FloatArray:
    return _one(crowd.items, BagLogistic(), seeds, background, asked)


def _on_vectors(name: str, scorer: Scorer) -> Rank:
    def rank(crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray) -> FloatArray:
        return _one(crowd.vectors[name], scorer, seeds, background, asked)

    return rank


def _ready(name: str) -> Rank:
    return lambda crowd, *_: crowd.scores[name]


def _scorers(name: str) -> Rank:
    def rank(crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray) -> FloatArray:
        return _one(crowd.users, SCORERS[name], seeds, background, asked)

    return rank


def _beside_bags(own: Rank) -> Rank:
    def rank(crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray) -> FloatArray:
        bags = _one(crowd.users, BAGS, seeds, background, asked)
        return _ranks(bags) + _ranks(own(crowd, seeds, background, asked))

    return rank


def _ranks(scores: FloatArray) -> FloatArray:
    """The share of users with a lower score; ties share the middle."""
    ordered = np.sort(scores)
    low = np.searchsorted(ordered, scores, side="left")
    high = np.searchsorted(ordered, scores, side="right")
    return np.asarray((low + high) / (2.0 * len(scores)))


def _boosted(crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray) -> FloatArray:
    """Trees as they come, on what a table of users holds."""

    def fit(training: BoolArray) -> FloatArray:
        model = HistGradientBoostingClassifier(
            max_iter=100, max_leaf_nodes=8, learning_rate=0.05, random_state=0
        )
        # scikit-learn fails on a number that nobody has, such as prices of a shop without any.
        unknown = np.isnan(crowd.features[training]).all(axis=0)
        features = np.where(unknown, 0.0, crowd.features)
        model.fit(features[training], seeds[training])
        return np.asarray(model.predict_proba(features)[:, 1])

    if not (asked & background).any():
        return fit(seeds | background)
    part, scores = crowd.users.part, np.zeros(len(seeds))
    for own in range(HALVES):
        found = fit(seeds | (background & (part != own)))
        scores[part == own] = found[part == own]
    return scores


def _together(choose: Callable[[Trials], Choice]) -> Rank:
    def rank(crowd: Crowd, seeds: BoolArray, background: BoolArray, asked: BoolArray) -> FloatArray:
        return _chosen(choose, crowd, seeds, background, asked)

    return rank


def _chosen(
    choose: Callable[[Trials], Choice],
    crowd: Crowd,
    seeds: BoolArray,
    background: BoolArray,
    asked: BoolArray,
) -> FloatArray:
    """What ``fit_expansion`` does: try what the budget allows, choose on hidden seeds, blend."""
    config, users = ExpandConfig(), crowd.users
    known = seeds | background
    trying = users.rows(known)
    scorers, _ = affordable(
        [SCORERS[n] for n in CANDIDATES], trying, config.folds, config.budget_seconds
    )

    def try_all() -> Trials:
        own, others = seeds[known], background[known]
        return evaluate(scorers, trying, own, others, int(background.sum()), config.folds)[0]

    fusion = choose(_once(try_all, "trials", trying, seeds[known], background[known])).fusion
    if (asked & background).any():
        fitted = {n: _fitted(SCORERS[n], users, seeds, background) for n in fusion.names}
        return blend(fusion, fitted, users, background).score(users)
    scores = {name: _one(users, SCORERS[name], seeds, background, asked) for name in fusion.names}
    return fusion.score(scores, asked)
