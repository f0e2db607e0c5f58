"""Gradient-boosted trees on readable features, a basis of the bags, and vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.scorers.base import first_by_hash, location_and_scale
from kinsight.expand.scorers.tree_model import TreeModel, Trees, tree_inputs
from kinsight.expand.scorers.users import Users

LEAST_ROUNDS, MOST_ROUNDS = 40, 160
SEEDS_OF_LEAST = 100
DEPTH = 3
BINS = 16  # of an input: the time goes up with them, and on small samples nothing else does
MOST_ROWS = 20_000
"""Seeds, and users of the background, that trees learn from, the first by id hash."""


class Boosted:
    """Shallow trees with a strong ridge; their number grows with the root of that of the seeds.

    Complete Journey, four audiences of some 100 seeds, mean AUC with leaves of 30 users and ridge
    10: .680 with 40 trees, .676 with 80; with leaves of 10 and ridge 1: .664 and .665. Readable
    features alone: .60. Weaker than linear models alone, trees add to them: the mean of five
    scorers has .689, without trees .683. More trees for more seeds is a guess, not measured.

    Source: Friedman, "Greedy function approximation" (2001), section 4.5, as histograms (LightGBM,
    Ke et al. 2017) by scikit-learn; a fifth of the inputs is drawn anew for each split.
    """

    name = "boosted"

    def tune(self, users: Users, seeds: BoolArray, background: BoolArray) -> int:
        """The number of trees, by how many users of the rarer kind there are to learn from."""
        rarer = min(
            int(first_by_hash(users, kind, MOST_ROWS).sum()) for kind in (seeds, background)
        )
        rounds = LEAST_ROUNDS * np.sqrt(rarer / SEEDS_OF_LEAST)
        return int(np.clip(rounds, LEAST_ROUNDS, MOST_ROUNDS))

    def fit(
        self,
        users: Users,
        seeds: BoolArray,
        background: BoolArray,
        calibration: BoolArray,
        settings: int,
    ) -> TreeModel:
        """Fit, take the trees out as arrays, standardise on the calibration users."""
        inputs = tree_inputs(users)
        training = first_by_hash(users, seeds, MOST_ROWS)
        training |= first_by_hash(users, background, MOST_ROWS)
        cuts = cuts_of(inputs[training])
        fitted = _fit(bins_of(inputs[training], cuts), seeds[training], settings)
        model = TreeModel(trees_of(fitted, cuts))
        location, scale = location_and_scale(model.score_inputs(inputs[calibration]))
        return dataclasses.replace(model, location=location, scale=scale)

    def seconds(self, users: Users) -> float:
        """Estimated seconds of a cross-fit: 0.3 s, and 0.3 ms a user up to the most."""
        return 0.3 + 3e-4 * min(len(users), 2 * MOST_ROWS)


def cuts_of(inputs: FloatArray) -> list[FloatArray]:
    """Where each input is cut into bins of equally many users, or between its few values.

    scikit-learn would cut by itself, but takes nine tenths of the time of a fit for it where
    users have weights.

    Args:
        inputs: What trees look at [n, inputs]; NaN where unknown.

    Returns:
        For each input, rising values, fewer than BINS.
    """
    cuts = []
    for column in inputs.T:
        known = column[~np.isnan(column)]
        values = np.unique(known)
        if len(values) > BINS:
            cuts.append(np.unique(np.quantile(known, np.arange(1, BINS) / BINS)))
        else:
            cuts.append((values[1:] + values[:-1]) / 2.0)
    return cuts


def bins_of(inputs: FloatArray, cuts: Sequence[FloatArray]) -> FloatArray:
    """How many cuts lie below each value [n, inputs]; NaN where it is unknown."""
    columns = [
        np.where(np.isnan(column), np.nan, np.searchsorted(own, column))
        for column, own in zip(inputs.T, cuts, strict=True)
    ]
    return np.column_stack(columns)


def _fit(inputs: FloatArray, seeds: BoolArray, rounds: int) -> HistGradientBoostingClassifier:
    """Trees on bins for seeds against background, each weighing half of all."""
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=rounds,
        max_depth=DEPTH,
        max_leaf_nodes=2**DEPTH,
        max_bins=BINS,
        min_samples_leaf=30,
        l2_regularization=10.0,
        max_features=0.2,
        class_weight="balanced",
        early_stopping=False,
        random_state=0,
    )
    # scikit-learn fails on an input that nobody has; a constant one is never split.
    return model.fit(np.where(np.isnan(inputs).all(axis=0), 0.0, inputs), seeds)


def trees_of(model: HistGradientBoostingClassifier, cuts: Sequence[FloatArray]) -> Trees:
    """The trees of a model of bins, to be asked for values.

    scikit-learn has no public way to them; a test holds their sums against its decision function,
    from which they differ by a constant.

    Args:
        model: Fitted on :func:`bins_of` values.
        cuts: Where the values were cut.
    """
    nodes = [predictors[0].nodes for predictors in model._predictors]
    room = max(len(tree) for tree in nodes)
    shape = (len(nodes), room)
    inputs, left, right = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    thresholds, values = np.zeros(shape), np.zeros(shape)
    unknown_left = np.zeros(shape, dtype=bool)
    for number, tree in enumerate(nodes):
        own = slice(0, len(tree))
        is_leaf = tree["is_leaf"].astype(bool)
        place = np.arange(len(tree))
        inputs[number, own] = tree["feature_idx"]
        thresholds[number, own] = [
            _value_at(cuts[column], bin_) if not leaf else 0.0
            for column, bin_, leaf in zip(
                tree["feature_idx"], tree["num_threshold"], is_leaf, strict=True
            )
        ]
        unknown_left[number, own] = tree["missing_go_to_left"]
        left[number, own] = np.where(is_leaf, place, tree["left"])
        right[number, own] = np.where(is_leaf, place, tree["right"])
        values[number, own] = np.where(is_leaf, tree["value"], 0.0)
    depth = max(int(tree["depth"].max()) for tree in nodes)
    return Trees(inputs, thresholds, unknown_left, left, right, values, depth)


def _value_at(cuts: FloatArray, threshold: float) -> float:
    """The greatest value in bins of at most a threshold; infinite where only unknown is apart."""
    return float(cuts[int(threshold)]) if threshold < len(cuts) else np.inf
