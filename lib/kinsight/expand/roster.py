"""Who every user is to every audience: eligible, suppressed, seed, hidden truth."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kinsight.columns import hash_fraction
from kinsight.expand.definition import AudienceDefinition
from kinsight.expand.inputs import Inputs
from kinsight.expand.lists import ListKey, Lists
from kinsight.expand.predicates import Predicate, compile_predicate, kind_of
from kinsight.expand.roles import ELIGIBLE, LISTED, SEED, STANDING, SUPPRESSED, TRUTH, UNSURE
from kinsight.expand.scorers.users import PARTS
from kinsight.tables import table_schema

UNUSABLE = ("run_id", "as_of")


@dataclasses.dataclass(frozen=True)
class Roster:
    """Every user with history, narrow enough to keep at hand.

    Attributes:
        frame: user_id; events; order, part and tie (hashes of the id); roles, one small integer
            an audience, made of the flags in kinsight.expand.roles.
        names: Audience of each place in ``roles``.
        role_counts: For each audience, users by role.
    """

    frame: DataFrame
    names: tuple[str, ...]
    role_counts: dict[str, dict[int, int]]

    @property
    def users(self) -> int:
        """Users with history."""
        return max((sum(roles.values()) for roles in self.role_counts.values()), default=0)

    def role(self, name: str) -> Column:
        """The role of users to an audience, without the truth."""
        return F.col("roles")[self.names.index(name)].bitwiseAND(STANDING)

    def having(self, name: str, *flags: int) -> int:
        """Users who have all of some flags to an audience, whatever else they are."""
        roles = self.role_counts[name].items()
        return sum(n for role, n in roles if all(role & flag for flag in flags))

    def count(self, name: str, standing: int) -> int:
        """Users of an audience with a standing, whether truth or not."""
        return sum(n for r, n in self.role_counts[name].items() if r & STANDING == standing)


def predicate_columns() -> dict[str, str]:
    """Columns that predicates may read, with their kinds."""
    fields = [*table_schema("user_features").fields, *table_schema("users").fields]
    kinds = {f.name: kind_of(f.dataType.simpleString()) for f in fields}
    kinds.pop("source_file_id")
    return {name: kind for name, kind in kinds.items() if kind and name not in UNUSABLE}


def compile_predicates(audiences: Iterable[AudienceDefinition]) -> dict[ListKey, Predicate]:
    """Check every predicate of every audience.

    Raises:
        ConfigError: If one is not of the allowed grammar.
    """
    columns = predicate_columns()
    return {
        (audience.name, use): compile_predicate(
            source.predicate, columns, f"{audience.name}: {use}"
        )
        for audience in audiences
        for use, source in audience.sources.items()
        if source.predicate is not None
    }


def build_roster(
    inputs: Inputs,
    audiences: Sequence[AudienceDefinition],
    lists: Lists,
    predicates: Mapping[ListKey, Predicate],
    seed: int,
) -> Roster:
    """Give every user his role to every audience, in one pass, and count.

    Args:
        inputs: What is known of users.
        audiences: Audiences whose lists could be read.
        lists: Their lists.
        predicates: Their predicates.
        seed: Seed of the hashes.
    """
    used = {column for predicate in predicates.values() for column in predicate.columns}
    from_users = used & {"attributes", "consent"}
    from_features = used - from_users | {"user_id", "events"}
    features = inputs.features.select(*sorted(from_features))
    if from_users:
        features = features.join(inputs.attributes, "user_id", "left")
    listed = lists.entries.where(F.col("user_id").isNotNull())
    listed = listed.groupBy("user_id").agg(F.collect_list("list").alias("lists"))
    user = F.col("user_id")
    frame = (
        features.join(listed, "user_id", "left")
        .select(
            "user_id",
            "events",
            hash_fraction(user, f"expand:{seed}").alias("order"),
            F.floor(hash_fraction(user, f"expand-part:{seed}") * PARTS).cast("int").alias("part"),
            hash_fraction(user, f"expand-tie:{seed}").alias("tie"),
            F.array(*(_role(a, lists, predicates) for a in audiences))
            .cast("array<tinyint>")
            .alias("roles"),
        )
        .persist()
    )
    counts: dict[str, dict[int, int]] = {a.name: {} for a in audiences}
    by_role = frame.select(F.posexplode("roles").alias("audience", "role"))
    for place, role, users in by_role.groupBy("audience", "role").count().collect():
        counts[audiences[place].name][role] = users
    return Roster(frame, tuple(a.name for a in audiences), counts)


def _role(
    audience: AudienceDefinition, lists: Lists, predicates: Mapping[ListKey, Predicate]
) -> Column:
    """The flags of users to one audience, as one small integer."""

    def terms(use: str) -> list[Column]:
        """The conditions of one use; unknown counts as not held."""
        key = (audience.name, use)
        found = []
        if key in lists.numbers:
            found.append(F.array_contains("lists", lists.numbers[key]))
        if key in predicates:
            found.append(F.expr(predicates[key].sql))
        return [F.coalesce(term, F.lit(False)) for term in found]

    flags = F.lit(0)
    for use, flag in (("seeds", SEED), ("truth", TRUTH), ("suppress", SUPPRESSED)):
        held = functools.reduce(operator.or_, terms(use), F.lit(False))
        flags = flags + F.when(held, flag).otherwise(0)
    key = (audience.name, "suppress")
    if key in lists.numbers:
        on_list = F.array_contains("lists", lists.numbers[key])
        flags = flags + F.when(on_list, LISTED).otherwise(0)
    opted_out = predicates.get(key)
    if opted_out is not None:
        flags = flags + F.when(F.expr(opted_out.sql).isNull(), UNSURE).otherwise(0)
    eligible = functools.reduce(operator.and_, terms("eligible"), F.lit(True))
    return (flags + F.when(eligible, ELIGIBLE).otherwise(0)).cast("byte")
