"""The numeric core of stage `embed`, without Spark."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from kinsight.embed import inference
from kinsight.embed.inference import (
    OUTPUT_SCHEMA,
    encode_batches,
    to_arrow,
)
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.batch import Batch
from kinsight.encoders.encoding import NOT_FINITE, check_finite
from kinsight.encoders.histories import COLUMNS, Histories
from kinsight.encoders.registry import ENCODERS, build_encoder
from tests.histories import SIZES, random_histories


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=5)
    return Artifact.of(encoder, "transformer", {"width": 16}, "v1", SIZES)


def arrow(histories: Histories, names: list[str] | None = None) -> pa.RecordBatch:
    offsets = pa.array(np.concatenate(([0], np.cumsum(histories.length))).astype(np.int32))
    columns = [
        pa.ListArray.from_arrays(offsets, pa.array(histories.columns[name])) for name in COLUMNS
    ]
    users = pa.array(names or [f"u{i}" for i in range(len(histories))])
    return pa.RecordBatch.from_arrays([users, *columns], names=["user_id", *COLUMNS])


def test_rows_come_back_in_their_order_with_all_columns(artifact: Artifact) -> None:
    histories = random_histories([9, 1, 4, 30, 2])
    [out] = encode_batches([arrow(histories)], artifact, tokens=32)
    assert out.schema == OUTPUT_SCHEMA
    assert out.column("user_id").to_pylist() == [f"u{i}" for i in range(5)]
    assert out.column("events_used").to_pylist() == [9, 1, 4, 30, 2]
    assert out.column("interest").to_pylist() == [0] * 5
    assert out.column("weight").to_pylist() == [1.0] * 5
    vectors = np.stack(out.column("vector").to_pylist())
    encoder = artifact.build()
    with torch.inference_mode():
        expected = encoder.read(encoder.encode(Batch.of(histories)))[:, 0].numpy()
    assert np.allclose(vectors, expected, atol=1e-5)
    assert np.allclose(out.column("norm").to_numpy(), np.linalg.norm(vectors, axis=1), rtol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_half_width_gives_nearly_the_same_vectors(name: str) -> None:
    encoder = build_encoder(name, {}, SIZES, seed=5)
    model = Artifact.of(encoder, name, {}, "v1", SIZES)
    batch = arrow(random_histories([9, 1, 4, 30, 2, 200]))
    [exact], [half] = (list(encode_batches([batch], model, 512, h)) for h in (False, True))
    assert half.schema == OUTPUT_SCHEMA
    one, two = (np.stack(out.column("vector").to_pylist()) for out in (exact, half))
    cosine = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosine.min() > 0.999
    # Means of fixed vectors hold no product of matrices.
    assert np.array_equal(one, two) == (name == "content_mean")


def test_slices_of_a_batch_are_read_as_slices(artifact: Artifact) -> None:
    whole = arrow(random_histories([3, 8, 5, 2]))
    [out] = encode_batches([whole], artifact, tokens=1)
    [part] = encode_batches([whole.slice(1, 2)], artifact, tokens=1)
    assert part.equals(out.slice(1, 2))


def test_the_order_of_rows_does_not_change_a_bit(artifact: Artifact) -> None:
    batch = arrow(random_histories([5, 5, 9, 5, 2, 9]))
    order = pa.array([4, 2, 0, 5, 1, 3])
    [out] = encode_batches([batch], artifact, tokens=20)
    moved = pa.RecordBatch.from_arrays(
        [c.take(order) for c in batch.columns], names=batch.schema.names
    )
    [again] = encode_batches([moved], artifact, tokens=20)
    expected = pa.RecordBatch.from_arrays([c.take(order) for c in out.columns], schema=out.schema)
    assert again.equals(expected)


def test_an_empty_batch_gives_an_empty_batch(artifact: Artifact) -> None:
    [out] = encode_batches([arrow(random_histories([3])).slice(0, 0)], artifact, tokens=20)
    assert out.num_rows == 0
    assert out.schema == OUTPUT_SCHEMA


def test_weights_are_built_once_a_process(artifact: Artifact) -> None:
    batch = arrow(random_histories([3]))
    list(encode_batches([batch], artifact, tokens=20))
    kept = inference._encoders[artifact.sha256]
    list(encode_batches([batch], artifact, tokens=20))
    assert inference._encoders == {artifact.sha256: kept}


def test_several_vectors_a_user_are_several_rows() -> None:
    vectors = torch.arange(12, dtype=torch.float32).reshape(2, 3, 2)
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.75, 0.125, 0.125]])
    out = to_arrow(pa.array(["a", "b"]), np.array([4, 7]), vectors, weights)
    assert out.column("user_id").to_pylist() == ["a", "a", "a", "b", "b", "b"]
    assert out.column("interest").to_pylist() == [0, 1, 2, 0, 1, 2]
    assert out.column("events_used").to_pylist() == [4, 4, 4, 7, 7, 7]
    assert out.column("vector").to_pylist()[4] == [8.0, 9.0]
    assert out.column("weight").to_pylist() == [0.5, 0.25, 0.25, 0.75, 0.125, 0.125]


@pytest.mark.parametrize("routing", ["self_attention", "dynamic"])
def test_the_main_interest_of_a_user_comes_first(routing: str) -> None:
    options = {"width": 16, "routing": routing, "interests": 3}
    encoder = build_encoder("multi_interest", options, SIZES, seed=5)
    model = Artifact.of(encoder, "multi_interest", options, "v1", SIZES)
    [out] = encode_batches([arrow(random_histories([9, 1, 4, 30]))], model, tokens=64)
    assert out.column("interest").to_pylist() == [0, 1, 2] * 4
    weights = out.column("weight").to_numpy().reshape(4, 3)
    assert np.allclose(weights.sum(1), 1.0, atol=1e-6)
    assert (np.diff(weights, axis=1) <= 0).all()
    vectors = np.stack(out.column("vector").to_pylist()).reshape(4, 3, 16)
    # One event has one interest to show, however many there are by self-attention.
    if routing == "self_attention":
        assert np.allclose(vectors[1], vectors[1, :1], atol=1e-6)
    assert not np.allclose(vectors[3, 0], vectors[3, 1], atol=1e-3)


def test_a_vector_that_is_no_number_stops_the_batch() -> None:
    vectors = torch.tensor([[[1.0]], [[float("nan")]]])
    with pytest.raises(ArithmeticError, match=f"{NOT_FINITE}: 1 of 2"):
        check_finite(vectors)


def test_the_numeric_cores_load_no_spark() -> None:
    code = (
        "import sys, kinsight.embed.inference, kinsight.objectives.registry;"
        "sys.exit('pyspark' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
