"""How many segments a run makes: a fixed number, or the best of a range, kept over the dates."""

from __future__ import annotations

import dataclasses
from typing import Any

from kinsight.config import SegmentNumbers
from kinsight.progress import Progress
from kinsight.segment.algorithms.numbers import (
    Candidate,
    Choice,
    Fit,
    choose,
    measure,
    numbers_to_try,
)
from kinsight.segment.algorithms.spherical import Floats

# Each number costs eleven fits: on 10,000 users four seconds or so, and more users move the
# silhouette and the stability by less than the next draw of users does.
CHOOSING_USERS = 10_000
# Numbers tried at most; a wider range is tried at even ratios.
MOST_NUMBERS = 20


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The number of segments of a run, and what it was chosen from.

    Attributes:
        choice: The number and why.
        candidates: Every number that was tried, ascending.
    """

    choice: Choice
    candidates: tuple[Candidate, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Rows of table segment_choices, but for the columns of the producer key."""
        return [
            {
                "segments": candidate.segments,
                "silhouette": candidate.silhouette,
                "stability": candidate.stability,
                "stability_std": candidate.stability_std,
                "is_chosen": is_chosen,
                "choice_reason": self.choice.reason if is_chosen else None,
            }
            for candidate in self.candidates
            for is_chosen in [candidate.segments == self.choice.segments]
        ]


def choose_segments(
    points: Floats,
    numbers: SegmentNumbers,
    previous: int | None,
    fit: Fit,
    seed: int,
    progress: Progress,
) -> Chosen:
    """Try the numbers on the first ``CHOOSING_USERS`` points and choose one.

    Args:
        points: Unit rows [n, d] of fitting users in the order of their hash.
        numbers: The range, or one number; no larger than the points allow.
        previous: The number of the previous date; None where there is none.
        fit: As segments are fitted in earnest.
        seed: Seed of the halves and fits.
        progress: Where the numbers tried are counted.
    """
    tried = set(numbers_to_try(numbers.minimum, numbers.maximum, MOST_NUMBERS))
    if previous is not None and numbers.minimum <= previous <= numbers.maximum:
        tried.add(previous)
    rows = points[:CHOOSING_USERS]
    candidates = []
    with progress.bar("trying numbers of segments", len(tried)) as bar:
        for number in sorted(tried):
            candidates.append(measure(rows, number, fit, seed))
            if bar is not None:
                bar.update(bar.task_ids[0], advance=1, detail=f"{number} segments")
    return Chosen(choose(candidates, previous), tuple(candidates))
