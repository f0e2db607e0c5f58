"""Objectives by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from kinsight.config import ObjectiveConfig, Settings, TrainConfig, parse_settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.registry import ENCODERS, encoder_options, encoder_type
from kinsight.errors import ConfigError
from kinsight.objectives.autoencode_frozen_basis import AutoencodeFrozenBasis
from kinsight.objectives.base import FittedObjective, Objective, TrainingSet
from kinsight.objectives.contrastive_views import ContrastiveViews
from kinsight.objectives.event_time import EventTime
from kinsight.objectives.history_effect import HistoryEffect
from kinsight.objectives.masked_history import MaskedHistory
from kinsight.objectives.masked_item import MaskedItem
from kinsight.objectives.multi_task import MultiTask
from kinsight.objectives.neighbour_contrastive import NeighbourContrastive
from kinsight.objectives.next_item import NextItem
from kinsight.objectives.type_then_item import TypeThenItem

OBJECTIVES: Mapping[str, type[Objective]] = {
    "autoencode_frozen_basis": AutoencodeFrozenBasis,
    "contrastive_views": ContrastiveViews,
    "event_time": EventTime,
    "history_effect": HistoryEffect,
    "masked_history": MaskedHistory,
    "masked_item": MaskedItem,
    "multi_task": MultiTask,
    "neighbour_contrastive": NeighbourContrastive,
    "next_item": NextItem,
    "type_then_item": TypeThenItem,
}


def objective_type(name: str) -> type[Objective]:
    """The class of a registered objective.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in OBJECTIVES:
        near = difflib.get_close_matches(name, OBJECTIVES, 1)
        raise ConfigError(
            f"There is no objective {name!r}.",
            expected=f"one of: {', '.join(sorted(OBJECTIVES))}",
            found=name,
            to_do=f"did you mean `{near[0]}`?" if near else "correct `train.objective`",
        )
    return OBJECTIVES[name]


def objective_options(config: ObjectiveConfig) -> Settings:
    """The options of an objective, checked and completed with its defaults.

    Raises:
        ConfigError: If the name or an option is wrong.
    """
    known = objective_type(config.name).options_type
    return parse_settings(known, config.options, Path("train.objective"))


def check_choices(config: TrainConfig) -> Settings:
    """Check an encoder and its objectives before any work.

    Returns:
        The encoder's options with its defaults.

    Raises:
        ConfigError: If a name or an option is wrong, or they do not go together.
    """
    encoder = config.encoder.name
    options = encoder_options(encoder, config.encoder.options)
    for objective in config.objective:
        objective_options(objective)
    names = [objective.name for objective in config.objective]
    if len(set(names)) < len(names):
        raise ConfigError(
            "An objective is named twice.",
            expected="each objective once in train.objective, with its weight",
            found=", ".join(names),
            to_do="leave one of them out",
        )
    if encoder_type(encoder).learns and not names:
        raise ConfigError(
            "Nothing says what the encoder is trained for.",
            expected="at least one entry in train.objective",
            found="an empty list",
            to_do="add `objective: [{name: next_item}]`, or use `encoder: {name: random}`",
        )
    # The default objective is no wish of the reader's; it is passed over in silence.
    if not encoder_type(encoder).learns and names and "objective" in config.model_fields_set:
        raise ConfigError(
            f"Encoder {encoder} is not trained, so an objective is of no use to it.",
            expected=f"train.objective left out beside `encoder: {{name: {encoder}}}`",
            found=", ".join(names),
            to_do="take train.objective away, or choose one of: "
            + ", ".join(sorted(n for n, kind in ENCODERS.items() if kind.learns)),
        )
    return options


def build_objectives(
    configs: Sequence[ObjectiveConfig], encoder: Encoder, data: TrainingSet
) -> list[tuple[float, Objective]]:
    """Make the objectives of a configuration with their weights.

    Raises:
        ConfigError: If a name or an option is wrong.
        RefusedError: If the data cannot serve one of them.
    """
    made = []
    for config in configs:
        kind = objective_type(config.name)
        kind.require(data)
        made.append((config.weight, kind(encoder, data, objective_options(config))))
    return made


def fitted_objectives(objectives: Sequence[tuple[float, Objective]]) -> list[FittedObjective]:
    """Those of weighted objectives that hold something frozen, in their order."""
    return [objective for _, objective in objectives if isinstance(objective, FittedObjective)]
