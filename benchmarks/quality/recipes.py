"""Encoders and objectives that are judged, by their registered names, and their training.

A recipe is one encoder with its objectives. All that is registered takes part: every encoder that
learns with ``next_item``, and one encoder with every other objective; so a new encoder or objective
stands in the long tables without a line here; ``BESIDE_DEFAULT`` names those that the first one
goes with. ``OPTIONS`` is the one table of settings that differ from the product's defaults,
``OF_DATA`` has those of one data set, and ``SHORT`` says which recipes the short form has.

Nothing is chosen on what a test column measures: early stopping looks at ``train.holdout_share`` of
the users, by the hash of their id, and at their histories before the cut.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.quality.history import Past
from benchmarks.quality.shops import BEAUTY
from benchmarks.shapes import write_parts
from kinsight.config import TrainConfig
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.encoding import encode_histories
from kinsight.encoders.histories import COLUMNS, Histories
from kinsight.encoders.registry import ENCODERS
from kinsight.errors import KinsightError
from kinsight.objectives.base import TrainingSet
from kinsight.objectives.registry import OBJECTIVES, check_choices
from kinsight.progress import Progress
from kinsight.train.earlier import EarlierModel
from kinsight.train.loader import SequenceLoader
from kinsight.train.loop import Fit, WeightedObjectives
from kinsight.train.training import Vocabulary, learn_here, train_encoder

FLOORS = ("random", "content_mean")
DEFAULT = TrainConfig().encoder.name
"""The encoder whose vectors the product's scorers read by default; one that is not trained."""
TRAINED_ENCODER = "transformer"
"""The encoder that objectives are compared on."""
DEFAULT_OBJECTIVE = TrainConfig().objective[0].name

BESIDE_DEFAULT = ("neighbour_contrastive",)
"""Objectives that are meant beside the default one."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {"neighbour_contrastive": {"weight": 0.1}}
"""Options of an encoder or objective that differ from its defaults, by registered name."""

FIELDS = ("item", "category")
"""What encoders read of an event, trained or not. Few users: fewer fields are safer, see
docs/models.md."""

OF_CIRCUMSTANCE = ("property_gated_lstm", "scenario", "time_attention_bilstm")
"""Encoders that are about when and how things happen: they read all fields."""

_ONCE = {"repeats": False}
"""Of objectives with a pull to items met before, where nobody takes an item twice."""
_BEAUTY = {"fields": ["item"], "relative_positions": 50, "pooling": "last", "dropout": 0.5}

TRAINING: Mapping[str, Any] = {"learning_rate": 0.005, "minimum_users": 20}
"""Settings of training that differ from the defaults: data of hundreds to thousands of users."""

OF_DATA: Mapping[str, Mapping[str, Any]] = {
    # Items in order, the latest state predicts, as in the published models. What stands here was
    # chosen by the validation part of ``next_item``, with the transformer, and serves all.
    BEAUTY: {
        "batch_tokens": 512,
        "learning_rate": 1e-3,
        "holdout_share": 0.05,
        "patience": 10,
        "options": {
            "transformer": _BEAUTY,
            "random": _BEAUTY,
            "next_item": _ONCE,
            "history_effect": _ONCE,
        },
    },
}
"""Settings of training of one data set, and under ``options`` those of encoders and objectives on
it by name: these instead of OPTIONS."""

SHORT = (*FLOORS, f"{TRAINED_ENCODER} + {DEFAULT_OBJECTIVE}")
"""Recipes of the short form."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One encoder with its objectives.

    Attributes:
        encoder: Registered name.
        objectives: Registered names; none for encoders that do not learn.
    """

    encoder: str
    objectives: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As tables show it."""
        return " + ".join((self.encoder, *self.objectives))

    @property
    def is_floor(self) -> bool:
        """Whether a trained encoder must beat it."""
        return self.encoder in FLOORS

    def config(self, seed: int, training: Mapping[str, Any], data: str = "") -> TrainConfig:
        """The configuration of stage `train`.

        Args:
            seed: Of the first weights and all draws.
            training: Settings that differ from TRAINING.
            data: Name of the data set.
        """
        own = dict(OF_DATA.get(data, {}))
        options = {**OPTIONS, **own.pop("options", {})}
        encoder = dict(options.get(self.encoder, {}))
        has_fields = "fields" in ENCODERS[self.encoder].options_type.model_fields
        if has_fields and self.encoder not in OF_CIRCUMSTANCE:
            encoder.setdefault("fields", list(FIELDS))
        return TrainConfig.model_validate(
            {
                "encoder": {"name": self.encoder, **encoder},
                "objective": [{"name": o, **options.get(o, {})} for o in self.objectives],
                "seed": seed,
                "threads": 1,
                **TRAINING,
                **own,
                **training,
            }
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """A recipe carried out.

    Attributes:
        recipe: The recipe.
        encoder: The encoder, trained or fitted where it learns.
        objectives: The objectives by name, trained beside it.
        measures: What training measured on held-out users.
        seconds: Wall time of training or fitting.
        model: The encoder as it is shipped.
    """

    recipe: Recipe
    encoder: Encoder
    objectives: Mapping[str, Any]
    measures: Mapping[str, float]
    seconds: float
    model: Artifact

    def vectors(self, histories: Histories) -> npt.NDArray[np.float32]:
        """The main vector of each user [n, d]."""
        order = np.argsort(histories.length, kind="stable").astype(np.int64)
        read, _ = encode_histories(self.encoder, histories, order, tokens=4_096)
        return np.ascontiguousarray(read[:, 0].numpy())


def batch_of(encoder: Encoder, histories: Histories) -> Batch:
    """Histories as an encoder reads them."""
    return Batch.of(histories.latest(encoder.latest_events))


def recipes(is_long: bool, only: Sequence[str] = ()) -> list[Recipe]:
    """The recipes of a table: floors first, then by name.

    Args:
        is_long: All recipes instead of SHORT.
        only: Names of those wanted, floors aside; all by default.
    """
    trained = sorted(name for name, kind in ENCODERS.items() if kind.learns)
    found = [Recipe(name) for name in FLOORS if name in ENCODERS]
    found += [
        Recipe(name)
        for name, kind in sorted(ENCODERS.items())
        if not kind.learns and name not in FLOORS
    ]
    found += [Recipe(name, (DEFAULT_OBJECTIVE,)) for name in trained]
    for name in sorted(set(OBJECTIVES) - {DEFAULT_OBJECTIVE}):
        beside = (DEFAULT_OBJECTIVE,) if name in BESIDE_DEFAULT else ()
        found.append(Recipe(TRAINED_ENCODER, (*beside, name)))
    if only:
        return [r for r in found if r.is_floor or r.name in only]
    return [r for r in found if is_long or r.name in SHORT]


def make(
    recipe: Recipe,
    ids: npt.NDArray[np.object_],
    histories: Histories,
    vocabulary: Vocabulary,
    seed: int,
    training: Mapping[str, Any],
    data: str = "",
    earlier: EarlierModel | None = None,
) -> Made:
    """Train or fit an encoder with the product's own loader, loop and objectives.

    Args:
        recipe: What to make.
        ids: Ids of the users [n].
        histories: All that training may see of them [n].
        vocabulary: What they are written in.
        seed: Of the first weights and all draws.
        training: Settings of stage `train` that differ from TRAINING.
        data: Name of the data set.
        earlier: The model of an earlier date, where there is one.

    Raises:
        RefusedError: If there is nothing to learn for an objective.
    """
    config = recipe.config(seed, training, data)
    if recipe.objectives:
        check_choices(config)
    objectives: dict[str, Any] = {}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kinsight-quality-") as folder:
        paths = write_parts(_table(ids, histories), Path(folder) / "sequences", 1)
        loader = SequenceLoader.of([path.as_uri() for path in paths], config)
        survey = loader.survey()
        progress = Progress(quiet=True)
        here = learn_here(config, loader, survey, progress)

        def learn(encoder: Encoder, made: WeightedObjectives, data: TrainingSet) -> Fit:
            objectives.update(zip(recipe.objectives, (one for _, one in made), strict=True))
            return here(encoder, made, data)

        trained = train_encoder(config, vocabulary, loader, survey, progress, learn, earlier)
    seconds = time.perf_counter() - begun
    encoder = trained.encoder.eval()
    options = dict(config.encoder.options)
    model = Artifact.of(encoder, recipe.encoder, options, "quality", vocabulary.sizes)
    return Made(recipe, encoder, objectives, trained.measures, seconds, model)


def try_to_make(make_one: Callable[[], Made], recipe: Recipe, refused: list[str]) -> Made | None:
    """What a recipe makes; None where the data cannot serve it, which is added to ``refused``."""
    try:
        return make_one()
    except KinsightError as error:
        told = f"{recipe.name}: {str(error).splitlines()[0]}"
        refused += [told] if told not in refused else []
        return None


def make_before(
    past: Past,
    recipe: Recipe,
    seed: int,
    training: Mapping[str, Any],
    data: str = "",
    earlier: EarlierModel | None = None,
) -> Made:
    """Train or fit an encoder on all that happened before an instant."""
    return make(recipe, past.ids, past.histories, past.vocabulary(), seed, training, data, earlier)


def _table(ids: npt.NDArray[np.object_], histories: Histories) -> pa.Table:
    """Rows of table sequences, as the loader reads them."""
    offsets = np.concatenate([histories.start, [histories.events]]).astype(np.int32)
    lists = {
        name: pa.ListArray.from_arrays(pa.array(offsets), pa.array(histories.columns[name]))
        for name in COLUMNS
    }
    return pa.table({"user_id": pa.array(ids, pa.string()), "length": histories.length, **lists})
