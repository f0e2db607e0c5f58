"""The users that one audience learns from, cut from rows of Arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa

from kinsight.bags import plain_fields
from kinsight.config import ExpandConfig
from kinsight.expand.admitted import Admitted
from kinsight.expand.habits import Habits, decode_habits
from kinsight.expand.measures import BoolArray, FloatArray
from kinsight.expand.reasons import REASON_USERS
from kinsight.expand.roles import MATCHED, RANKED, STANDING
from kinsight.expand.scorers.base import first_by_hash
from kinsight.expand.scorers.users import Reading, Users, decode


@dataclasses.dataclass(frozen=True)
class Sample:
    """The users that one audience learns from.

    Attributes:
        users: Seeds and background [n].
        seeds: Matched seeds [n].
        background: A hash sample of the users to be ranked [n].
        habits: What some of them do, see kinsight.expand.reasons [m].
        habits_of_seeds: True for the seeds among those; the others are background [m].
    """

    users: Users
    seeds: BoolArray
    background: BoolArray
    habits: Habits
    habits_of_seeds: BoolArray


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Users drawn for some audiences, decoded once for all of them.

    Attributes:
        rows: One row a user, by user id: columns as :func:`decode` and :func:`decode_habits` take
            them, and ``roles``.
        users: The same users.
        names: Audience of each place in ``roles``.
        token_weights: As ``Reading.token_weights``.
    """

    rows: pa.RecordBatch
    users: Users
    names: Sequence[str]
    token_weights: Mapping[str, FloatArray]

    @classmethod
    def of(cls, table: pa.Table, names: Sequence[str], reading: Reading) -> Drawn:
        """Decode rows that came in any order."""
        rows = table.sort_by("user_id").combine_chunks().to_batches()[0]
        return cls(rows, decode(rows, reading), names, reading.token_weights)

    def sample(self, audience: Admitted, config: ExpandConfig) -> Sample:
        """The users of one audience; it is the same beside whatever other users were drawn."""
        users = self.users
        roles = self.rows.column("roles").flatten().to_numpy().reshape(-1, len(self.names))
        role = roles[:, self.names.index(audience.name)] & STANDING
        seeds = (role == MATCHED) & (users.order < seed_share(audience, config))
        background = (role == RANKED) & (users.order < background_share(audience, config))
        own = seeds | background
        told = first_by_hash(users, seeds, REASON_USERS)
        told |= first_by_hash(users, background, REASON_USERS)
        tokens = {f: len(self.token_weights[f]) for f in plain_fields(self.token_weights)}
        habits = decode_habits(self.rows.filter(pa.array(told)), tokens)
        read = users if audience.definition.reads_histories else users.without_histories()
        return Sample(read.rows(own), seeds[own], background[own], habits, seeds[told])


def seed_share(audience: Admitted, config: ExpandConfig) -> float:
    """The share of the matched seeds that is learned from."""
    return min(1.0, config.maximum_seeds / audience.counts.matched)


def background_share(audience: Admitted, config: ExpandConfig) -> float:
    """The share of the users to be ranked that is learned against."""
    return min(1.0, config.background_users / audience.counts.ranked)
