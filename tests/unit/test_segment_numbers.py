"""The number of segments, chosen on planted groups and on noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from kinsight.config import SegmentConfig, SegmentNumbers
from kinsight.progress import Progress
from kinsight.segment.algorithms.numbers import Candidate, Choice, choose, measure, numbers_to_try
from kinsight.segment.algorithms.spherical import Floats, unit_rows
from kinsight.segment.choosing import Chosen, choose_segments
from kinsight.segment.fitting import fit_within

FIT = fit_within(SegmentConfig(iterations=15, restarts=5, maximum_share=0.8))
RANGE = SegmentNumbers(minimum=3, maximum=9)


def planted(groups: int, users: int = 900, noise: float = 0.15) -> Floats:
    """Users around directions that are orthogonal to each other."""
    rng = np.random.default_rng(3)
    taste = rng.integers(0, groups, users)
    return unit_rows(np.eye(16)[taste] + rng.normal(0, noise, (users, 16)))


def chosen_for(points: Floats, numbers: SegmentNumbers, previous: int | None = None) -> Chosen:
    return choose_segments(points, numbers, previous, FIT, 7, Progress(quiet=True))


@pytest.mark.parametrize("groups", [4, 6])
def test_the_planted_number_of_groups_is_found(groups: int) -> None:
    chosen = chosen_for(planted(groups), RANGE)
    assert chosen.choice.segments == groups
    assert chosen.choice.is_stable
    assert [row["segments"] for row in chosen.rows()] == [3, 4, 5, 6, 7, 8, 9]
    [of_chosen] = [row for row in chosen.rows() if row["is_chosen"]]
    assert of_chosen["segments"] == groups
    assert of_chosen["stability"] > 0.99
    assert of_chosen["silhouette"] == max(row["silhouette"] for row in chosen.rows())


def test_noise_gets_the_fewest_segments_and_shows_a_low_stability() -> None:
    noise = unit_rows(np.random.default_rng(1).normal(size=(900, 16)))
    chosen = chosen_for(noise, RANGE)
    assert (chosen.choice.segments, chosen.choice.is_stable) == (3, False)
    assert "agree on none" in chosen.choice.reason
    assert max(row["stability"] for row in chosen.rows()) < 0.3


def test_the_same_users_give_the_same_curve_to_the_last_bit() -> None:
    points = planted(4, users=300, noise=0.4)
    first, second = (chosen_for(points, SegmentNumbers(minimum=3, maximum=5)) for _ in range(2))
    assert first == second


def test_a_fixed_number_is_taken_and_measured() -> None:
    chosen = chosen_for(planted(4, users=300), SegmentNumbers(minimum=5, maximum=5), previous=4)
    assert [(row["segments"], row["is_chosen"]) for row in chosen.rows()] == [(5, True)]


def test_few_users_are_measured_too() -> None:
    points = planted(4, users=12)
    assert -1 <= measure(points, 8, FIT, seed=1).stability <= 1


def curve(**changes: dict[int, float]) -> list[Candidate]:
    """Candidates 5 to 9, all alike but for the changes."""
    return [
        dataclasses.replace(
            Candidate(k, k, 0.10, 0.70, 0.05),
            **{name: values[k] for name, values in changes.items() if k in values},
        )
        for k in range(5, 10)
    ]


class TestChoose:
    """The rule, on curves written by hand."""

    def test_of_stable_ones_the_largest_silhouette_wins(self) -> None:
        assert choose(curve(silhouette={8: 0.12}), None).segments == 8

    def test_a_large_silhouette_that_other_users_do_not_bear_out_does_not(self) -> None:
        found = choose(curve(silhouette={7: 0.11, 8: 0.3}, stability={8: 0.6}), None)
        assert found.segments == 7

    def test_of_equals_the_fewest_win(self) -> None:
        assert choose(curve(silhouette={8: 0.101}), None).segments == 5

    def test_a_number_that_the_size_limits_change_is_left_out_unless_all_are(self) -> None:
        assert choose(curve(made={5: 6}), None).segments == 6
        assert choose(curve(made={5: 6, 6: 7, 7: 8, 8: 9, 9: 10}), None).segments == 5

    def test_the_number_of_the_date_before_stays_unless_another_is_clearly_better(self) -> None:
        assert choose(curve(), 7) == Choice(
            7, "that of the date before, no other is clearly better", True
        )
        assert choose(curve(silhouette={6: 0.105}), 7).segments == 7
        assert choose(curve(silhouette={6: 0.12}), 7).segments == 6
        assert choose(curve(stability={7: 0.66}), 7).segments == 7
        assert choose(curve(stability={7: 0.5}), 7).segments == 5

    def test_a_number_outside_the_range_does_not_stay(self) -> None:
        assert choose(curve(silhouette={8: 0.12}), 10).segments == 8

    def test_where_nothing_is_stable_the_number_does_not_jump(self) -> None:
        unstable = curve(stability=dict.fromkeys(range(5, 10), 0.1) | {6: 0.3})
        assert choose(unstable, 8) == Choice(
            8, "that of the date before, no other is clearly better", False
        )
        assert choose(unstable, None).segments == 5


def test_a_wide_range_is_tried_at_even_ratios_and_at_the_number_of_the_date_before() -> None:
    assert numbers_to_try(2, 200, 20)[0] == 2
    assert numbers_to_try(2, 200, 20)[-1] == 200
    assert len(numbers_to_try(2, 200, 20)) <= 20
    points = planted(4, users=200)
    wide = SegmentNumbers(minimum=2, maximum=40)
    tried = [row["segments"] for row in chosen_for(points, wide, previous=33).rows()]
    assert 33 in tried
    assert len(tried) <= 21


def test_a_plain_number_and_a_range_are_understood_and_nothing_else() -> None:
    read = SegmentConfig.model_validate
    assert read({"segments": 12}).segments == SegmentNumbers(minimum=12, maximum=12)
    assert read({"segments": 12}).model_dump()["segments"] == 12
    both = {"minimum": 5, "maximum": 15}
    assert read({"segments": both}).model_dump()["segments"] == both
    for wrong in (1, 2_000, True, "many", {"minimum": 9, "maximum": 3}, {"least": 3}, 4.5):
        with pytest.raises(ValidationError):
            read({"segments": wrong})
    with pytest.raises(ValidationError, match="60 segments"):
        read({"segments": {"minimum": 5, "maximum": 60}})
