"""What the pandas UDF does with a frame, without Spark."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kinsight.embed.inference import encode_batches
from kinsight.embed.udf import STRUCT_FIELDS, encode_frame
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.histories import COLUMNS
from kinsight.encoders.registry import build_encoder
from kinsight.errors import RefusedError
from tests.histories import SIZES, random_histories
from tests.unit.test_embed_inference import arrow

LENGTHS = [9, 1, 4, 30, 2, 4]


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    encoder = build_encoder("transformer", {"width": 16}, SIZES, seed=5)
    return Artifact.of(encoder, "transformer", {"width": 16}, "v1", SIZES)


def frame() -> pd.DataFrame:
    """Six users as Spark hands them to a pandas UDF."""
    histories = random_histories(LENGTHS)
    ends = np.cumsum(LENGTHS)[:-1]
    columns = {name: np.split(histories.columns[name], ends) for name in COLUMNS}
    users = [f"u{i}" for i in range(len(LENGTHS))]
    return pd.DataFrame({"user_id": users, **columns, "vocabulary_version": "v1"})


def test_vectors_are_those_of_the_arrow_path_to_the_last_bit(artifact: Artifact) -> None:
    [expected] = encode_batches([arrow(random_histories(LENGTHS))], artifact, tokens=32)
    found = encode_frame(frame(), artifact, tokens=32)
    assert np.stack(list(found)).tolist() == expected.column("vector").to_pylist()


def test_null_and_empty_histories_give_null_and_change_no_other_vector(artifact: Artifact) -> None:
    whole = encode_frame(frame(), artifact, tokens=32)
    nobody = {**dict.fromkeys(STRUCT_FIELDS), "user_id": "left-joined"}
    empty = {**dict.fromkeys(COLUMNS, np.zeros(0, dtype=np.int32)), "vocabulary_version": "v1"}
    rows = pd.concat([pd.DataFrame([nobody, empty]), frame()], ignore_index=True)
    found = encode_frame(rows, artifact, tokens=32)
    assert found[0] is None
    assert found[1] is None
    assert np.array_equal(np.stack(list(found[2:])), np.stack(list(whole)))
    assert list(encode_frame(rows[:2], artifact, tokens=32)) == [None, None]
    assert encode_frame(rows[:0], artifact, tokens=32).empty


def test_the_main_vector_of_several_is_given(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = encode_frame(frame(), artifact, tokens=32)
    encoder = artifact.build()
    read = encoder.read
    monkeypatch.setattr(encoder, "interests", 2)
    monkeypatch.setattr(
        encoder,
        "read",
        lambda state: read(state).repeat(1, 2, 1) * read(state).new_tensor([[1], [9]]),
    )
    monkeypatch.setattr("kinsight.embed.udf.built_encoder", lambda _: encoder)
    found = encode_frame(frame(), artifact, tokens=32)
    assert np.array_equal(np.stack(list(found)), np.stack(list(expected)))


def test_another_vocabulary_is_refused_with_the_way_to_do_it_right(artifact: Artifact) -> None:
    rows = frame()
    rows.loc[3, "vocabulary_version"] = "v2"
    with pytest.raises(RefusedError) as refused:
        encode_frame(rows, artifact, tokens=32)
    assert "vocabulary v1" in refused.value.expected
    assert "v2" in refused.value.found
    assert "kinsight train" in refused.value.to_do


def test_what_is_no_history_is_refused(artifact: Artifact) -> None:
    with pytest.raises(RefusedError, match="no seconds, vocabulary_version"):
        encode_frame(frame().drop(columns=["seconds", "vocabulary_version"]), artifact, tokens=32)
    rows = frame()
    rows.at[0, "brand"] = rows.at[0, "brand"][:-1]
    with pytest.raises(RefusedError, match="1 rows where `brand` and `item` differ in length"):
        encode_frame(rows, artifact, tokens=32)
    rows = frame()
    rows.at[0, "price"] = np.array([np.nan] * 9)
    with pytest.raises(RefusedError, match="`price` with nulls"):
        encode_frame(rows, artifact, tokens=32)
