"""The configuration: frozen models, one a stage, read from one YAML file.

Unknown keys are refused with the nearest known key named. Environment variables override single
values (``KINSIGHT__SEGMENT__SEGMENTS=12``), and relative paths are relative to the file.
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from kinsight.errors import ConfigError

ENVIRONMENT_PREFIX = "KINSIGHT__"

S = TypeVar("S", bound=BaseModel)


def _known_zone(zone: str) -> str:
    if zone not in available_timezones():
        near = difflib.get_close_matches(zone, available_timezones(), 1)
        raise ValueError(f"not a time zone{f'; did you mean {near[0]}?' if near else ''}")
    return zone


Share = Annotated[float, Field(gt=0, le=1)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Settings(BaseModel):
    """Base of all configuration models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def stable_hash(self) -> str:
        """Twelve hex digits that change only when a value changes."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class TablesConfig(Settings):
    """Where the Delta tables live: a folder, or a catalogue schema. Exactly one of the two."""

    path: str | None = Field(None, description="Folder or URI; each table is PATH/NAME.")
    catalogue_schema: str | None = Field(
        None, alias="schema", description="Catalogue schema such as spark_catalog.kinsight."
    )
    artifacts: str | None = Field(
        None, description="Folder for model files; PATH/_models by default, needed with `schema`."
    )

    @model_validator(mode="after")
    def _exactly_one_root(self) -> Self:
        if (self.path is None) == (self.catalogue_schema is None):
            raise ValueError("give either `path` or `schema`, not both and not neither")
        if self.path is None and self.artifacts is None:
            raise ValueError("`artifacts` (a folder for model files) is needed with `schema`")
        return self

    @property
    def artifact_root(self) -> str:
        """Folder that holds one folder a model version."""
        return self.artifacts or f"{self.path}/_models"


class SparkConfig(Settings):
    """Spark properties laid over spark-conf/local.conf; spark-submit's own come first."""

    master: str | None = Field(None, description="Such as local[4]; spark-submit's master wins.")
    conf: dict[str, str] = Field(default_factory=dict, description="Further Spark properties.")


class SourceConfig(Settings):
    """One source of rows: files of one shape and how their columns map to Kinsight's."""

    known_columns: ClassVar[tuple[str, ...]] = ()

    name: Name = Field(description="Name in ingested_files and quarantine.")
    path: str = Field(description="File, folder or glob.")
    format: Literal["csv", "json", "parquet"] | None = Field(
        None, description="By default from the file ending. json: one object a line."
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Spark reader options, such as {sep: ';'}."
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Kinsight column: source column, user.id for a nested one. Columns of equal "
        "name need no entry.",
    )
    constants: dict[str, str] = Field(
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
        description="Source event name, in upper or lower case: Kinsight event type.",
    )
    unlisted_event_types: Literal["keep", "quarantine"] = Field(
        "keep", description="What becomes of names that event_types does not list."
    )


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


class IngestConfig(Settings):
    """Stage `ingest`: raw files to events, items and users."""

    events: list[EventSourceConfig] = Field(min_length=1)
    items: list[ItemSourceConfig] = Field(default_factory=list)
    users: list[UserSourceConfig] = Field(default_factory=list)
    session_gap_minutes: float = Field(30, gt=0, description="Inactivity that ends a session.")
    max_quarantine_share: float = Field(
        0.1, ge=0, le=1, description="Above this share of refused rows a source is refused whole."
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

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [s.name for s in (*self.events, *self.items, *self.users)]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"source names must be unique; used twice: {', '.join(twice)}")
        return self


class SequenceConfig(Settings):
    """Stage `sequence`: events to vocabularies, sequences, user_features and user_bags."""

    lookback_days: int = Field(365, ge=1, description="Only events this close to as-of count.")
    max_length: int = Field(200, ge=2, le=5000, description="Latest events kept in a sequence.")
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
        None, ge=1, description="Level of the category path in sequences; the leaf by default."
    )
    category_shares: int = Field(
        20, ge=1, description="Root categories kept in user_features.category_shares."
    )


class ComponentConfig(BaseModel):
    """An encoder or objective by its registered name, with its own options as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `name` (and beside `weight`, for objectives)."""
        return dict(self.model_extra or {})


class ObjectiveConfig(ComponentConfig):
    """One objective and its weight in the sum."""

    weight: float = Field(1.0, gt=0)


class TrainConfig(Settings):
    """Stage `train`: sequences to one encoder."""

    encoder: ComponentConfig = ComponentConfig(name="transformer")
    objective: list[ObjectiveConfig] = Field(
        default_factory=lambda: [ObjectiveConfig(name="next_item")]
    )
    epochs: int = Field(20, ge=0, description="At most; early stopping ends sooner.")
    patience: int = Field(3, ge=1, description="Epochs without a better held-out loss.")
    batch_tokens: int = Field(8_192, ge=64, description="Events a batch, padding included.")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    holdout_share: Share = Field(0.1, description="Users kept for early stopping, by id hash.")
    minimum_length: int = Field(3, ge=2, description="Shorter histories are not trained on.")
    minimum_users: int = Field(50, ge=2, description="Fewer trainable users: refused.")
    seed: int = 7
    threads: int | None = Field(None, ge=1, description="Torch threads; all cores by default.")
    refresh_after_days: int = Field(
        90, ge=1, description="`kinsight run` trains anew when the model is older than this."
    )


class EmbedConfig(Settings):
    """Stage `embed`: sequences and a model to one vector a user, in the executors."""

    model_version: str | None = Field(
        None, description="By default the newest ready model whose as-of is not later."
    )
    batch_tokens: int = Field(4_096, ge=64, description="Events a batch, padding included.")


class SegmentConfig(Settings):
    """Stage `segment`: users, by what they take or by their vectors, to named segments."""

    name: Name = Field("main", description="Name of the segmentation.")
    input: Literal["embedding", "bags", "both"] = Field(
        "bags",
        description="What users are grouped by: the encoder's vectors, their user_bags (deepest "
        "category level, or items where there is none), or both, weighing the same.",
    )
    segments: int = Field(10, ge=2, le=1_000, description="Number of segments, cold aside.")
    minimum_events: int = Field(3, ge=1, description="Users with fewer events are cold.")
    minimum_share: float = Field(
        0.02, ge=0, lt=0.5, description="Smaller segments are dissolved into their neighbours."
    )
    maximum_share: Share = Field(0.3, description="Larger segments are split.")
    sample_users: int = Field(200_000, ge=100, description="Users the centroids are fitted on.")
    holdout_share: Share = Field(
        0.3, description="Users, by id hash, on whom names and rules are checked, not made."
    )
    iterations: int = Field(25, ge=1)
    restarts: int = Field(10, ge=1, description="The best of so many starts is kept.")
    match_threshold: float = Field(
        0.3, gt=0, le=1, description="Jaccard overlap from which a segment keeps its id."
    )
    seed: int = 7

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        if self.maximum_share < 2 * self.minimum_share:
            raise ValueError("`maximum_share` must be at least twice `minimum_share`")
        if self.segments * self.minimum_share > 1:
            raise ValueError(
                f"{self.segments} segments of at least {self.minimum_share:.1%} each are more "
                "than all users: lower `minimum_share` or `segments`"
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
    warn_below_seeds: int = Field(1_000, ge=25)
    sizes: SizesConfig = SizesConfig()
    folds: int = Field(5, ge=2, le=20, description="Held-out folds of the seeds.")
    background_users: int = Field(50_000, ge=100, description="Unlabelled users learned against.")
    maximum_seeds: int = Field(
        100_000, ge=1_000, description="Seeds learned from at most, by id hash; all are excluded."
    )
    valid_days: int = Field(30, ge=1)
    seed: int = 7


class ReportConfig(Settings):
    """Stage `report`: one self-contained HTML file a date."""

    folder: str = Field("./reports", description="Where report-DATE.html is written.")


class KinsightConfig(Settings):
    """The whole configuration of one shop."""

    shop: Name = "shop"
    shop_timezone: Zone = Field("UTC", description="Where midnight lies; hours and weekdays too.")
    tables: TablesConfig
    spark: SparkConfig = SparkConfig()
    ingest: IngestConfig
    sequence: SequenceConfig = SequenceConfig()
    train: TrainConfig = TrainConfig()
    embed: EmbedConfig = EmbedConfig()
    segment: SegmentConfig = SegmentConfig()
    expand: ExpandConfig = ExpandConfig()
    report: ReportConfig = ReportConfig()

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.shop_timezone)


def load_config(path: str | Path) -> KinsightConfig:
    """Read and check a configuration file.

    Args:
        path: YAML file. Relative paths inside it are resolved against its folder.

    Raises:
        ConfigError: If the file is missing, no YAML, or a key or value is wrong.
    """
    path = Path(path)
    data = read_yaml(path)
    overrides = {k: v for k, v in os.environ.items() if k.startswith(ENVIRONMENT_PREFIX)}
    return parse_settings(KinsightConfig, _resolve_paths(_override(data, overrides), path), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: If the file cannot be read or holds no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read {path}.",
            expected="a readable YAML file",
            found=error.strerror or str(error),
            to_do="check the path; `kinsight demo --help` shows where an example comes from",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not YAML.", expected="YAML text", found=str(error), to_do="mend that line"
        ) from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds no settings.",
            expected="`key: value` lines",
            found=type(data).__name__,
            to_do="start from one of the examples in jobs/conf",
        )
    return data


def parse_settings(model: type[S], data: Mapping[str, Any], source: Path) -> S:
    """Check a mapping against a settings model.

    Raises:
        ConfigError: Naming each wrong key with the nearest known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_describe(model, dict(e)) for e in error.errors()]
        raise ConfigError(
            f"{source}: {len(problems)} wrong setting{'s' if len(problems) > 1 else ''}.",
            expected="the keys and values that docs/configuration.md lists",
            found="; ".join(problems),
            to_do="mend them in the file",
        ) from None


def _describe(model: type[BaseModel], error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    where = ".".join(location) or "the file"
    if error["type"] != "extra_forbidden":
        return f"`{where}`: {error['msg'].removeprefix('Value error, ')}"
    known = _known_keys(model, location[:-1])
    near = difflib.get_close_matches(location[-1], known, 1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
    return f"unknown key `{where}` ({hint})"


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Keys of the settings model that stands at a place of the configuration."""
    for part in location:
        if part.isdigit():
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        inner = _settings_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return [f.alias or name for name, f in model.model_fields.items()]


def _settings_in(annotation: Any) -> type[BaseModel] | None:
    """The first settings model named in an annotation such as ``list[SourceConfig]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_settings_in(inner) for inner in getattr(annotation, "__args__", ()))
    return next((inner for inner in found if inner is not None), None)


def _override(data: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Lay ``KINSIGHT__STAGE__KEY=value`` variables over the file; values are read as YAML."""
    for variable, text in sorted(variables.items()):
        *folders, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        target = data
        for folder in folders:
            target = target.setdefault(folder, {})
        target[key] = yaml.safe_load(text)
    return data


def _resolve_paths(data: dict[str, Any], config_file: Path) -> dict[str, Any]:
    """Make local paths of the configuration absolute, relative to its folder."""
    base = config_file.resolve().parent

    def absolute(holder: Any, key: str) -> None:
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            holder[key] = absolute_path(holder[key], base)

    absolute(data.get("tables"), "path")
    absolute(data.get("tables"), "artifacts")
    absolute(data.get("expand"), "folder")
    report = data.setdefault("report", {})
    if isinstance(report, dict):
        report.setdefault("folder", "./reports")
        absolute(report, "folder")
    ingest = data.get("ingest")
    if isinstance(ingest, dict):
        for kind in ("events", "items", "users"):
            sources = ingest.get(kind)
            for source in sources if isinstance(sources, list) else []:
                absolute(source, "path")
    return data


def absolute_path(path: str, base: Path) -> str:
    """A path relative to a folder made absolute; URIs (``s3a://…``) and globs stay as they are."""
    if "://" in path:
        return path
    return os.path.normpath(base / Path(path).expanduser())
