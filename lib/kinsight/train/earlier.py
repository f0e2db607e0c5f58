"""What a new model takes from the one before it, and how far it moved. No Spark.

- A warm start: the encoder begins with the weights of the earlier one. Rows of vocabulary tables
  pass from token to token, whatever their indices are now; tokens that are new begin as they do
  without it.
- Item vectors that stay readable: a basis of singular vectors (``encoders.basis``) is turned back
  onto the earlier one; see there.
- Drift: how many of a user's nearest users are still his nearest. It asks for no common space, so
  any two models can be compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kinsight.config import TrainConfig
from kinsight.encoders.base import Encoder, FittedEncoder
from kinsight.encoders.event_input import UNKNOWN, EventInput
from kinsight.encoders.histories import TOKEN_FIELDS, Histories, IntArray
from kinsight.encoders.registry import encoder_options
from kinsight.objectives.vectors import history_vectors

NEAREST = 10
COMPARED_USERS = 2_000
"""Held-out users whose neighbours are compared at most."""


@dataclasses.dataclass(frozen=True)
class EarlierModel:
    """A model of an earlier date, readable in today's vocabulary.

    Attributes:
        version: Its name.
        name: Registered name of its encoder.
        options: All options of it.
        encoder: The encoder, in evaluation mode.
        item_basis: The space that its objective placed users in, [items then, d], if one did.
        sizes: Rows of its vocabulary tables.
        rows: By field, the index that each of today's indices had then [size]; unknown where it
            had none.
        held_out_by: Seed and share that chose whom it did not learn from; None if not known.
    """

    version: str
    name: str
    options: Mapping[str, Any]
    encoder: Encoder
    item_basis: Tensor | None
    sizes: Mapping[str, int]
    rows: Mapping[str, IntArray]
    held_out_by: tuple[int, float] | None = None

    def is_like(self, config: TrainConfig) -> bool:
        """Whether a training makes the same encoder with the same options."""
        if self.name != config.encoder.name:
            return False
        # Those of a model that was made before an option existed are read with its default.
        had = encoder_options(self.name, self.options)
        return had == encoder_options(self.name, config.encoder.options)

    def has_seen_held_out(self, config: TrainConfig) -> bool:
        """Whether it learned from users whom a training holds out: they are no test of it."""
        if self.held_out_by is None:
            return False
        seed, share = self.held_out_by
        return seed != config.seed or share < config.holdout_share

    def translate(self, histories: Histories) -> Histories:
        """Histories of today's vocabulary in that of the model."""
        columns = {
            name: self.rows[name][values] if name in self.rows else values
            for name, values in histories.columns.items()
        }
        return Histories(columns, histories.length)

    def frozen_tokens(self) -> npt.NDArray[np.float32] | None:
        """Its frozen vector of each of today's tokens [tokens, F], zero for those unknown then.

        None where its encoder has none.
        """
        if not isinstance(self.encoder, FittedEncoder):
            return None
        return self._of_today(self.encoder.frozen_tokens(), self.encoder.frozen_fields)

    def basis_of_items(self) -> npt.NDArray[np.float32] | None:
        """The same of the space that its objective placed users in."""
        return None if self.item_basis is None else self._of_today(self.item_basis, ("item",))

    def _of_today(self, table: Tensor, fields: Sequence[str]) -> npt.NDArray[np.float32]:
        """Rows of a table of the tokens of some fields, one field after another, as of today."""
        then, begin, found = table.detach().numpy(), 0, []
        for field in fields:
            rows = self.rows[field]
            found.append(np.where((rows > UNKNOWN)[:, None], then[begin + rows], np.float32(0)))
            begin += self.sizes[field]
        vectors: npt.NDArray[np.float32] = np.concatenate(found)
        return vectors

    def start(self, encoder: Encoder) -> None:
        """Begin an encoder of equal name and options with the weights of this one.

        Frozen item vectors stay as they were fitted.
        """
        earlier, own = self.encoder.state_dict(), encoder.state_dict()
        fields = vocabulary_tables(encoder)
        frozen = encoder.frozen_tokens() if isinstance(encoder, FittedEncoder) else None
        for name, value in own.items():
            if frozen is not None and value.data_ptr() == frozen.data_ptr():
                continue
            if name in fields:
                rows = torch.from_numpy(self.rows[fields[name]])
                # Padding and unknown pass over as they are.
                known = (rows > UNKNOWN) | (torch.arange(len(rows)) <= UNKNOWN)
                value[known] = earlier[name][rows[known]]
            else:
                value.copy_(earlier[name])
        encoder.load_state_dict(own)


def vocabulary_tables(encoder: Encoder) -> dict[str, str]:
    """Name of the weights of each table whose rows are tokens, and the field of the tokens."""
    return {
        f"{prefix}.tables.{field}.weight".lstrip("."): field
        for prefix, module in encoder.named_modules()
        if isinstance(module, EventInput)
        for field in TOKEN_FIELDS
        if field in module.tables
    }


def drift(
    encoder: Encoder, earlier: EarlierModel, held_out: Histories, tokens: int
) -> dict[str, float]:
    """How many of the ten nearest held-out users of a user were so by the earlier model.

    Args:
        encoder: Today's.
        earlier: The model before it.
        held_out: Histories that today's was not trained on; the first COMPARED_USERS count.
        tokens: Events a batch, padding included.

    Returns:
        ``drift_neighbours_kept`` beside its chance, and ``drift_users``; nothing for too few users.
    """
    users = min(len(held_out), COMPARED_USERS)
    if users <= NEAREST + 1:
        return {}
    some = held_out.take(np.arange(users))
    with torch.inference_mode():
        now = nearest_users(history_vectors(encoder, some, tokens))
        then = nearest_users(history_vectors(earlier.encoder, earlier.translate(some), tokens))
    kept = (now[:, :, None] == then[:, None, :]).any(2).mean()
    return {
        "drift_neighbours_kept": float(kept),
        "drift_chance": NEAREST / (users - 1),
        "drift_users": float(users),
    }


def nearest_users(vectors: Tensor) -> IntArray:
    """The ten nearest others of each user by cosine, after the mean of all is taken off [N, 10]."""
    centred = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1).numpy()
    index = faiss.IndexFlatIP(centred.shape[1])
    index.add(centred)
    found: IntArray = index.search(centred, NEAREST + 1)[1]
    own = np.arange(len(found))[:, None]
    # Oneself is found first, but among equal vectors anywhere or not at all.
    order = np.argsort(found == own, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :NEAREST]
