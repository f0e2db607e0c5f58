"""Objectives by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from kinsight.config import ObjectiveConfig, Settings, parse_settings
from kinsight.encoders.base import Encoder
from kinsight.errors import ConfigError
from kinsight.objectives.base import Objective, TrainingSet
from kinsight.objectives.next_item import NextItem

OBJECTIVES: Mapping[str, type[Objective]] = {"next_item": NextItem}


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
