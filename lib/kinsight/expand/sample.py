"""The users that models learn from and are measured on, collected in batches of stated size."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.bags import plain_fields
from kinsight.config import ExpandConfig
from kinsight.expand.definition import AudienceDefinition
from kinsight.expand.gate import SeedCounts
from kinsight.expand.habits import TRAIT_FEATURES, Habits, decode_habits
from kinsight.expand.inputs import Inputs
from kinsight.expand.measures import BoolArray
from kinsight.expand.readable import readable_features
from kinsight.expand.reasons import REASON_USERS
from kinsight.expand.roles import MATCHED, RANKED, STANDING
from kinsight.expand.roster import Roster
from kinsight.expand.scorers.bag_basis import BagBasis, basis_fields, fit_basis
from kinsight.expand.scorers.base import first_by_hash
from kinsight.expand.scorers.registry import OF_COMPONENTS
from kinsight.expand.scorers.users import Reading, Users, decode

BASIS_USERS = 10_000
"""Users that the basis of the bags is fitted on."""


@dataclasses.dataclass(frozen=True)
class Admitted:
    """An audience that passed the gate."""

    definition: AudienceDefinition
    counts: SeedCounts
    needed: int
    valid_days: int

    @property
    def name(self) -> str:
        """Name of the audience."""
        return self.definition.name


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


def with_history(
    roster: DataFrame,
    inputs: Inputs,
    fields: Iterable[str],
    *features: Column,
    histories: DataFrame | None = None,
) -> DataFrame:
    """Rows of the roster with bags and vectors, as :func:`decode` takes them.

    Args:
        roster: The users.
        inputs: What is known of them.
        fields: Fields of the bags that are read.
        features: Columns over user_features to add; where there are none, it is not read.
        histories: Histories to add.
    """
    bags = inputs.bags.select(
        "user_id",
        *(
            F.col("bags")[field][part].alias(f"{part}_{field}")
            for field in fields
            for part in ("tokens", "counts")
        ),
    )
    rows = roster.join(bags, "user_id", "left").join(inputs.vectors, "user_id", "left")
    if histories is not None:
        rows = rows.join(histories, "user_id", "left")
    return rows.join(inputs.features.select("user_id", *features), "user_id") if features else rows


def readable_columns() -> list[Column]:
    """The readable features, named as :func:`decode` takes them."""
    return [F.expr(f).alias(f"readable_{n}") for n, f in enumerate(readable_features())]


def collect_basis(roster: Roster, inputs: Inputs, admitted: Sequence[Admitted]) -> BagBasis | None:
    """The basis of the bags, by a hash sample of all users; None where no audience needs it."""
    tried = {name for audience in admitted for name in audience.definition.tried}
    if not tried & {*OF_COMPONENTS}:
        return None
    drawn = roster.frame.where(F.col("order") < min(1.0, BASIS_USERS / roster.users))
    weights = {f: inputs.token_weights[f] for f in basis_fields(inputs.token_weights)}
    table = with_history(drawn, inputs, weights).toArrow()
    rows = table.sort_by("user_id").combine_chunks().to_batches()
    reading = Reading(weights, inputs.dimension, inputs.interests)
    return fit_basis(decode(rows[0], reading).bags) if rows else None


def collect_samples(
    roster: Roster, inputs: Inputs, admitted: Sequence[Admitted], config: ExpandConfig
) -> Iterator[tuple[Admitted, Sample]]:
    """Collect the samples of all audiences, several audiences a Spark job.

    At most ``maximum_seeds`` + ``background_users`` users are on the driver at once, or those of
    one audience.
    """
    weights = inputs.token_weights
    tokens = {field: len(weights[field]) for field in plain_fields(weights)}
    traits = [F.expr(f).alias(f"feature_{n}") for n, f in enumerate(TRAIT_FEATURES)]
    readable = readable_columns()
    for batch in sample_batches(admitted, config):
        drawn = roster.frame.where(_any(_drawn(roster, a, config) for a in batch))
        some = any(audience.definition.reads_histories for audience in batch)
        model, histories = (inputs.model, inputs.histories) if some else (None, None)
        table = with_history(drawn, inputs, weights, *traits, *readable, histories=histories)
        rows = table.toArrow().sort_by("user_id").combine_chunks().to_batches()[0]
        reading = Reading(
            weights, inputs.dimension, inputs.interests, len(readable), inputs.basis, model
        )
        users = decode(rows, reading)
        roles = rows.column("roles").flatten().to_numpy().reshape(-1, len(roster.names))
        for audience in batch:
            role = roles[:, roster.names.index(audience.name)] & STANDING
            seeds = (role == MATCHED) & (users.order < seed_share(audience, config))
            background = (role == RANKED) & (users.order < background_share(audience, config))
            own = seeds | background
            told = first_by_hash(users, seeds, REASON_USERS)
            told |= first_by_hash(users, background, REASON_USERS)
            habits = decode_habits(rows.filter(pa.array(told)), tokens)
            read = users if audience.definition.reads_histories else users.without_histories()
            yield (
                audience,
                Sample(read.rows(own), seeds[own], background[own], habits, seeds[told]),
            )


def sample_batches(admitted: Sequence[Admitted], config: ExpandConfig) -> Iterator[list[Admitted]]:
    """Audiences in batches whose samples are not larger together than one's may be.

    Background users are drawn by one hash of the id, so audiences of equal ``eligible`` mostly
    share them; they count once.
    """
    batch: list[Admitted] = []
    for audience in admitted:
        if batch and _most_users([*batch, audience], config) > (
            config.maximum_seeds + config.background_users
        ):
            yield batch
            batch = []
        batch.append(audience)
    if batch:
        yield batch


def _most_users(batch: Sequence[Admitted], config: ExpandConfig) -> int:
    """Users that the samples of audiences hold together at most."""
    seeds = sum(min(a.counts.matched, config.maximum_seeds) for a in batch)
    background: dict[str, int] = {}
    for audience in batch:
        pool = repr(audience.definition.eligible)
        users = min(audience.counts.ranked, config.background_users)
        background[pool] = max(background.get(pool, 0), users)
    return seeds + sum(background.values())


def seed_share(audience: Admitted, config: ExpandConfig) -> float:
    """The share of the matched seeds that is learned from."""
    return min(1.0, config.maximum_seeds / audience.counts.matched)


def background_share(audience: Admitted, config: ExpandConfig) -> float:
    """The share of the users to be ranked that is learned against."""
    return min(1.0, config.background_users / audience.counts.ranked)


def _drawn(roster: Roster, audience: Admitted, config: ExpandConfig) -> Column:
    """Whether a user is in the sample of an audience."""
    role, order = roster.role(audience.name), F.col("order")
    is_seed = (role == MATCHED) & (order < seed_share(audience, config))
    return is_seed | ((role == RANKED) & (order < background_share(audience, config)))


def _any(conditions: Iterator[Column]) -> Column:
    return functools.reduce(operator.or_, conditions)
