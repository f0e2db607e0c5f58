"""The transformer of `benchmarks.embed` in ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor, nn

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import gap_bucket
from kinsight.encoders.histories import COLUMNS, Histories, IntArray, cut_by_tokens
from kinsight.encoders.transformer import Transformer, visible_events

OPSET = 17
USERS, EVENTS = "users", "events"


class Dense(nn.Module):
    """The encoder from row numbers of its tables on; ONNX knows no running maximum.

    Args:
        encoder: Over items, categories and gaps; pooled by the mean.
    """

    def __init__(self, encoder: Transformer) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, item: Tensor, category: Tensor, gap: Tensor, visible: Tensor, present: Tensor
    ) -> Tensor:
        """Mean of the event vectors [B, d] of row numbers [B, L] and of who reads whom."""
        encoder, index = self.encoder, {"item": item, "category": category, "gap": gap}
        vectors = [encoder.input.table(field)(rows) for field, rows in index.items()]
        events = encoder.input_norm(torch.stack(vectors).sum(0))
        for block in encoder.blocks:
            events = block(events, visible)
        weight = present[..., None].float()
        mean: Tensor = (encoder.output_norm(events) * weight).sum(1) / weight.sum(1)
        return mean


def dense_inputs(encoder: Transformer, batch: Batch) -> dict[str, Tensor]:
    """What :class:`Dense` takes, by name."""
    return {
        "item": batch.item,
        "category": batch.category,
        "gap": gap_bucket(batch) * batch.present,
        "visible": visible_events(batch, encoder.causal),
        "present": batch.present,
    }


def in_onnx_runtime(
    encoder: Encoder, tokens: int, *, int8: bool
) -> Callable[[Histories, IntArray], Tensor]:
    """``encode_histories`` of the encoder with one thread of ONNX Runtime.

    Args:
        encoder: A transformer.
        tokens: Events a batch, padding included.
        int8: Whether matrices and tables are held, and products computed, in eight bits.
    """
    assert isinstance(encoder, Transformer)
    assert set(encoder.input.tables) == {"item", "category", "gap"}
    assert encoder.pool.kind == "mean"
    session = _session(encoder, int8)

    def encode(histories: Histories, order: IntArray) -> Tensor:
        histories = histories.latest(encoder.latest_events)
        vectors = torch.empty(len(histories), 1, encoder.dimension)
        for part in cut_by_tokens(histories.length[order], tokens):
            batch = Batch.of(histories.take(order[part]))
            inputs = {n: t.numpy() for n, t in dense_inputs(encoder, batch).items()}
            vectors[torch.from_numpy(order[part]), 0] = torch.from_numpy(
                session.run(None, inputs)[0]
            )
        return vectors

    return encode


def _session(encoder: Transformer, int8: bool) -> ort.InferenceSession:
    """The encoder traced, and read by ONNX Runtime with all of its own rewriting."""
    length = np.array([2, 5, 7])
    flat = {name: np.ones(length.sum(), dtype=np.int64) for name in COLUMNS}
    flat["seconds"] = np.arange(length.sum())
    inputs = dense_inputs(encoder, Batch.of(Histories(flat, length)))
    axes = {name: dict(enumerate((USERS, EVENTS, EVENTS)[: t.ndim])) for name, t in inputs.items()}
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as folder:
        path = Path(folder) / "encoder.onnx"
        torch.onnx.export(
            Dense(encoder).eval(),
            tuple(inputs.values()),
            str(path),
            input_names=[*inputs],
            output_names=["vector"],
            dynamic_axes=axes | {"vector": {0: USERS}},
            opset_version=OPSET,
            dynamo=False,
        )
        if int8:
            quantize_dynamic(path, path.with_name("int8.onnx"))
            path = path.with_name("int8.onnx")
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
