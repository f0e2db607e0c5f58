"""Stages `sequence`, `segment`, `expand` and `report`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator
from typing_extensions import Self

from kinsight.config.base import Name, Settings, Share

Cross = Annotated[str, Field(pattern=r"^((brand|price)_in_category(_[1-9]\d?)?|price_in_brand)$")]


LEAF = "leaf"
"""Names the deepest level of the category path."""


class SequenceConfig(Settings):
    """Stage `sequence`: events to vocabularies, sequences, user_features and user_bags."""

    lookback_days: int = Field(365, ge=1, description="Only events this close to as-of count.")
    max_length: int = Field(
        1_000,
        ge=2,
        le=5_000,
        description="Latest events kept in a sequence; encoders may read fewer (`latest_events`).",
    )
    hot_user_events: int = Field(
        20_000, ge=10, description="A user with more events keeps only this many, the latest."
    )
    vocabulary_size: int = Field(
        200_000, ge=1, description="Tokens a field at most, the most frequent."
    )
    minimum_token_users: int = Field(
        2, ge=1, description="A token met by fewer users is unknown (1)."
    )
    hash_buckets: int = Field(
        1_024, ge=1, description="Buckets kept beside tokens; no present encoder reads them."
    )
    price_buckets: int = Field(10, ge=1, description="Quantile buckets of the unit price.")
    category_level: int | None = Field(
        None,
        ge=1,
        description="Level of the category path in sequences; the leaf by default. Another level "
        "asks for a new model.",
    )
    category_shares: int = Field(
        20, ge=1, description="Root categories kept in user_features.category_shares."
    )
    crosses: list[Cross] = Field(
        default_factory=lambda: ["brand_in_category", "price_in_category"],
        description="Fields that user_bags have for the scorers of audiences, beside items, brands "
        "and categories: `brand` or `price` (the fifth of its product by mean price) in "
        "`category` (the deepest), in `category_N`, or `price_in_brand`.",
    )

    @property
    def category_of_sequences(self) -> str:
        """The level of the category path, or `leaf`: what tells sequences from others."""
        return LEAF if self.category_level is None else f"{self.category_level}"

    @model_validator(mode="after")
    def _each_cross_once(self) -> Self:
        if len(set(self.crosses)) < len(self.crosses):
            raise ValueError("`crosses` names a field twice")
        return self


class SegmentNumbers(Settings):
    """A range of numbers of segments, of which `segment` takes the best; or one plain number."""

    minimum: int = Field(ge=2, le=1_000, description="The fewest segments, cold aside.")
    maximum: int = Field(ge=2, le=1_000, description="The most; at most 20 numbers are tried.")

    @model_validator(mode="before")
    @classmethod
    def _plain_number(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 2 <= value <= 1_000:
                raise ValueError("the number of segments lies between 2 and 1,000")
            return {"minimum": value, "maximum": value}
        if not isinstance(value, dict | cls):
            raise ValueError("not a whole number, and no range such as {minimum: 5, maximum: 15}")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError("`minimum` is larger than `maximum`")
        return self

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            return str(self.minimum)
        return f"{self.minimum} to {self.maximum}"

    @model_serializer
    def _plain(self) -> int | dict[str, int]:
        if self.minimum == self.maximum:
            return self.minimum
        return {"minimum": self.minimum, "maximum": self.maximum}


class SegmentConfig(Settings):
    """Stage `segment`: users, by what they take or by their vectors, to named segments."""

    name: Name = Field("main", description="Name of the segmentation.")
    input: Literal["embedding", "bags", "both"] = Field(
        "bags",
        description="What users are grouped by: the encoder's vectors, their user_bags (deepest "
        "category level, or items where there is none), or both, weighing the same.",
    )
    segments: SegmentNumbers = Field(
        SegmentNumbers(minimum=10, maximum=10),
        description="Number of segments, cold aside; or a range such as "
        "`{minimum: 5, maximum: 15}`, of which the number is taken that tells users apart best "
        "among those that other samples find again.",
    )
    minimum_events: int = Field(3, ge=1, description="Users with fewer events are cold.")
    minimum_share: float = Field(
        0.02, ge=0, lt=0.5, description="Smaller segments are dissolved into their neighbours."
    )
    maximum_share: Share = Field(0.3, description="Larger segments are split, but not equal users.")
    sample_users: int = Field(200_000, ge=100, description="Users the centroids are fitted on.")
    holdout_share: Share = Field(
        0.3, description="Users, by id hash, on whom names and rules are checked, not made."
    )
    iterations: int = Field(25, ge=1)
    restarts: int = Field(
        50,
        ge=1,
        description="At most so many starts, of which the best is kept; over ten segments fewer: "
        "500 / segments.",
    )
    match_threshold: float = Field(
        0.3, gt=0, le=1, description="Jaccard overlap from which a segment keeps its id."
    )
    seed: int = 7

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        if self.maximum_share < 2 * self.minimum_share:
            raise ValueError("`maximum_share` must be at least twice `minimum_share`")
        if self.segments.maximum * self.minimum_share > 1:
            raise ValueError(
                f"{self.segments.maximum} segments of at least {self.minimum_share:.1%} each are "
                "more than all users: lower `minimum_share` or `segments`"
            )
        return self


class SizesConfig(Settings):
    """Nested size levels of an audience: shares of the ranked users, counts, or both."""

    shares: list[Share] = Field(default_factory=lambda: [0.01, 0.02, 0.05, 0.10, 0.20])
    counts: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)


class ExpandConfig(Settings):
    """Stage `expand`: seed lists to audiences. Each audience is one YAML file in `folder`."""

    folder: str | None = Field(None, description="Folder of audience files.")
    minimum_seeds: int = Field(100, ge=25, description="Fewer matched seeds: refused.")
    warn_below_seeds: int = Field(1_000, ge=25, description="Fewer matched seeds: a warning.")
    sizes: SizesConfig = SizesConfig()
    folds: int = Field(5, ge=2, le=20, description="Held-out folds of the seeds.")
    budget_seconds: float = Field(
        1_800,
        gt=0,
        description="Estimated seconds an audience that `auto` may spend on trying scorers, the "
        "cheapest first.",
    )
    fit_in: Literal["driver", "executors"] = Field(
        "driver",
        description="Where audiences are fitted: in the driver, one after the other; or in the "
        "executors, one a task, which is for many audiences on a cluster.",
    )
    processes: int | None = Field(
        None,
        ge=1,
        description="Processes of the driver that fit scorers side by side, where it fits "
        "audiences; without it, one a core, 8 at most. Results do not depend on it.",
    )
    background_users: int = Field(50_000, ge=100, description="Unlabelled users learned against.")
    maximum_seeds: int = Field(
        100_000, ge=1_000, description="Seeds learned from at most, by id hash; all are excluded."
    )
    valid_days: int = Field(30, ge=1, description="Days until `valid_until`.")
    seed: int = 7


class ReportConfig(Settings):
    """Stage `report`: one self-contained HTML file a date."""

    folder: str = Field("./reports", description="Where report-DATE.html is written.")
