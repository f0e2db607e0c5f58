"""User vectors from a notebook or from SQL: the model of stage `embed` as a pandas UDF.

Example:
    >>> from kinsight import read
    >>> from kinsight.embed.udf import embed_udf
    >>> embed = embed_udf(read.model("shop.yaml"))  # doctest: +SKIP
    >>> sequences.withColumn("vector", embed(F.struct("*")))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, FloatType

from kinsight.config import EmbedConfig
from kinsight.embed.inference import (
    INPUT_COLUMNS,
    built_encoder,
    sorted_rows,
)
from kinsight.encoders.artifact import Artifact
from kinsight.encoders.encoding import encode_histories
from kinsight.encoders.histories import COLUMNS, AnyInts, Histories
from kinsight.errors import RefusedError

STRUCT_FIELDS = (*INPUT_COLUMNS, "vocabulary_version")
"""What the struct given to the UDF must hold, by name; it may hold more."""

OTHER_VOCABULARY = (
    "train a model of that vocabulary with `kinsight train`, or read the sequences of the model's: "
    'read.table(config, "sequences", as_of, vocabulary_version=model.vocabulary_version)'
)


def embed_udf(model: Artifact, batch_tokens: int | None = None) -> Callable[[Column], Column]:
    """The model as a function of columns, for data frames and for ``spark.udf.register``.

    It takes one struct, whose fields it finds by name: seven arrays of whole numbers in a fixed
    order could be mixed up without anybody noticing. ``F.struct("*")`` of table sequences will
    do, ``struct(*)`` in SQL. The vectors are those of stage `embed`, whose core they
    share, with ``embed.precision: float32``.

    Args:
        model: The model, as ``kinsight.read.model`` gives it. Spark ships it to the workers, each
            of which builds it once.
        batch_tokens: Events a torch batch, padding included; by default the default of
            ``embed.batch_tokens``.

    Returns:
        A pandas UDF, struct to ARRAY<FLOAT>: null where the history is null or empty. Of an
        encoder with several vectors a user it is the main one, as in segments and audiences; all
        of them are in table embeddings.

    Raises:
        RefusedError: Within the query, if the struct lacks a field, if an array is no history,
            or if the sequences are written in another vocabulary than the model reads.
    """
    tokens = batch_tokens or EmbedConfig().batch_tokens

    def embed(frames: Iterator[pd.DataFrame]) -> Iterator[pd.Series]:
        for frame in frames:
            yield encode_frame(frame, model, tokens)

    return pandas_udf(embed, ArrayType(FloatType()))  # type: ignore[no-any-return, call-overload]  # pyspark's overloads know no iterator of frames


def check_vocabulary(sequences: DataFrame, model: Artifact) -> None:
    """Refuse sequences that the model cannot read, before a long query meets them.

    The UDF refuses them too, but in the midst of a query and with Spark's own text around it.

    Args:
        sequences: Rows of table sequences, with their column vocabulary_version.
        model: The model.

    Raises:
        RefusedError: If there are sequences in another vocabulary.
    """
    rows = sequences.select("vocabulary_version").distinct().collect()
    _check_vocabulary({row[0] for row in rows} - {None}, model)


def encode_frame(frame: pd.DataFrame, model: Artifact, tokens: int) -> pd.Series[Any]:
    """The main vector of each row of a frame; None for null and empty histories.

    Args:
        frame: Columns STRUCT_FIELDS, the histories as arrays.
        model: The model.
        tokens: Events a torch batch, padding included.

    Raises:
        RefusedError: As for :func:`embed_udf`.
        ArithmeticError: If a vector is not finite.
    """
    missing = [name for name in STRUCT_FIELDS if name not in frame.columns]
    if missing:
        raise RefusedError(
            "The struct given to embed lacks fields.",
            expected=", ".join(STRUCT_FIELDS),
            found=f"no {', '.join(missing)}",
            to_do='give it all columns of table sequences: embed(F.struct("*"))',
        )
    lengths = np.array([0 if row is None else len(row) for row in frame["item"]], dtype=np.int64)
    known = np.flatnonzero(lengths)
    vectors: list[npt.NDArray[np.float32] | None] = [None] * len(frame)
    if len(known):
        read = frame.iloc[known]
        _check_vocabulary(set(read["vocabulary_version"]), model)
        length = lengths[known]
        histories = Histories({name: _flat(read[name], length) for name in COLUMNS}, length)
        order = sorted_rows(pa.array(length), pa.array(read["user_id"], pa.string()))
        vectors_read, _ = encode_histories(built_encoder(model), histories, order, tokens)
        for row, vector in zip(known, vectors_read[:, 0].numpy(), strict=True):
            vectors[row] = vector
    return pd.Series(vectors, dtype=object)


def _check_vocabulary(found: set[str | None], model: Artifact) -> None:
    if found - {model.vocabulary_version}:
        raise RefusedError(
            "The model cannot read these sequences.",
            expected=f"sequences in the model's vocabulary {model.vocabulary_version}",
            found=f"vocabulary {', '.join(sorted(map(str, found)))}",
            to_do=OTHER_VOCABULARY,
        )


def _flat(column: pd.Series[Any], length: npt.NDArray[np.int64]) -> AnyInts:
    """The arrays of a column one after another [events]; they must hold whole numbers only."""
    rows = [np.zeros(0, dtype=np.int32) if row is None else np.asarray(row) for row in column]
    different = sum(len(row) != n for row, n in zip(rows, length, strict=True))
    flat: AnyInts = np.concatenate(rows)
    if different or not np.issubdtype(flat.dtype, np.integer):
        raise RefusedError(
            "A history given to embed is none.",
            expected="in each row arrays of equal length, of whole numbers without nulls",
            found=f"{different} rows where `{column.name}` and `item` differ in length"
            if different
            else f"`{column.name}` with nulls or fractions",
            to_do="give it rows of table sequences as they are",
        )
    return flat
