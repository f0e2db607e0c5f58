"""The gate: whether an audience has the seeds to be expanded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kinsight.config import ExpandConfig, SizesConfig
from kinsight.errors import RefusedError
from kinsight.expand.admitted import SeedCounts
from kinsight.expand.definition import AudienceDefinition
from kinsight.expand.lists import Lists
from kinsight.expand.predicates import Predicate
from kinsight.expand.roles import ELIGIBLE, LISTED, MATCHED, RANKED, SEED, SUPPRESSED, UNSURE
from kinsight.expand.roster import Roster
from kinsight.expand.scorers.registry import OF_HISTORIES

if TYPE_CHECKING:
    from kinsight.encoders.artifact import Artifact

UNKNOWN_OPT_OUTS = 10
"""A suppression list of so many ids that knows nobody is taken for one with other ids."""
UNREAD = frozenset({"user_id", "attributes", "consent"})
"""Columns of predicates that no scorer reads."""
FEWEST_RANKED = 25  # fewer users to rank than the fewest seeds: nothing can be measured


def count_seeds(audience: AudienceDefinition, lists: Lists, roster: Roster) -> SeedCounts:
    """Count what became of the seeds of an audience."""
    roles = roster.role_counts[audience.name]
    known = roster.having(audience.name, SEED)
    matched = roster.count(audience.name, MATCHED)
    sent = ids = known
    listed = lists.counts.get((audience.name, "seeds"))
    if listed is not None:
        sent, ids = listed.rows, listed.ids
    suppressed = ELIGIBLE | SUPPRESSED
    return SeedCounts(
        sent=sent,
        duplicate=sent - ids,
        unknown=ids - known,
        ineligible=known - matched,
        matched=matched,
        eligible=roster.count(audience.name, RANKED) + matched,
        suppressed=sum(n for role, n in roles.items() if role & suppressed == suppressed),
    )


def suppression_refusal(
    audience: AudienceDefinition, lists: Lists, roster: Roster
) -> RefusedError | None:
    """Why ``suppress`` cannot be trusted to keep anybody out; None where it can.

    A list with other ids, or a misspelt key, would let everybody in without a word. Each is asked
    for by itself: what the predicate finds says nothing of the list.
    """
    if audience.suppress is None:
        return None
    listed = lists.counts.get((audience.name, "suppress"))
    known = roster.having(audience.name, LISTED)
    if listed is not None and listed.ids >= UNKNOWN_OPT_OUTS and not known:
        return RefusedError(
            f"Nobody on the suppression list of {audience.name} is a known user.",
            expected="ids written as the events carry them",
            found=f"{listed.ids} ids, none of them known; they look like "
            f"{', '.join(map(shape, listed.examples))}",
            to_do="correct the list, or take `suppress` out of the audience file",
        )
    users = sum(roster.role_counts[audience.name].values())
    if users and roster.having(audience.name, UNSURE) == users:
        return RefusedError(
            f"The suppression of {audience.name} has a value for nobody.",
            expected=f"a predicate that is true or false for some users: "
            f"{audience.suppress.predicate}",
            found=f"no value for any of {users} users",
            to_do="check the names in the predicate, and that `users` carry these attributes",
        )
    return None


def shape(user_id: str) -> str:
    """What an id looks like: letters as a or A, digits as 9.

    Enough to see a lost leading zero or another kind of id, and no customer's id in messages, which
    the report prints and people pass on.
    """
    return re.sub(r"[A-Z]", "A", re.sub(r"[^\W\dA-Z_]", "a", re.sub(r"\d", "9", user_id)))[:40]


def seeds_needed(audience: AudienceDefinition, config: ExpandConfig) -> int:
    """Matched seeds that the gate asks for."""
    return audience.minimum_seeds or config.minimum_seeds


def refusal(
    audience: AudienceDefinition, counts: SeedCounts, needed: int, lists: Lists, roster: Roster
) -> RefusedError | None:
    """Why an audience cannot be expanded, telling sent, matched and needed; None where it can."""
    suppressed = roster.having(audience.name, SEED, SUPPRESSED)
    told = (
        f"{counts.sent} sent, {counts.matched} matched ({counts.duplicate} duplicate, "
        f"{counts.unknown} without history at this date, {suppressed} suppressed, "
        f"{counts.ineligible - suppressed} not eligible)"
    )
    if counts.sent and not counts.matched and counts.unknown and not counts.ineligible:
        sent = lists.counts[audience.name, "seeds"].examples
        known = roster.frame.orderBy("user_id").limit(2).collect()
        return RefusedError(
            f"No seed of {audience.name} is a known user.",
            expected=f"{needed} matched seeds; known ids look like "
            f"{', '.join(shape(row['user_id']) for row in known) or '(there are none)'}",
            found=f"{told}; sent ids look like {', '.join(map(shape, sent)) or '(all blank)'}",
            to_do="check that the column holds the ids that the events carry, written the same",
        )
    if counts.suppressed and not counts.eligible:
        return RefusedError(
            f"The suppression of {audience.name} leaves nobody.",
            expected="eligible users whom `suppress` does not name",
            found=f"all {counts.suppressed} eligible users suppressed",
            to_do="check that `suppress` names those who may not be in the audience, not those "
            "who may",
        )
    if suppressed and not counts.matched:
        return RefusedError(
            f"All known seeds of {audience.name} are suppressed or not eligible.",
            expected=f"{needed} matched seeds",
            found=told,
            to_do="check that `seeds` and `suppress` are not the same list; suppressed users are "
            "not learned from either",
        )
    if counts.matched < needed:
        return RefusedError(
            f"Too few seeds for {audience.name}.",
            expected=f"{needed} matched seeds",
            found=told,
            to_do="send more seeds, widen `eligible`, or lower `minimum_seeds` (not under 25)",
        )
    open_door = suppression_refusal(audience, lists, roster)
    if open_door is not None:
        return open_door
    if counts.ranked < FEWEST_RANKED:
        return RefusedError(
            f"Nobody is left to rank for {audience.name}.",
            expected=f"{FEWEST_RANKED} eligible users who are neither seeds nor suppressed",
            found=f"{counts.ranked}; eligible with the seeds {counts.eligible}, suppressed "
            f"{counts.suppressed}",
            to_do="widen `eligible`, shorten `suppress`, or send fewer seeds",
        )
    return None


def refusal_of_model(
    audience: AudienceDefinition, model: Artifact | None, version: str
) -> RefusedError | None:
    """Why the date's encoder cannot be fine-tuned for an audience; None where it can, or need not.

    Args:
        audience: The audience.
        model: The encoder, where an audience needs it.
        version: The name of the model.
    """
    if model is None or not audience.reads_histories:
        return None
    # Here, as few audiences need it: torch takes seconds to load.
    from kinsight.expand.scorers.tuning import is_tunable

    if is_tunable(model):
        return None
    return RefusedError(
        f"{audience.name} asks for a scorer that the date's encoder cannot serve.",
        expected=f"for {' and '.join(OF_HISTORIES)}: a train.encoder with layers that learn, such "
        "as transformer or gru",
        found=f"{model.encoder} (model {version}), which has none",
        to_do="train another encoder, or take the scorer out of the audience file",
    )


def by_construction(audience: AudienceDefinition, predicate: Predicate | None) -> str | None:
    """What is to be said where the seeds were made from what the scorers read; None elsewhere.

    Args:
        audience: The audience.
        predicate: The condition of its seeds, where they have one.
    """
    if audience.seeds.segment is not None:
        return (
            "its seeds are a segment, made from what ranks its members; a high AUC says that the "
            "segment is found again, nothing more"
        )
    read = sorted(predicate.columns - UNREAD) if predicate is not None else []
    if not read:
        return None
    return (
        f"its seeds are a condition on {', '.join(read)}, made from the same events as what the "
        "scorers read; a high AUC may say that the condition is found again, nothing more"
    )


def oversized(sizes: SizesConfig, ranked: int) -> str | None:
    """What is to be said where a size asks for more users than there are; None where none does."""
    most = max(sizes.counts, default=0)
    if most <= ranked:
        return None
    return f"a size of {most} users is asked for, but only {ranked} are left to rank: it holds all"
