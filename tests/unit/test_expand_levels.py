"""Size levels: nested, exact, named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kinsight.config import SizesConfig
from kinsight.expand.levels import reference_level, size_levels

SIZES = st.builds(
    SizesConfig,
    shares=st.lists(st.floats(0.001, 1), min_size=1, max_size=6),
    counts=st.lists(st.integers(1, 10_000), max_size=4),
)


def test_shares_and_counts_are_exact() -> None:
    levels = size_levels(SizesConfig(shares=[0.01, 0.1, 0.29], counts=[25, 5_000]), 1_000)
    named = [(level.name, level.reach, level.share) for level in levels]
    assert named == [
        ("1%", 10, 0.01),
        ("25", 25, 0.025),
        ("10%", 100, 0.1),
        ("29%", 290, 0.29),
        ("5000", 1_000, 1.0),
    ]


def test_a_share_of_few_users_is_at_least_one_and_equal_sizes_are_one_level() -> None:
    levels = size_levels(SizesConfig(shares=[0.01, 0.02, 0.05], counts=[1]), 40)
    assert [(level.name, level.reach) for level in levels] == [("1%", 1), ("5%", 2)]


@given(SIZES, st.integers(1, 100_000))
def test_levels_are_nested_and_within_the_ranked_users(sizes: SizesConfig, ranked: int) -> None:
    levels = size_levels(sizes, ranked)
    reaches = [level.reach for level in levels]
    assert reaches == sorted(set(reaches))
    assert reaches[0] >= 1
    assert reaches[-1] <= ranked
    assert len({level.name for level in levels}) == len(levels)


def test_figures_are_told_at_the_level_nearest_to_ten_percent() -> None:
    levels = size_levels(SizesConfig(shares=[0.01, 0.08, 0.2]), 1_000)
    assert reference_level(levels).name == "8%"
