"""Which scorers rank an audience: chosen on hidden seeds, and measured on others. No Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from kinsight.expand.evaluation import Line, Trials
from kinsight.expand.scorers.base import Scorer
from kinsight.expand.scorers.blend import Fusion
from kinsight.expand.scorers.registry import AUTO, FUSED
from kinsight.expand.scorers.users import Users
from kinsight.expand.stacking import by_worth, stacked, weighted

ERRORS_TO_RANK_ALONE = 3.0
"""Standard errors: with 1.64, the best of five scorers passes too often by luck (.768 for .771)."""
LEAST_TO_STACK = 50
"""Hidden seeds below which ranks are averaged, with weights by worth, and nothing is learned."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The scorers that rank together.

    Attributes:
        fusion: The scorers, and how they rank.
        line: What the way of choosing finds of hidden seeds that had no part in the choice.
        reason: Why these, in words.
    """

    fusion: Fusion
    line: Line
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers that rank."""
        return self.fusion.names

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each of them in the ranking."""
        return {name: self.fusion.weights[name] for name in self.names}


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


def choose(trials: Trials, folds: Iterable[int]) -> Fusion:
    """All scorers together, or the best one where it surely ranks better alone, by some folds.

    Evidence is asked of the one scorer, not of the others: on a few hundred seeds the scorer that
    looks best is often not the best, and the others know things that it does not. Mean AUC on users
    kept aside, with 114 to 252 seeds of Complete Journey (four audiences) and with 38 to 158 seeds
    who do something next (twelve audiences of three shops): .669 and .764 by the one that is best
    on hidden seeds, .683 and .775 by the best one in hindsight, .683 and .764 by averages of those
    within chance of the best, .685 and .766 where scorers that add nothing on hidden seeds are
    dropped, .690 and .771 by the average of all. Since then scorers weigh by their worth.

    Args:
        trials: What hidden seeds say.
        folds: The folds that may be looked at.
    """
    seen = list(folds)
    together = fuse(trials, seen)
    placed = trials.placements(together)
    line = Line.over(AUTO, [placed[fold] for fold in seen])
    best = max((trials.line(name, seen) for name in trials.names), key=lambda alone: alone.auc)
    return Fusion.alone(best.name) if best.surely_above(line, ERRORS_TO_RANK_ALONE) else together


def fuse(trials: Trials, folds: Iterable[int]) -> Fusion:
    """All scorers together: their ranks weighted by worth, or weights learned from enough seeds.

    Args:
        trials: What hidden seeds say.
        folds: The folds that may be looked at.
    """
    seen = list(folds)
    if trials.hidden(seen) < LEAST_TO_STACK:
        return weighted(trials, by_worth(trials, seen), by_rank=True)
    return stacked(trials, seen)


def choose_by_hidden_seeds(trials: Trials) -> Choice:
    """What ``auto`` does: choose by all folds, and measure the way of choosing honestly.

    The best of several AUCs is too high an estimate of itself. So the line of ``auto`` ranks the
    hidden seeds of each fold by what the other folds alone would have chosen.
    """
    fusion = choose(trials, range(trials.folds))
    line = _honest_line(AUTO, trials, choose)
    return Choice(fusion, line, _reason(trials, fusion, line))


def fuse_by_hidden_seeds(trials: Trials) -> Choice:
    """What ``fused`` does: all scorers rank together, measured as honestly."""
    fusion = fuse(trials, range(trials.folds))
    line = _honest_line(FUSED, trials, fuse)
    return Choice(fusion, line, _reason(trials, fusion, line))


def _honest_line(name: str, trials: Trials, way: Callable[[Trials, Iterable[int]], Fusion]) -> Line:
    """Hidden seeds of each fold, ranked by what the other folds alone say."""
    folds = range(trials.folds)
    without = [way(trials, [f for f in folds if f != fold]) for fold in folds]
    placed = [trials.placements(without[fold])[fold] for fold in folds]
    return Line.over(name, placed, sum(trials.seconds.values()))


def only_choice(trials: Trials, name: str) -> Choice:
    """The scorer that the audience file names."""
    reason = f"{name} is the scorer that the audience file names"
    return Choice(Fusion.alone(name), trials.line(name), reason)


def _reason(trials: Trials, fusion: Fusion, line: Line) -> str:
    names = fusion.names
    alone = {name: trials.line(name) for name in trials.names}
    if len(names) == 1:
        what = f"{names[0]} ranks, with AUC {alone[names[0]].auc:.3f} on hidden seeds"
    else:
        together = Line.over(AUTO, trials.placements(fusion))
        how = (" by the mean of their ranks" if fusion.by_rank else "") + _weighted(fusion)
        what = (
            f"{' and '.join([', '.join(names[:-1]), names[-1]])} rank together{how}, with AUC "
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


def _weighted(fusion: Fusion) -> str:
    """The weights in words, where they differ."""
    weights = [fusion.weights[name] for name in fusion.names]
    if max(weights) - min(weights) < 0.005:
        return ""
    return f" with the weights {', '.join(f'{weight:.2f}' for weight in weights)}"
