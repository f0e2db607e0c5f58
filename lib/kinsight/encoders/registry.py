"""Encoders by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kinsight.config import Settings, parse_settings
from kinsight.encoders.base import Encoder, VocabularySizes
from kinsight.encoders.content_mean import ContentMean
from kinsight.encoders.decoupled_attention import DecoupledAttention
from kinsight.encoders.folded import Folded
from kinsight.encoders.gru import Gru
from kinsight.encoders.hash_bucket import HashBucket
from kinsight.encoders.long_term_prefix import LongTermPrefix
from kinsight.encoders.multi_interest import MultiInterest
from kinsight.encoders.property_gated_lstm import PropertyGatedLstm
from kinsight.encoders.scenario import Scenario
from kinsight.encoders.time_attention_bilstm import TimeAttentionBiLstm
from kinsight.encoders.transformer import RandomTransformer, Transformer
from kinsight.errors import ConfigError

ENCODERS: Mapping[str, type[Encoder]] = {
    "content_mean": ContentMean,
    "decoupled_attention": DecoupledAttention,
    "folded": Folded,
    "gru": Gru,
    "hash_bucket": HashBucket,
    "long_term_prefix": LongTermPrefix,
    "multi_interest": MultiInterest,
    "property_gated_lstm": PropertyGatedLstm,
    "random": RandomTransformer,
    "scenario": Scenario,
    "time_attention_bilstm": TimeAttentionBiLstm,
    "transformer": Transformer,
}


def encoder_type(name: str) -> type[Encoder]:
    """The class of a registered encoder.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in ENCODERS:
        near = difflib.get_close_matches(name, ENCODERS, 1)
        raise ConfigError(
            f"There is no encoder {name!r}.",
            expected=f"one of: {', '.join(sorted(ENCODERS))}",
            found=name,
            to_do=f"did you mean `{near[0]}`?" if near else "correct `train.encoder.name`",
        )
    return ENCODERS[name]


def encoder_options(name: str, options: Mapping[str, Any]) -> Settings:
    """The options of an encoder, checked and completed with its defaults.

    Raises:
        ConfigError: If the name or an option is wrong.
    """
    return parse_settings(encoder_type(name).options_type, options, Path("train.encoder"))


def build_encoder(
    name: str, options: Mapping[str, Any], sizes: VocabularySizes, seed: int
) -> Encoder:
    """Make a fresh encoder; equal arguments give equal weights.

    Args:
        name: Registered name.
        options: Its options; what is left out takes the default.
        sizes: Rows of the vocabulary tables.
        seed: Seed of the first weights.

    Raises:
        ConfigError: If the name or an option is wrong.
    """
    checked = encoder_options(name, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = encoder_type(name)(sizes, checked)
    encoder.latest_events = latest_events(checked)
    return encoder


def latest_events(options: Settings) -> int | None:
    """Events of a history that an encoder with such options is given at most; None: all."""
    found: int | None = getattr(options, "latest_events", None)
    return found
