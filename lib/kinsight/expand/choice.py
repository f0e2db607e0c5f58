"""Which scorers rank an audience: chosen on hidden seeds, and measured on others. No Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from kinsight.expand.evaluation import Line, Trials
from kinsight.expand.scorers.base import Scorer
from kinsight.expand.scorers.registry import AUTO
from kinsight.expand.scorers.users import Users


@dataclasses.dataclass(frozen=True)
class Choice:
    """The scorers that rank together, each with the same weight.

    Attributes:
        names: The scorers.
        line: What the way of choosing finds of hidden seeds that had no part in the choice.
        reason: Why these, in words.
    """

    names: tuple[str, ...]
    line: Line
    reason: str

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each scorer in the ranking."""
        return dict.fromkeys(self.names, 1.0 / len(self.names))


def affordable(
    scorers: Sequence[Scorer], users: Users, folds: int, budget: float
) -> tuple[list[Scorer], list[str]]:
    """The scorers that fit a budget, the cheapest first, and what is to be said of the others.

    Args:
        scorers: The candidates.
        users: Seeds and background.
        folds: Folds of the seeds.
        budget: Estimated seconds for all of them; the cheapest is tried whatever it takes.
    """
    costs = {scorer.name: (folds + 1) * scorer.seconds(users) for scorer in scorers}
    kept: set[str] = set()
    spent, left_out = 0.0, []
    for scorer in sorted(scorers, key=lambda s: costs[s.name]):
        cost = costs[scorer.name]
        if kept and spent + cost > budget:
            left_out.append(
                f"{scorer.name} was not tried: about {cost:.0f} s, and {budget - spent:.0f} s of "
                "expand.budget_seconds were left"
            )
        else:
            kept.add(scorer.name)
            spent += cost
    return [scorer for scorer in scorers if scorer.name in kept], left_out


def choose(trials: Trials, folds: Iterable[int]) -> tuple[str, ...]:
    """The best scorer, or the best few that rank better together, by some folds alone.

    Scorers that are within chance of the best one are averaged one after another, the better
    first. A scorer that is surely worse than the best has no part, however well it would mix.

    Args:
        trials: What hidden seeds say.
        folds: The folds that may be looked at.

    Returns:
        The scorers that rank together; of equally good choices the one with the fewest.
    """
    seen = list(folds)

    def line(names: tuple[str, ...]) -> Line:
        placed = trials.placements(names)
        return Line.over(names[0], [placed[fold] for fold in seen])

    lines = sorted((line((name,)) for name in trials.names), key=lambda one: -one.auc)
    near = [one.name for one in lines if not lines[0].surely_above(one)]
    together = [tuple(near[:count]) for count in range(1, len(near) + 1)]
    return max(together, key=lambda names: line(names).auc)


def choose_by_hidden_seeds(trials: Trials) -> Choice:
    """What ``auto`` does: choose by all folds, and measure the way of choosing honestly.

    The best of several AUCs is too high an estimate of itself. So the line of ``auto`` ranks the
    hidden seeds of each fold by what the other folds alone would have chosen.
    """
    folds = range(trials.folds)
    chosen_without = [choose(trials, (f for f in folds if f != fold)) for fold in folds]
    placed = [trials.placements(chosen_without[fold])[fold] for fold in folds]
    line = Line.over(AUTO, placed, sum(trials.seconds.values()))
    names = choose(trials, folds)
    return Choice(names, line, _reason(trials, names, line))


def only_choice(trials: Trials, name: str) -> Choice:
    """The scorer that the audience file names."""
    return Choice((name,), trials.line(name), f"{name} is the scorer that the audience file names")


def _reason(trials: Trials, names: tuple[str, ...], line: Line) -> str:
    alone = {name: trials.line(name) for name in trials.names}
    if len(names) == 1:
        what = f"{names[0]} ranks, with AUC {alone[names[0]].auc:.3f} on hidden seeds"
    else:
        together = Line.over(AUTO, trials.placements(names))
        what = (
            f"{' and '.join([', '.join(names[:-1]), names[-1]])} rank together, with AUC "
            f"{together.auc:.3f} on {len(line.of_seeds)} hidden seeds"
        )
    beside = sorted((n for n in alone if names != (n,)), key=lambda n: -alone[n].auc)
    told = ", ".join(f"{alone[name].auc:.3f} of {name}" for name in beside)
    second = max((alone[n] for n in alone if n not in names), key=lambda one: one.auc, default=None)
    best = max((alone[n] for n in names), key=lambda one: one.auc)
    chance = (
        ""
        if len(names) > 1 or second is None or best.surely_above(second)
        else ", though the difference is within chance"
    )
    told = f", against {told}{chance}" if told else ""
    return f"{what}{told}; {line.auc:.3f} where each fold's seeds had no part in the choice"
