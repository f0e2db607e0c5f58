"""Stage `ingest`: sources of rows, and how their columns map to Kinsight's."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from kinsight.config.base import Name, Settings, Texts, Zone

EVENT_TYPES = ("view", "click", "cart", "favourite", "purchase", "return", "redeem")
"""What Kinsight knows; a shop may have others, but none that is one of these misspelt."""
ALMOST = 0.8


class SourceConfig(Settings):
    """One source of rows: files of one shape and how their columns map to Kinsight's."""

    known_columns: ClassVar[tuple[str, ...]] = ()

    name: Name = Field(description="Name in ingested_files and quarantine.")
    path: str | None = Field(None, description="File, folder, glob, or folder of a Delta table.")
    table: str | None = Field(
        None, description="Delta table by its name in Spark's catalogue, in place of `path`."
    )
    format: Literal["csv", "delta", "json", "parquet"] | None = Field(
        None,
        description="By default from the file ending; delta where there is a _delta_log. json: "
        "one object a line.",
    )
    options: Texts = Field(
        default_factory=dict,
        description="Spark's options of CSV files, such as {sep: ';'}; without a header "
        "{header: false}, columns are then _c0, _c1 and so on. JSON lines take "
        "`encoding` only, Parquet none.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Kinsight column: source column, user.id for a nested one. Columns of equal "
        "name need no entry.",
    )
    constants: Texts = Field(
        default_factory=dict, description="Kinsight column: one value for every row."
    )
    time_format: str | None = Field(
        None, description="Spark datetime pattern, or epoch_seconds or epoch_milliseconds."
    )
    timezone: Zone | None = Field(
        None, description="Zone of times that carry none; UTC by default."
    )

    @model_validator(mode="after")
    def _columns_are_kinsights(self) -> Self:
        for column in (*self.columns, *self.constants):
            if column not in self.known_columns:
                near = difflib.get_close_matches(column, self.known_columns, 1)
                hint = f"did you mean `{near[0]}`?" if near else ", ".join(self.known_columns)
                raise ValueError(f"`{column}` is no column of Kinsight ({hint})")
        twice = sorted({*self.columns} & {*self.constants})
        if twice:
            raise ValueError(f"both in `columns` and in `constants`: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.table is None):
            raise ValueError("give either `path` or `table`, not both and not neither")
        if self.table is not None and self.format not in (None, "delta"):
            raise ValueError(f"a `table` is read as delta, not as {self.format}")
        if self.options and (self.table is not None or self.format == "delta"):
            raise ValueError("`options` are for files; a Delta table takes none")
        return self


class EventSourceConfig(SourceConfig):
    """A source of events. Columns: see schemas/events.sql; `amount` (line total) gives `price`."""

    known_columns: ClassVar[tuple[str, ...]] = (
        "user_id",
        "event_time",
        "event_type",
        "event_id",
        "item_id",
        "category",
        "brand",
        "price",
        "quantity",
        "amount",
        "session_id",
        "channel",
        "country",
    )

    event_types: dict[str, str] = Field(
        default_factory=dict,
        description="Source event name, in upper or lower case: Kinsight event type, which is "
        f"one of {', '.join(EVENT_TYPES)}, or a name of your own.",
    )
    unlisted_event_types: Literal["keep", "quarantine"] = Field(
        "keep", description="What becomes of names that event_types does not list."
    )

    @model_validator(mode="after")
    def _event_types_are_not_misspelt(self) -> Self:
        constant = self.constants.get("event_type")
        for name in (*self.event_types.values(), *([] if constant is None else [constant])):
            near = difflib.get_close_matches(name.strip().lower(), EVENT_TYPES, 1, cutoff=ALMOST)
            if near and name != near[0]:
                raise ValueError(f"event type `{name}`: did you mean `{near[0]}`?")
        return self


class ItemSourceConfig(SourceConfig):
    """A source of items. Columns: item_id, brand, title, price, valid_from."""

    known_columns: ClassVar[tuple[str, ...]] = ("item_id", "brand", "title", "price", "valid_from")

    category_path: list[str] = Field(
        default_factory=list, description="Source columns of the category path, root first."
    )
    attributes: list[str] = Field(
        default_factory=list, description="Source columns kept in the attributes map."
    )


class UserSourceConfig(SourceConfig):
    """A source of users. Columns: user_id, valid_from."""

    known_columns: ClassVar[tuple[str, ...]] = ("user_id", "valid_from")

    attributes: list[str] = Field(
        default_factory=list, description="Source columns kept in the attributes map."
    )
    consent: list[str] = Field(
        default_factory=list, description="Boolean source columns kept in the consent map."
    )


class IdentitySourceConfig(SourceConfig):
    """A source of links from anonymous ids to users, such as a log of logins.

    Columns: see schemas/identities.sql; a log of logins needs anonymous_id, user_id and known_from.
    """

    known_columns: ClassVar[tuple[str, ...]] = (
        "anonymous_id",
        "user_id",
        "known_from",
        "valid_from",
        "valid_to",
    )


class IngestConfig(Settings):
    """Stage `ingest`: raw files to events, items, users and identities."""

    events: list[EventSourceConfig] = Field(min_length=1)
    items: list[ItemSourceConfig] = Field(default_factory=list)
    users: list[UserSourceConfig] = Field(default_factory=list)
    identities: list[IdentitySourceConfig] = Field(default_factory=list)
    session_gap_minutes: float = Field(30, gt=0, description="Inactivity that ends a session.")
    max_quarantine_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="If more than this share of a source's newly read rows would be refused, the "
        "run is refused and writes nothing, quarantine included.",
    )
    on_unreadable_file: Literal["refuse", "skip"] = Field(
        "refuse", description="skip: leave the file for the next run, with a warning."
    )
    earliest_event: dt.date = Field(
        dt.date(1990, 1, 1), description="Events before this date are quarantined as impossible."
    )
    latest_event: dt.date | None = Field(
        None,
        description="Events on or after this date are quarantined; a day after now by default.",
    )

    def sources(self) -> tuple[SourceConfig, ...]:
        """All sources, whatever their rows become."""
        return (*self.events, *self.items, *self.users, *self.identities)

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [s.name for s in self.sources()]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"source names must be unique; used twice: {', '.join(twice)}")
        return self
