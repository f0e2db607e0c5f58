"""Models of many audiences applied at once: linear ones by one matrix product for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kinsight.expand.measures import FloatArray
from kinsight.expand.scorers.bag_model import BagModel
from kinsight.expand.scorers.base import CrossFit, Model, by_part
from kinsight.expand.scorers.blend import Blend, Ranks
from kinsight.expand.scorers.linear_model import LinearModel, Source, products
from kinsight.expand.scorers.tree_model import TreeModel, tree_inputs
from kinsight.expand.scorers.tuned_model import TunedModel
from kinsight.expand.scorers.users import PARTS, Users


@dataclasses.dataclass(frozen=True)
class Stack:
    """Linear models of one kind and input side by side.

    Attributes:
        columns: Place of each model among all [models].
        coefficients: One column a model [inputs, models].
    """

    columns: npt.NDArray[np.int64]
    coefficients: FloatArray

    @classmethod
    def of(cls, models: Sequence[tuple[int, FloatArray]]) -> Stack:
        """Stack coefficients with their places."""
        columns = np.array([place for place, _ in models], dtype=np.int64)
        return cls(columns, np.column_stack([coefficients for _, coefficients in models]))


@dataclasses.dataclass(frozen=True)
class ManyModels:
    """One model an audience, those of blends apart.

    Attributes:
        starts: Where the models of each audience begin among all [audiences].
        weights: Weight of each model in its audience [models].
        ranks: Ranks of the models whose ranks are averaged, with their places.
        intercepts: What linear models add [models]; 0 for others.
        dense: By source, linear models over vectors or components.
        bags: By field, linear models over the tokens of it.
        trees: Trees, with their places; they share one table of inputs.
        others: Further models, with their places.
    """

    starts: npt.NDArray[np.int64]
    weights: FloatArray
    ranks: list[tuple[int, Ranks]]
    intercepts: FloatArray
    dense: dict[Source, Stack]
    bags: dict[str, Stack]
    trees: list[tuple[int, TreeModel]]
    others: list[tuple[int, Model]]

    @classmethod
    def of(cls, models: Sequence[Model]) -> ManyModels:
        """Side by side what can be; one model an audience."""
        blends = [m if isinstance(m, Blend) else Blend((m,), (1.0,)) for m in models]
        apart = [blend.models for blend in blends]
        starts = np.cumsum([0, *map(len, apart)])[:-1]
        weights = [w / sum(blend.weights) for blend in blends for w in blend.weights]
        ranks = [
            (int(start) + number, own)
            for start, blend in zip(starts, blends, strict=True)
            for number, own in enumerate(blend.ranks or ())
        ]
        dense: dict[Source, list[tuple[int, FloatArray]]] = {}
        bags: dict[str, list[tuple[int, FloatArray]]] = {}
        trees: list[tuple[int, TreeModel]] = []
        others: list[tuple[int, Model]] = []
        intercepts = np.zeros(sum(map(len, apart)))
        for place, model in enumerate(model for group in apart for model in group):
            if isinstance(model, LinearModel):
                dense.setdefault(model.source, []).append((place, model.coefficients))
                intercepts[place] = model.intercept
            elif isinstance(model, BagModel):
                for field, coefficients in model.coefficients.items():
                    bags.setdefault(field, []).append((place, coefficients))
                intercepts[place] = model.intercept
            elif isinstance(model, TreeModel):
                trees.append((place, model))
            else:
                others.append((place, model))
        return cls(
            starts,
            np.array(weights, dtype=np.float64),
            ranks,
            intercepts,
            {source: Stack.of(stacked) for source, stacked in dense.items()},
            {field: Stack.of(stacked) for field, stacked in bags.items()},
            trees,
            others,
        )

    @property
    def reads_features(self) -> bool:
        """Whether a model needs the readable features."""
        return bool(self.trees)

    @property
    def reads_components(self) -> bool:
        """Whether a model needs the components of the bags."""
        return bool(self.trees) or "components" in self.dense

    @property
    def reads_histories(self) -> bool:
        """Whether a model needs the histories."""
        return any(isinstance(model, TunedModel) for _, model in self.others)

    def score(self, users: Users) -> FloatArray:
        """Scores of every audience [n, audiences]: those of its model, but for the last bits."""
        scores = np.tile(self.intercepts, (len(users), 1))
        for field, stack in self.bags.items():
            scores[:, stack.columns] += users.bags[field] @ stack.coefficients
        for source, stack in self.dense.items():
            found, known = products(users, source, stack.coefficients)
            scores[:, stack.columns] += found
            scores[np.ix_(~known, stack.columns)] = 0.0
        if self.trees:
            inputs = tree_inputs(users)
            for place, trees in self.trees:
                scores[:, place] = trees.score_inputs(inputs)
        for place, model in self.others:
            scores[:, place] = model.score(users)
        for place, ranks in self.ranks:
            scores[:, place] = ranks.of(scores[:, place])
        if len(self.starts) == len(self.weights):
            return scores
        return np.asarray(np.add.reduceat(scores * self.weights, self.starts, axis=1))


def stack_parts(fitted: Sequence[CrossFit]) -> tuple[ManyModels, ...]:
    """The models of many audiences, part by part of the users."""
    return tuple(ManyModels.of([fit.models[part] for fit in fitted]) for part in range(PARTS))


def score_many(stacked: Sequence[ManyModels], users: Users) -> FloatArray:
    """Scores of users for many audiences, each user by the models of his part.

    Args:
        stacked: What :func:`stack_parts` made of the audiences.
        users: The users [n].

    Returns:
        Array [n, audiences].
    """
    scores = np.zeros((len(users), len(stacked[0].starts)))
    for part, (models, own) in enumerate(zip(stacked, by_part(users), strict=True)):
        if len(own):
            scores[users.part == part] = models.score(own)
    return scores
