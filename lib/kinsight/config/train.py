"""Stages `train` and `embed`: the encoder, what it is trained for, and its use."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kinsight.config.base import Settings, Share


class ComponentConfig(BaseModel):
    """An encoder or objective by its registered name, with its own options as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `name` (and beside `weight`, for objectives)."""
        return dict(self.model_extra or {})


class ObjectiveConfig(ComponentConfig):
    """One objective and its weight in the sum."""

    weight: float = Field(1.0, gt=0)


class TrainConfig(Settings):
    """Stage `train`: sequences to one encoder."""

    encoder: ComponentConfig = Field(
        ComponentConfig(name="content_mean"),
        description="`{name: NAME}` with the options of that encoder as further keys, such as "
        "`{name: gru, hidden: 128}`; `content_mean` by default.",
    )
    objective: list[ObjectiveConfig] = Field(
        default_factory=lambda: [ObjectiveConfig(name="next_item")],
        description="List of `{name: NAME, weight: 1.0}` with the options of each as further keys; "
        "`next_item` by default. Encoders that are not trained have none.",
    )
    epochs: int = Field(20, ge=0, description="At most; early stopping ends sooner.")
    stop_by: Literal["ranking", "loss"] = Field(
        "ranking",
        description="What the best epoch is best at, on held-out users. `ranking`: the mean "
        "reciprocal rank of the items of their latest times, as the weightiest objective that "
        "predicts items ranks them; where there is none, the loss. `loss`: the weighted loss, "
        "which turns earlier, when what is ranked well is overrated.",
    )
    patience: int = Field(3, ge=1, description="Epochs without a better one before training ends.")
    batch_tokens: int = Field(8_192, ge=64, description="Events a batch, padding included.")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    holdout_share: Share = Field(0.1, description="Users kept for early stopping, by id hash.")
    minimum_length: int = Field(3, ge=2, description="Shorter histories are not trained on.")
    sample_users: int = Field(
        200_000,
        ge=1,
        description="About so many users are trained on at most, chosen by a hash of their id.",
    )
    minimum_users: int = Field(50, ge=2, description="Fewer trainable users: refused.")
    warm_start: bool = Field(
        False,
        description="Begin with the weights of the newest model of an earlier date, if it has the "
        "same encoder with the same options and held out the same users (`seed`, "
        "`holdout_share`).",
    )
    seed: int = 7
    processes: int = Field(
        1, ge=1, description="More train together, each on its share of users; 1: in the driver."
    )
    threads: int | None = Field(
        None, ge=1, description="Torch threads a process; by default its share of the cores."
    )
    refresh_after_days: int = Field(
        90,
        ge=1,
        description="`kinsight run` trains anew, with a new vocabulary, when the model is so many "
        "days old, or when a setting of `train` differs from those it was trained with.",
    )


class EmbedConfig(Settings):
    """Stage `embed`: sequences and a model to one or more vectors a user, in the executors."""

    model_version: str | None = Field(
        None,
        description="By default the newest ready model whose as-of is not later. Another one must "
        "read the vocabulary of the date's sequences, which is that of the newest model.",
    )
    batch_tokens: int = Field(4_096, ge=64, description="Events a batch, padding included.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of matrix products. `bfloat16` is faster on processors that have it (AMX, "
        "AVX-512 BF16) and slower on others.",
    )
