"""The verdict on an audience, in words. No Spark."""

from __future__ import annotations

import dataclasses

from kinsight.expand.evaluation import Line

WORTH_USING = 0.55
FAIR = 0.60
STRONG = 0.75


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How far an audience can be trusted.

    Attributes:
        word: none, weak, fair or strong.
        text: The verdict in words, with its figures.
        beats_activity: Whether the ranking is better than sorting by activity, beyond chance.
    """

    word: str
    text: str
    beats_activity: bool


def judge(chosen: Line, activity: Line, share: float) -> Verdict:
    """Judge an audience by its hidden seeds.

    Args:
        chosen: The line of the chosen scorer.
        activity: The activity line over the same users.
        share: Size level whose lift is told.
    """
    low, high = chosen.auc_interval
    beats_activity = chosen.surely_above(activity)
    if low <= 0.5 or chosen.auc < WORTH_USING:
        word, meaning = "none", "the ranking is no better than a random one: do not use it"
    elif not beats_activity:
        word = "weak"
        meaning = "sorting by the number of events would do as well: the list is of busy users"
        if chosen.auc > activity.auc:
            meaning = "not surely better than sorting by the number of events; more seeds may tell"
    elif chosen.auc < FAIR:
        word, meaning = "weak", "a faint signal: use small sizes only"
    elif chosen.auc < STRONG:
        word, meaning = "fair", "a clear signal: the first levels are much richer than the rest"
    else:
        word, meaning = "strong", "hidden seeds stand far up the ranking"
    lift = chosen.recall(share) / share
    figures = (
        f"AUC {chosen.auc:.3f} ({low:.3f} to {high:.3f}) on {len(chosen.of_seeds)} hidden seeds, "
        f"activity alone {activity.auc:.3f}, lift {lift:.1f} in the first {share:.2%}"
    )
    return Verdict(word, f"{word}: {meaning}; {figures}", beats_activity)
