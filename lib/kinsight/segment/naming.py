"""Names and descriptions: what a segment is, in a few words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from kinsight.labels import is_plain
from kinsight.segment.lift import Term
from kinsight.traits import FACETS, TRAIT_FIELD

COLD_NAME = "Cold: too few events"
SEPARATOR = " · "
TERMS = 3
# A name is checked on held-out users: its first term has to over-index this much there.
FIRST_LIFT = 1.5
FURTHER_LIFT = 1.2
# A first term speaks for the segment, so a fair part of the members must have it.
FIRST_SUPPORT = 0.3


@dataclasses.dataclass(frozen=True)
class Name:
    """A name and the terms it is made of."""

    text: str
    terms: tuple[Term, ...]


def name_segments(tastes: Sequence[Sequence[Term]], traits: Sequence[Sequence[Term]]) -> list[Name]:
    """A unique name for each segment, of terms chosen on fitting users only.

    The first term is the most telling one (log lift times support) of those that are sure to
    reach a lift of 1.5 on other users and that a fair part of the members have; where none is
    sure, the surest. Up to two traits follow, then a taste of another kind, and more, also weaker
    ones, where two names would be equal.

    Args:
        tastes: Terms of categories and brands of each segment.
        traits: Traits of each segment.

    Returns:
        One name a segment, in the same order.
    """
    names: list[Name] = []
    taken = {COLD_NAME}
    for position, (own_tastes, own_traits) in enumerate(zip(tastes, traits, strict=True), 1):
        terms, spare = _choose(own_tastes, own_traits)
        while spare and _join(terms) in taken:
            terms.append(spare.pop(0))
        text = _join(terms) or "Mixed"
        if text in taken:
            text = f"{text} ({position})"
        taken.add(text)
        names.append(Name(text, tuple(terms)))
    return names


def _choose(tastes: Sequence[Term], traits: Sequence[Term]) -> tuple[list[Term], list[Term]]:
    """The terms of the name, and what may follow them where another segment has that name."""
    over = [t for t in (*tastes, *traits) if t.lift > 1]
    if not over:
        return [], []
    first = _first(over)
    name: list[Term] = [first]
    spare: list[Term] = []
    kinds, labels = {_kind(first)}, {first.label}
    for term in (*_most_telling(traits), *_most_telling(tastes)):
        if term.sure_lift < FURTHER_LIFT or not is_plain(term.label):
            continue
        if _kind(term) not in kinds and term.label not in labels:
            kinds.add(_kind(term))
            labels.add(term.label)
            (name if len(name) < TERMS else spare).append(term)
    for term in _most_telling(over):
        if term.label not in labels and is_plain(term.label):
            labels.add(term.label)
            spare.append(term)
    return name, spare


def _first(terms: Sequence[Term]) -> Term:
    plain = [t for t in terms if is_plain(t.label)] or terms
    sure = [t for t in plain if t.sure_lift >= FIRST_LIFT]
    broad = [t for t in sure if t.support >= FIRST_SUPPORT]
    if broad or sure:
        return _most_telling(broad or sure)[0]
    return max(plain, key=lambda t: (t.sure_lift, t.label, t.token))


def _most_telling(terms: Iterable[Term]) -> list[Term]:
    return sorted(terms, key=lambda t: (-t.telling, t.field, t.token))


def _kind(term: Term) -> str:
    """A name holds one term of a kind: of a facet, of a root category, of the brands."""
    if not _is_taste(term):
        return FACETS[term.label]
    return term.token.split(" > ")[0] if term.field.startswith("category") else term.field


def _join(terms: Iterable[Term]) -> str:
    return SEPARATOR.join(term.label for term in terms)


def _is_taste(term: Term) -> bool:
    return term.field != TRAIT_FIELD


def _times(term: Term) -> str:
    if term.held_out_lift is None:
        return f"{term.lift:.1f} times the average, not checked on others"
    return f"{term.held_out_lift:.1f} times the average"


def describe(
    share: float, tastes: Sequence[Term], profile: Mapping[str, float], base: Mapping[str, float]
) -> str:
    """One or two sentences: how many, what they over-index on, how often, of what value.

    The lifts told are those on held-out users, as elsewhere; one that could not be checked says so.

    Args:
        share: Share of all users.
        tastes: The terms to tell, with their labels and lifts.
        profile: Means of the segment; frequency, recency_days and monetary are told.
        base: Means over all users.
    """
    liked = [f"{t.label} ({_times(t)})" for t in tastes if _is_taste(t)]
    told = " and ".join([", ".join(liked[:-1]), liked[-1]] if len(liked) > 1 else liked)
    first = f"{share:.0%} of users" + (f", with a taste for {told}." if told else ".")
    days, gap = profile.get("frequency"), profile.get("recency_days")
    if days is None or gap is None:
        return first
    second = (
        f"They came on {days:.0f} day{'' if round(days) == 1 else 's'} "
        f"(average {base['frequency']:.0f}), the last time {gap:.0f} days before the date"
    )
    value, average = profile.get("monetary", 0.0), base.get("monetary", 0.0)
    if average > 0:
        change = value / average - 1
        second += (
            ", and are worth as much as the average"
            if abs(change) < 0.05
            else f", and are worth {abs(change):.0%} {'more' if change > 0 else 'less'} "
            "than the average"
        )
    return f"{first} {second}."
