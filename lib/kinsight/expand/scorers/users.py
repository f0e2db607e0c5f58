"""What scorers see of users: sparse bags and dense vectors, decoded from Arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from kinsight.encoders.histories import Histories
from kinsight.errors import IntegrityError
from kinsight.expand.measures import BoolArray, FloatArray, IntArray
from kinsight.expand.scorers.bag_basis import BagBasis

if TYPE_CHECKING:
    from kinsight.encoders.artifact import Artifact  # loads torch, which few scorers need

PARTS = 3
"""Parts of the users for cross-fitting: nobody is scored by a model that learned from him.

More parts leave more background to each model and cost more models. Complete Journey, mean
held-out AUC of four audiences: .729 with 2 parts, .731 with 3, .732 with 5.
"""


@dataclasses.dataclass(frozen=True)
class Users:
    """Some users, one a row.

    Attributes:
        ids: User ids [n], object.
        activity: Natural logarithm of the number of events [n].
        order: Hash of the id in [0, 1): the order for folds and samples [n].
        part: Part for cross-fitting, 0 to PARTS - 1, by another hash of the id [n].
        bags: By field: l2-normalised tf-idf [n, tokens]; a row without tokens is all zeros.
        vectors: Vectors of the encoder [n, d], float32; zeros where a user has none. Of several
            vectors a user, the main one.
        has_vector: Whether the encoder gave one [n].
        features: Readable numbers, NaN where unknown [n, features]; None where they were not read.
        components: The bags in a basis [n, d], float32; None where there is none.
        further: The other vectors of users who have several [n, K - 1, d], float32; else None.
        histories: Their histories, empty ones where a user has none; None where they were not read.
        model: The encoder of the vectors, which reads histories; None where it was not read.
    """

    ids: npt.NDArray[np.object_]
    activity: FloatArray
    order: FloatArray
    part: IntArray
    bags: Mapping[str, sparse.csr_matrix]
    vectors: npt.NDArray[np.float32]
    has_vector: BoolArray
    features: FloatArray | None = None
    components: npt.NDArray[np.float32] | None = None
    further: npt.NDArray[np.float32] | None = None
    histories: Histories | None = None
    model: Artifact | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, selected: BoolArray) -> Users:
        """The selected users, in their order."""
        return Users(
            ids=self.ids[selected],
            activity=self.activity[selected],
            order=self.order[selected],
            part=self.part[selected],
            bags={field: bag[selected] for field, bag in self.bags.items()},
            vectors=self.vectors[selected],
            has_vector=self.has_vector[selected],
            features=None if self.features is None else self.features[selected],
            components=None if self.components is None else self.components[selected],
            further=None if self.further is None else self.further[selected],
            histories=(
                None if self.histories is None else self.histories.take(np.flatnonzero(selected))
            ),
            model=self.model,
        )

    def without_histories(self) -> Users:
        """The same for scorers that read none: to copy and ship them is dear."""
        return dataclasses.replace(self, histories=None, model=None)

    def all_vectors(self) -> list[npt.NDArray[np.float32]]:
        """The main vectors, then the others, each [n, d].

        Models learn from main vectors and score a user by the one that they like best (Cen et al.,
        ComiRec, arXiv 2005.09347, serving): whoever has one interest of the seeds is like them.
        """
        if self.further is None:
            return [self.vectors]
        return [self.vectors, *np.moveaxis(self.further, 1, 0)]


def inverse_document_frequency(users_with_token: IntArray, users: int) -> FloatArray:
    """How telling each token is: log((1 + users) / (1 + users with the token)) + 1.

    Taken from the vocabulary, so it depends on no seed list: training, held-out and other users
    are treated alike, and all audiences share one tf-idf.
    """
    return np.asarray(np.log((1.0 + users) / (1.0 + users_with_token)) + 1.0)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read of users.

    Attributes:
        token_weights: By field, the inverse document frequency of each token index [tokens].
        dimension: Width of a vector.
        interests: Vectors a user; they stand one after another in one array.
        readable: Number of readable features; None: they are not read.
        basis: What makes components of the bags; None: there are none.
        model: What histories are read for; None: they are not.
    """

    token_weights: Mapping[str, FloatArray]
    dimension: int
    interests: int = 1
    readable: int | None = None
    basis: BagBasis | None = None
    model: Artifact | None = None


def decode(rows: pa.RecordBatch, reading: Reading) -> Users:
    """Read users from Arrow.

    Args:
        rows: Columns user_id, events, order, part, vector (null where there is none), and for
            each field ``tokens_FIELD`` and ``counts_FIELD`` (null where there are none), and
            ``readable_N`` for each feature, and ``history_COLUMN`` for each column of a history
            (null where there is none).
        reading: What of them is read.

    Raises:
        IntegrityError: If a vector has another width.
    """
    vectors = rows.column("vector")
    has_vector = pc.is_valid(vectors).to_numpy(zero_copy_only=False)
    width = reading.dimension * reading.interests
    dense = np.zeros((rows.num_rows, width), dtype=np.float32)
    widths = pc.unique(pc.list_value_length(vectors.filter(pc.is_valid(vectors)))).to_pylist()
    if widths not in ([], [width]):
        raise IntegrityError(
            "The vectors of the date have different widths.",
            expected=f"{width} numbers each",
            found=", ".join(str(width) for width in widths),
            to_do="run `kinsight embed` again for this date",
        )
    dense[has_vector] = _flat(vectors).reshape(-1, width)
    several = dense.reshape(len(dense), reading.interests, reading.dimension)
    bags = {
        field: tf_idf(rows.column(f"tokens_{field}"), rows.column(f"counts_{field}"), weights)
        for field, weights in reading.token_weights.items()
    }
    features = None
    if reading.readable is not None:
        features = np.empty((rows.num_rows, reading.readable))
        for number in range(reading.readable):
            features[:, number] = _numbers(rows.column(f"readable_{number}"))
    return Users(
        ids=rows.column("user_id").to_numpy(zero_copy_only=False),
        activity=np.log(np.maximum(_numbers(rows.column("events")), 1.0)),
        order=_numbers(rows.column("order")),
        part=_numbers(rows.column("part")).astype(np.int64),
        bags=bags,
        vectors=np.ascontiguousarray(several[:, 0]),
        has_vector=has_vector,
        features=features,
        components=None if reading.basis is None else reading.basis.project(bags, rows.num_rows),
        further=several[:, 1:] if reading.interests > 1 else None,
        histories=None if reading.model is None else Histories.of_arrow(rows, "history_"),
        model=reading.model,
    )


def tf_idf(tokens: pa.Array, counts: pa.Array, weights: FloatArray) -> sparse.csr_matrix:
    """Sublinear tf-idf rows of unit length: (1 + log count) x weight, l2-normalised.

    Args:
        tokens: Lists of token indices.
        counts: Lists of counts, equally long.
        weights: Weight of each token index [tokens]; other indices weigh nothing.
    """
    lengths = pc.fill_null(pc.list_value_length(tokens), 0).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    index = _flat(tokens).astype(np.int32)
    known = index < len(weights)
    index = np.where(known, index, 0)
    frequency = 1.0 + np.log(np.maximum(_flat(counts).astype(np.float64), 1.0))
    values = frequency * weights[index] * known
    row = np.repeat(np.arange(len(lengths)), lengths)
    norms = np.sqrt(np.bincount(row, values**2, minlength=len(lengths)))
    values /= np.where(norms > 0, norms, 1.0)[row]
    return sparse.csr_matrix((values, index, starts), shape=(len(lengths), len(weights)))


def _flat(lists: pa.Array) -> npt.NDArray[np.generic]:
    return np.asarray(pc.list_flatten(lists).to_numpy(zero_copy_only=False))


def _numbers(column: pa.Array) -> FloatArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
