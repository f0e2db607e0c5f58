"""From Arrow batches of sequences to Arrow batches of user vectors. No Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from kinsight.encoders.artifact import Artifact
from kinsight.encoders.base import Encoder
from kinsight.encoders.encoding import encode_histories
from kinsight.encoders.histories import COLUMNS, Histories, IntArray

INPUT_COLUMNS = ("user_id", *COLUMNS)

OUTPUT_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("interest", pa.int32()),
        pa.field("weight", pa.float32()),
        pa.field("events_used", pa.int32()),
        pa.field("norm", pa.float32()),
        pa.field("vector", pa.list_(pa.float32())),
    ]
)
"""What ``encode_batches`` gives: the columns of table `embeddings` that are not fixed for a run."""

_encoders: dict[str, Encoder] = {}
"""The encoder of this Python process by checksum: weights are built once, not once a task."""


def encode_batches(
    batches: Iterable[pa.RecordBatch], artifact: Artifact, tokens: int, bfloat16: bool = False
) -> Iterator[pa.RecordBatch]:
    """Encode sequences; one batch out for each batch in, its users in the same order.

    Threads: Spark sets OMP_NUM_THREADS to ``spark.task.cpus`` in its workers, and torch obeys.

    Args:
        batches: Columns INPUT_COLUMNS of table `sequences`.
        artifact: The model, checked.
        tokens: Events a torch batch, padding included.
        bfloat16: Whether products of matrices are computed in bfloat16.

    Returns:
        Batches of OUTPUT_SCHEMA.

    Raises:
        ArithmeticError: If a vector is not finite.
    """
    encoder = built_encoder(artifact)
    for batch in batches:
        histories = Histories.of_arrow(batch).latest(encoder.latest_events)
        read = encode_histories(encoder, histories, by_length(batch), tokens, bfloat16)
        yield to_arrow(batch.column("user_id"), histories.length, *read)


def built_encoder(artifact: Artifact) -> Encoder:
    """The encoder of a model, built by the first call of this process; one model is kept."""
    encoder = _encoders.get(artifact.sha256)
    if encoder is None:
        _encoders.clear()
        encoder = _encoders[artifact.sha256] = artifact.build()
    return encoder


def by_length(batch: pa.RecordBatch) -> IntArray:
    """Row numbers of an Arrow batch by length, then user id."""
    return sorted_rows(pc.list_value_length(batch.column("item")), batch.column("user_id"))


def sorted_rows(length: pa.Array, user_id: pa.Array) -> IntArray:
    """Row numbers by length, then user id.

    Which users share a torch batch decides the last bits of their vectors; so it must hang on the
    users alone and not on the order in which they came.
    """
    table = pa.table({"length": length, "user_id": user_id})
    keys = [("length", "ascending"), ("user_id", "ascending")]
    order = pc.sort_indices(table, sort_keys=keys).to_numpy()
    rows: IntArray = order.astype(np.int64)
    return rows


def to_arrow(
    user_id: pa.Array, length: IntArray, vectors: torch.Tensor, weights: torch.Tensor
) -> pa.RecordBatch:
    """User vectors as a batch of OUTPUT_SCHEMA, K rows a user.

    Args:
        user_id: N ids.
        length: Events of each user, [N].
        vectors: [N, K, d].
        weights: Share of each vector among those of its user, [N, K].
    """
    users, interests, width = vectors.shape
    row = np.repeat(np.arange(users), interests)
    offsets = np.arange(users * interests + 1, dtype=np.int32) * width
    columns = [
        user_id.take(pa.array(row)),
        np.tile(np.arange(interests, dtype=np.int32), users),
        weights.reshape(-1).numpy(),
        length[row].astype(np.int32),
        torch.linalg.vector_norm(vectors, dim=2).reshape(-1).numpy(),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.reshape(-1).numpy())),
    ]
    return pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=OUTPUT_SCHEMA)
