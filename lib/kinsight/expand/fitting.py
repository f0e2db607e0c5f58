"""From a sample to an expansion: held-out lines, the scorer, the verdict, the final models."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from threadpoolctl import threadpool_limits

from kinsight.config import ExpandConfig
from kinsight.expand.admitted import Admitted
from kinsight.expand.choice import (
    Choice,
    affordable,
    choose_by_hidden_seeds,
    fuse_by_hidden_seeds,
    only_choice,
)
from kinsight.expand.evaluation import Line, Trials, evaluate
from kinsight.expand.levels import Level, reference_level, size_levels
from kinsight.expand.measures import FloatArray
from kinsight.expand.parallel import SideBySide
from kinsight.expand.probability import Membership, fit_membership
from kinsight.expand.reasons import Reason, candidate_reasons
from kinsight.expand.sample import Sample
from kinsight.expand.scorers.base import CrossFit, cross_fit
from kinsight.expand.scorers.blend import Fusion, blend
from kinsight.expand.scorers.centroid import CentroidModel, seed_centres
from kinsight.expand.scorers.registry import AUTO, FUSED, SCORERS, seen_by
from kinsight.expand.verdict import Verdict, judge

CHOICES = {AUTO: choose_by_hidden_seeds, FUSED: fuse_by_hidden_seeds}
"""Ways to rank that are no scorer of their own."""


@dataclasses.dataclass(frozen=True)
class Expansion:
    """An audience with everything that ranks and judges it.

    Attributes:
        audience: The audience.
        lines: Held-out lines of the scorers, of ``auto`` where it chose, then of activity.
        choice: The scorers that rank the members, and why.
        verdict: How far the ranking can be trusted.
        levels: Size levels, smallest first.
        reference: The level at which recall and lift are told.
        models: The chosen scorers, fitted on all seeds.
        centre: The centre of all seeds, for the similarity of members.
        threshold: Scores below it are surely outside the largest level.
        membership: From scores to probabilities.
        candidates: What the seeds do more than the base, not yet named.
    """

    audience: Admitted
    lines: list[Line]
    choice: Choice
    verdict: Verdict
    levels: list[Level]
    reference: Level
    models: CrossFit
    centre: CentroidModel
    threshold: float
    membership: Membership
    candidates: list[Reason]

    @property
    def chosen(self) -> Line:
        """The line of what ranks the members."""
        return self.choice.line

    @property
    def activity(self) -> Line:
        """The activity line."""
        return self.lines[-1]

    @property
    def members(self) -> int:
        """Users in the audience: the largest level, and the seeds where they are kept."""
        kept = self.audience.counts.matched if self.audience.definition.keep_seeds else 0
        return self.levels[-1].reach + kept


def fit_expansion(
    audience: Admitted, sample: Sample, config: ExpandConfig, at_once: SideBySide
) -> Expansion:
    """Evaluate the scorers on hidden seeds, choose, and fit the chosen ones on all seeds."""
    # Sums over many users end otherwise with other numbers of threads.
    with threadpool_limits(1):
        return _fit(audience, sample, config, at_once)


def _fit(
    audience: Admitted, sample: Sample, config: ExpandConfig, at_once: SideBySide
) -> Expansion:
    users, seeds, background = sample.users, sample.seeds, sample.background
    ranked = audience.counts.ranked
    definition = audience.definition
    levels = size_levels(definition.sizes or config.sizes, ranked)
    reference = reference_level(levels)
    scorers, left_out = affordable(
        [SCORERS[name] for name in definition.tried], users, config.folds, config.budget_seconds
    )
    trials, activity = evaluate(scorers, users, seeds, background, ranked, config.folds, at_once)
    lines = [trials.line(name) for name in trials.names]
    if definition.scorer in CHOICES:
        choice = CHOICES[definition.scorer](trials)
        choice = dataclasses.replace(choice, reason="; ".join([choice.reason, *left_out]))
        lines.append(choice.line)
    else:
        choice = only_choice(trials, definition.scorer)
    chosen = [SCORERS[name] for name in choice.names]
    pieces = [
        functools.partial(cross_fit, scorer, seen_by(scorer, users), seeds, background)
        for scorer in chosen
    ]
    models = at_once(pieces, [scorer.seconds(users) for scorer in chosen])
    fitted = dict(zip(choice.names, models, strict=True))
    blended = blend(choice.fusion, fitted, users, background)
    return Expansion(
        audience=audience,
        lines=[*lines, activity],
        choice=choice,
        verdict=judge(choice.line, activity, reference.share),
        levels=levels,
        reference=reference,
        models=blended,
        centre=seed_centres(users, seeds, background, modes=1),
        threshold=safe_threshold(
            blended.score(users.rows(background)), levels[-1].reach / ranked, ranked
        ),
        membership=_membership(trials, choice.fusion),
        candidates=candidate_reasons(sample.habits, sample.habits_of_seeds),
    )


def _membership(trials: Trials, fusion: Fusion) -> Membership:
    """Probabilities by the scores of hidden seeds, as the chosen scorers rank them."""
    hidden, others = [], []
    for fold in range(trials.folds):
        of_seeds, of_background = trials.of_hidden(trials.fused(fusion, fold), fold)
        hidden.append(of_seeds)
        others.append(of_background)
    # A background user stands for the same users in every fold.
    weight = trials.weight / trials.folds
    return fit_membership(np.concatenate(hidden), np.concatenate(others), weight)


def safe_threshold(scores: FloatArray, share: float, ranked: int) -> float:
    """A score that surely lets the first ``share`` of the ranked users pass.

    The share is widened by five standard errors of a quantile of the sample, and by ten users.

    Args:
        scores: Scores of the background sample [n].
        share: Share of the ranked users in the largest level.
        ranked: Users that the sample stands for.

    Returns:
        The threshold; minus infinity where everybody has to pass.
    """
    n = len(scores)
    margin = 5.0 * np.sqrt(share * (1.0 - share) / n) + 10.0 / n
    widened = share + (margin if n < ranked else 10.0 / n)
    return float(np.quantile(scores, 1.0 - widened)) if widened < 1.0 else -np.inf
