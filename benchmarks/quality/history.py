"""Events to what models see of users before an instant: the product's rows, without Spark.

Sequences, bags and features come from the functions that run in the executors
(``kinsight.sequence.executor``); what Spark does between them is in ``tokens``. Left out: item
tables, hot users (no data set here has one beyond the cap), and sessions by inactivity; a session
is a basket, or a day where there are none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy.sparse import csr_matrix

from benchmarks.quality.tokens import Tokens, make_vocabulary, number_products
from kinsight.bags import bag_fields
from kinsight.config import ExpandConfig, SequenceConfig
from kinsight.encoders.histories import Histories
from kinsight.expand.scorers.bag_basis import basis_fields, fit_basis
from kinsight.expand.scorers.users import (
    PARTS,
    FloatArray,
    Users,
    inverse_document_frequency,
    tf_idf,
)
from kinsight.hashing import hash_fractions
from kinsight.sequence.executor.histories import LISTS, gather
from kinsight.sequence.executor.histories import Histories as Events
from kinsight.sequence.executor.lookups import FIRST_INDEX, UNKNOWN, Lookups
from kinsight.sequence.executor.rows import RowSettings, user_rows
from kinsight.train.training import Vocabulary

EVENT_COLUMNS = (
    "user_id",
    "item_id",
    "event_type",
    "event_time",
    "category",
    "brand",
    "price",
    "quantity",
    "session",
)
"""Columns of a shop's events: strings, ``event_time`` in UTC, two floats; more are allowed."""

FEATURES = (
    "recency_days", "tenure_days", "frequency", "monetary", "sessions", "purchases", "returns",
    "items", "categories", "brands", "average_price", "events_per_session", "weekend_share",
    "morning_share", "afternoon_share", "evening_share", "night_share",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Past:
    """Users as they were right before an instant, one row a user, ids ascending.

    Attributes:
        ids: User ids [n].
        rows: The columns of ``user_rows`` [n rows].
        fields: Fields of the bags, in the order in which each user's bag holds them.
        tokens: The vocabulary, by field.
        category_of: Index in the deepest category level of each item index, [items]; ``UNKNOWN``
            where there is none.
        target_of: Target (see ``shops``) of each product, [products + 1]; None where there is none.
        parts: The events.
        lookups: What their products stand for.
        settings: What the rows depend on.
    """

    ids: npt.NDArray[np.object_]
    rows: pa.RecordBatch
    fields: tuple[str, ...]
    tokens: dict[str, Tokens]
    category_of: npt.NDArray[np.int64]
    target_of: npt.NDArray[np.object_]
    parts: Sequence[Events]
    lookups: Lookups
    settings: RowSettings

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def leaf(self) -> str:
        """The field that segments group by: the deepest category level, or the items."""
        levels = [field for field in self.fields if field.startswith("category_")]
        return levels[-1] if levels else "item"

    @functools.cached_property
    def histories(self) -> Histories:
        """The sequences."""
        return Histories.of_arrow(self.rows)

    @property
    def events(self) -> npt.NDArray[np.int64]:
        """Events of each user [n]."""
        return np.asarray(self.rows.column("events").to_numpy(), dtype=np.int64)

    def feature(self, name: str) -> FloatArray:
        """A plain number of table user_features [n]; NaN where unknown."""
        column = self.rows.column(name).cast(pa.float64())
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def features(self) -> FloatArray:
        """All plain numbers of table user_features [n, FEATURES]."""
        return np.column_stack([self.feature(name) for name in FEATURES])

    def _bag(self, field: str) -> pa.StructArray:
        size = len(self.fields)
        place = np.arange(len(self)) * size + self.fields.index(field)
        return self.rows.column("bags").items.take(pa.array(place))

    def counts(self, field: str) -> csr_matrix:
        """Events of each user with each token of a field [n, indices]."""
        bag = self._bag(field)
        lengths = pc.list_value_length(bag.field("tokens")).to_numpy()
        starts = np.concatenate([[0], np.cumsum(lengths)])
        values = bag.field("counts").flatten().to_numpy()
        index = bag.field("tokens").flatten().to_numpy()
        return csr_matrix((values, index, starts), shape=(len(self), len(self.tokens[field].names)))

    def users(
        self, vectors: npt.NDArray[np.float32] | None = None, fields: Sequence[str] | None = None
    ) -> Users:
        """The users as scorers see them.

        Args:
            vectors: Vectors of an encoder [n, d]; none at all where None.
            fields: Fields of the bags; all by default.
        """
        seed = ExpandConfig().seed
        part = np.floor(hash_fractions(self.ids, f"expand-part:{seed}") * PARTS)
        # The commonest token of any field stands for all users, as in ``expand.inputs``.
        everybody = max(int(tokens.users.max(initial=1)) for tokens in self.tokens.values())
        known = [f for f in bag_fields(self.fields) if len(self.tokens[f].names) > FIRST_INDEX]
        bags = {}
        for field in known if fields is None else fields:
            weight = inverse_document_frequency(self.tokens[field].users, everybody)
            weight[:FIRST_INDEX] = 0.0
            bag = self._bag(field)
            bags[field] = tf_idf(bag.field("tokens"), bag.field("counts"), weight)
        components = None
        if fields is None:
            basis = fit_basis({field: bags[field] for field in basis_fields(bags)})
            components = basis.project(bags, len(self))
        has_vector = np.full(len(self), vectors is not None)
        nothing = np.zeros((len(self), 1), dtype=np.float32)
        return Users(
            ids=self.ids,
            activity=np.log(np.maximum(self.events, 1)),
            order=hash_fractions(self.ids, f"expand:{seed}"),
            part=part.astype(np.int64),
            bags=bags,
            vectors=nothing if vectors is None else vectors,
            has_vector=has_vector,
            features=self.features(),
            components=components,
        )

    def items_of(self, target: str) -> npt.NDArray[np.int64]:
        """Indices of the known items of a target."""
        products = np.flatnonzero(self.target_of == target)
        item = self.lookups.index[self.fields.index("item")][self.lookups.code[0][products]]
        return np.unique(item[item != UNKNOWN]).astype(np.int64)

    def without(self, target: str) -> Past:
        """The same users without their events of a target, in the same vocabulary.

        Users who have no other event are left out.
        """
        left_out = self.target_of == target
        parts = [kept for part in self.parts if len(kept := _only(part, ~left_out[part.product]))]
        rows = _rows(parts, self.lookups, self.settings)
        ids = rows.column("user_id").to_numpy(zero_copy_only=False)
        return dataclasses.replace(self, ids=ids, rows=rows, parts=parts)

    def vocabulary(self) -> Vocabulary:
        """What training needs of the vocabulary."""
        sizes = {
            name: len(self.tokens[name].names) if name in self.tokens else FIRST_INDEX
            for name in ("item", "event_type", "brand", "price")
        }
        leaf = self.leaf
        sizes["category"] = len(self.tokens[leaf].names) if leaf != "item" else FIRST_INDEX
        types = self.tokens["event_type"]
        bought = np.flatnonzero(types.names == "purchase")
        return Vocabulary(
            version="quality",
            sizes=sizes,
            item_frequency=torch.from_numpy(self.tokens["item"].events.astype(np.float64)),
            type_frequency=torch.from_numpy(types.events.astype(np.float64)),
            purchase=int(bought[0]) if len(bought) else None,
        )


def before(events: pd.DataFrame, instant: pd.Timestamp, sequences: SequenceConfig) -> Past:
    """What a run as of an instant sees of a shop.

    Args:
        events: Rows with EVENT_COLUMNS.
        instant: Only events before it count, and of those the ones within ``lookback_days``.
        sequences: Settings of stage `sequence`.
    """
    start = instant - pd.Timedelta(days=sequences.lookback_days)
    events = events[(events["event_time"] < instant) & (events["event_time"] >= start)]
    products, number, names = number_products(events, sequences.crosses)
    types = products.types
    micros = events["event_time"].dt.tz_convert(None).astype("datetime64[us]").astype(np.int64)
    kind = number * len(types) + pd.Index(types).get_indexer(events["event_type"])
    session = pd.factorize(events["user_id"] + "\n" + events["session"].astype(str))[0]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(events["user_id"].to_numpy(dtype=object), pa.string()),
            pa.array(micros.to_numpy()),
            pa.array(kind.astype(np.int64)),
            pa.array(events["price"].to_numpy(dtype=np.float64)),
            pa.array(events["quantity"].to_numpy(dtype=np.float64)),
            pa.array(session.astype(np.int64)),
        ],
        names=["user_id", "micros", "kind", "price", "quantity", "session"],
    )
    parts = list(gather([batch], len(types)))
    lookups, tokens = make_vocabulary(parts, products, names, sequences, events["price"].to_numpy())
    levels = products.levels
    settings = RowSettings(
        instant_micros=int(
            instant.tz_convert(None).to_datetime64().astype("datetime64[us]").astype(int)
        ),
        timezone="UTC",
        max_length=sequences.max_length,
        feature_category=products.fields.index(f"category_{levels}") if levels else None,
        root=products.fields.index("category_1") if levels else None,
    )
    rows = _rows(parts, lookups, settings)
    category = np.full(len(tokens["item"].names), UNKNOWN, dtype=np.int64)
    if lookups.category is not None:
        item = lookups.index[products.fields.index("item")][products.code[0]]
        category[item] = lookups.index[lookups.category][products.code[lookups.category]]
        category[:FIRST_INDEX] = UNKNOWN
    target = np.full(products.code.shape[1], None, dtype=object)
    if "target" in events:
        target[number] = events["target"].to_numpy(dtype=object)
    return Past(
        rows.column("user_id").to_numpy(zero_copy_only=False),
        rows, products.fields, tokens, category, target, parts, lookups, settings,
    )  # fmt: skip


def _rows(parts: Sequence[Events], lookups: Lookups, settings: RowSettings) -> pa.RecordBatch:
    """All columns of all users in one batch."""
    table = pa.Table.from_batches(list(user_rows(parts, lookups, settings))).combine_chunks()
    return table.to_batches(max_chunksize=len(table))[0]


def _only(part: Events, kept: npt.NDArray[np.bool_]) -> Events:
    """Some of the events, and the users who have one of them."""
    length = np.bincount(part.user[kept], minlength=len(part))
    users = part.users.filter(pa.array(length > 0))
    offsets = np.concatenate([[0], np.cumsum(length[length > 0])])
    return Events(users, offsets, **{name: getattr(part, name)[kept] for name in LISTS})
