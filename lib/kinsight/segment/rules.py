"""A rule for a segment: a short conjunction over readable features, as a SQL predicate."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeClassifier

from kinsight.segment.sample import SHARE_MAPS, Features

# On ten real segments three conditions meet members as well as four (held-out F1 .39 and .40).
DEPTH = 3
# Enough to place a threshold; a tree over 45 features takes under a second.
FITTING_USERS = 20_000
# A condition that adds less than this to the F1 score is not worth reading.
WORTH = 0.01


@dataclasses.dataclass(frozen=True)
class Condition:
    """One comparison: a feature lies above the threshold, or at most at it."""

    feature: str
    above: bool
    threshold: float

    def sql(self) -> str:
        """The comparison as SQL over user_features; a share absent from its map counts as 0."""
        number = np.format_float_positional(self.threshold, trim="-")
        if self.above:
            return f"{self.feature} > {number}"
        in_map = self.feature.startswith(SHARE_MAPS)
        return (
            f"coalesce({self.feature}, 0) <= {number}" if in_map else f"{self.feature} <= {number}"
        )

    def holds(self, features: Features) -> npt.NDArray[np.bool_]:
        """For which users it holds; for none of those where the feature is unknown, as in SQL."""
        values = features.column(self.feature)
        return values > self.threshold if self.above else values <= self.threshold


@dataclasses.dataclass(frozen=True)
class Rule:
    """A conjunction of conditions."""

    conditions: tuple[Condition, ...]

    def sql(self, minimum_events: int) -> str:
        """The predicate for a WHERE over user_features.

        It was fitted and measured on users with enough events, so it begins by leaving out others.

        Args:
            minimum_events: Users with fewer events are cold.
        """
        warm = f"events >= {minimum_events}"
        return " AND ".join([warm, *(condition.sql() for condition in self.conditions)])

    def holds(self, features: Features) -> npt.NDArray[np.bool_]:
        """For which users it holds [n]."""
        held = [condition.holds(features) for condition in self.conditions]
        return np.asarray(np.logical_and.reduce(held, axis=0))


@dataclasses.dataclass(frozen=True)
class Fit:
    """How well a rule meets a segment.

    Attributes:
        precision: Share of the users it selects who are members; None if it selects none.
        recall: Share of the members whom it selects; None if there are none.
    """

    precision: float | None
    recall: float | None


def measure(selected: npt.NDArray[np.bool_], member: npt.NDArray[np.bool_]) -> Fit:
    """Precision and recall of a selection of users [n] against members [n]."""
    both = float((selected & member).sum())
    return Fit(
        both / float(selected.sum()) if selected.any() else None,
        both / float(member.sum()) if member.any() else None,
    )


def find_rule(features: Features, member: npt.NDArray[np.bool_]) -> Rule | None:
    """The path of a shallow decision tree that meets the members best, by its F1 score.

    Thresholds are rounded to three digits and conditions that add little are dropped, so that
    the rule can be read; precision and recall belong to the rule as it reads.

    Args:
        features: Readable numbers of fitting users.
        member: Whether each belongs to the segment [n].

    Returns:
        The rule; None where no feature tells members from others.
    """
    features, member = features.rows(np.arange(len(member)) < FITTING_USERS), member[:FITTING_USERS]
    if not member.any() or member.all():
        return None
    medians = np.zeros(len(features.names))
    known = ~np.isnan(features.values).all(axis=0)
    medians[known] = np.nanmedian(features.values[:, known], axis=0)
    filled = np.where(np.isnan(features.values), medians, features.values)
    tree = DecisionTreeClassifier(
        max_depth=DEPTH,
        min_samples_leaf=max(5, int(0.05 * member.sum())),
        class_weight="balanced",
        random_state=0,
    ).fit(filled, member)
    rules = _paths(tree, features.names)
    if not rules:
        return None
    best = max(rules, key=lambda rule: _f1(rule, features, member))
    return _shorten(best, features, member)


def _paths(tree: DecisionTreeClassifier, names: tuple[str, ...]) -> list[Rule]:
    """The conjunctions that lead to each node but the root."""
    nodes = tree.tree_
    rules: list[Rule] = []

    def descend(node: int, path: tuple[Condition, ...]) -> None:
        if path:
            rules.append(_simplify(path))
        if nodes.children_left[node] < 0:
            return
        feature = names[int(nodes.feature[node])]
        threshold = float(f"{nodes.threshold[node]:.3g}")
        for child, above in ((nodes.children_left, False), (nodes.children_right, True)):
            descend(int(child[node]), (*path, Condition(feature, above, threshold)))

    descend(0, ())
    return rules


def _simplify(path: tuple[Condition, ...]) -> Rule:
    """Keep the tightest of conditions on one side of one feature."""
    tightest: dict[tuple[str, bool], Condition] = {}
    for condition in path:
        side = (condition.feature, condition.above)
        other = tightest.get(side)
        if other is None or (condition.threshold > other.threshold) == condition.above:
            tightest[side] = condition
    return Rule(tuple(tightest.values()))


def _shorten(rule: Rule, features: Features, member: npt.NDArray[np.bool_]) -> Rule:
    """Drop, one by one, the condition that is missed least, while the F1 score hardly falls."""
    least = _f1(rule, features, member) - WORTH
    while len(rule.conditions) > 1:
        shorter = [
            Rule(tuple(c for c in rule.conditions if c != dropped)) for dropped in rule.conditions
        ]
        best = max(shorter, key=lambda r: _f1(r, features, member))
        if _f1(best, features, member) < least:
            break
        rule = best
    return rule


def _f1(rule: Rule, features: Features, member: npt.NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall: 2 both / (selected + members)."""
    selected = rule.holds(features)
    return 2.0 * float((selected & member).sum()) / float(selected.sum() + member.sum())
