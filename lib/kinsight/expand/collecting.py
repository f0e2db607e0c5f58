"""The users that models learn from and are measured on: drawn, and collected for the driver."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.config import ExpandConfig
from kinsight.expand.admitted import Admitted
from kinsight.expand.habits import TRAIT_FEATURES
from kinsight.expand.inputs import Inputs
from kinsight.expand.readable import readable_features
from kinsight.expand.roles import MATCHED, RANKED
from kinsight.expand.roster import Roster
from kinsight.expand.sample import Drawn, Sample, background_share, seed_share
from kinsight.expand.scorers.bag_basis import BagBasis, basis_fields, fit_basis
from kinsight.expand.scorers.registry import OF_COMPONENTS
from kinsight.expand.scorers.users import Reading, decode

BASIS_USERS = 10_000
"""Users that the basis of the bags is fitted on."""


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
    for batch in sample_batches(admitted, config):
        drawn = roster.frame.where(_any(is_drawn(roster, a, config) for a in batch))
        table = drawn_rows(drawn, inputs, batch).toArrow()
        users = Drawn.of(table, roster.names, reading_of(inputs, batch))
        for audience in batch:
            yield audience, users.sample(audience, config)


def drawn_rows(drawn: DataFrame, inputs: Inputs, audiences: Sequence[Admitted]) -> DataFrame:
    """Rows of the roster with all that is read of users, to learn about some audiences from."""
    traits = [F.expr(f).alias(f"feature_{n}") for n, f in enumerate(TRAIT_FEATURES)]
    histories = inputs.histories if _read_histories(audiences) else None
    columns = [*traits, *readable_columns()]
    return with_history(drawn, inputs, inputs.token_weights, *columns, histories=histories)


def reading_of(inputs: Inputs, audiences: Sequence[Admitted]) -> Reading:
    """How :func:`drawn_rows` are decoded."""
    return Reading(
        inputs.token_weights,
        inputs.dimension,
        inputs.interests,
        len(readable_columns()),
        inputs.basis,
        inputs.model if _read_histories(audiences) else None,
    )


def is_drawn(roster: Roster, audience: Admitted, config: ExpandConfig) -> Column:
    """Whether a user of the roster is in the sample of an audience."""
    role, order = roster.role(audience.name), F.col("order")
    is_seed = (role == MATCHED) & (order < seed_share(audience, config))
    return is_seed | ((role == RANKED) & (order < background_share(audience, config)))


def _read_histories(audiences: Sequence[Admitted]) -> bool:
    return any(audience.definition.reads_histories for audience in audiences)


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


def _any(conditions: Iterator[Column]) -> Column:
    return functools.reduce(operator.or_, conditions)
