"""Users with a planted taste, as scorers see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kinsight.encoders.artifact import Artifact
from kinsight.encoders.encoding import encode_histories
from kinsight.encoders.histories import COLUMNS, Histories
from kinsight.encoders.registry import build_encoder
from kinsight.expand.scorers.bag_basis import fit_basis
from kinsight.expand.scorers.blend import Fusion
from kinsight.expand.scorers.users import PARTS, Users
from kinsight.hashing import hash_fractions

Mask = npt.NDArray[np.bool_]


def planted_users(n: int, seed: int = 1) -> tuple[Users, Mask]:
    """Users of whom a quarter have the taste, in their items, vectors and first feature.

    The field `noise` and the second feature know nothing of it. Activity neither. The first
    feature is unknown for some.
    """
    rng = np.random.default_rng(seed)
    ids = np.array([f"u{i:05d}" for i in range(n)], dtype=object)
    taste = rng.random(n) < 0.25
    items = rng.random((n, 60)) < np.where(taste[:, None] & (np.arange(60) < 12), 0.5, 0.15)
    noise = rng.random((n, 30)) < 0.2
    vectors = rng.normal(0, 1, (n, 8)) + 2.0 * taste[:, None] * np.eye(8)[0]
    features = rng.normal(0, 1, (n, 2)) + 1.5 * taste[:, None] * np.eye(2)[0]
    features[np.arange(n) % 11 == 5, 0] = np.nan
    bags = {"item": unit_rows(items), "noise": unit_rows(noise)}
    users = Users(
        ids=ids,
        activity=np.log(rng.integers(1, 500, n)),
        order=hash_fractions(ids, "order"),
        part=(hash_fractions(ids, "part") * PARTS).astype(np.int64),
        bags=bags,
        vectors=vectors.astype(np.float32),
        has_vector=np.ones(n, dtype=bool),
        features=features,
        components=fit_basis(bags, 30).project(bags, n),
    )
    return users, taste


def planted_readers(n: int, encoder: str = "gru") -> tuple[Users, Mask]:
    """Users of :func:`planted_users` with an untrained encoder, which reads their items as events.

    Their vectors are the encoder's.
    """
    users, taste = planted_users(n)
    items = users.bags["item"]
    order = np.random.default_rng(2).permutation(items.nnz)
    row = np.repeat(np.arange(n), np.diff(items.indptr))[order]
    order = order[np.argsort(row, kind="stable")]
    length = np.diff(items.indptr).astype(np.int64)
    columns = {name: np.full(items.nnz, 2, dtype=np.int32) for name in COLUMNS}
    columns["item"] = (2 + items.indices[order]).astype(np.int32)
    columns["seconds"] = np.arange(items.nnz, dtype=np.int64) * 3_600
    histories = Histories(columns, length)
    sizes = {"item": 62, "event_type": 3, "category": 3, "brand": 3, "price": 3}
    options = {"fields": ["item"], "width": 64, "dropout": 0.0}
    options |= {"hidden": 32} if encoder == "gru" else {}
    model = Artifact.of(build_encoder(encoder, options, sizes, 1), encoder, options, "v1", sizes)
    known = np.flatnonzero(length).astype(np.int64)
    by_length = np.argsort(length[known], kind="stable").astype(np.int64)
    encoded, _ = encode_histories(model.build(), histories.take(known), by_length, 4_096)
    vectors = np.zeros((n, *encoded.shape[1:]), dtype=np.float32)
    vectors[known] = encoded.numpy()
    read = {
        "vectors": vectors[:, 0],
        "further": vectors[:, 1:] if vectors.shape[1] > 1 else None,
        "has_vector": length > 0,
        "histories": histories,
        "model": model,
    }
    return dataclasses.replace(users, **read), taste  # type: ignore[arg-type]  # fields by name


def unit_rows(present: Mask) -> sparse.csr_matrix:
    """Rows of equal weights and unit length."""
    sizes = np.maximum(present.sum(axis=1, keepdims=True), 1)
    return sparse.csr_matrix(present / np.sqrt(sizes))


def masks(users: Users, taste: Mask) -> tuple[Mask, Mask, Mask]:
    """Half of those with the taste as seeds, everybody else as background, the other half."""
    seeds = taste & (hash_fractions(users.ids, "seeds") < 0.5)
    return seeds, ~seeds, taste & ~seeds


def equally(names: Sequence[str], *, by_rank: bool = False) -> Fusion:
    """Scorers of equal weight."""
    return Fusion(dict.fromkeys(names, 1.0 / len(names)), by_rank)
