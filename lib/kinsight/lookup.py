"""One segment, user, audience or run as published: what `kinsight show` and notebooks look at."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.dates import AsOf, parse_date
from kinsight.embed.model import choose_model, read_model
from kinsight.encoders.artifact import Artifact
from kinsight.errors import ConfigError, RefusedError
from kinsight.identities import links_known_at, spans_of, with_known_users
from kinsight.models import list_models
from kinsight.runs import RunRecord, newest_publication, producer_names
from kinsight.tables import table_names
from kinsight.titles import with_names, with_titles
from kinsight.workspace import Workspace

Facts = Mapping[str, Any]
LATEST_EVENTS = 10
FILTERED_IDS = 1_000
FIRST_INSTANT = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
EVENT_COLUMNS = ("event_time", "event_type", "item_id", "price", "quantity")


@dataclasses.dataclass(frozen=True)
class UserFacts:
    """What is known of one user at a date.

    Attributes:
        as_of: The date.
        features: The user's row of user_features.
        segments: The user's rows of segment_members, one a segmentation (and rank), with the name
            of the segment.
        audiences: The user's rows of audience_members, one an audience; often none.
        events: The latest events before the date, EVENT_COLUMNS and the title of the item, the
            newest first; times are in UTC.
    """

    as_of: dt.date
    features: Facts
    segments: list[Facts]
    audiences: list[Facts]
    events: list[Facts]


def published(
    workspace: Workspace, name: str, as_of: dt.date | str | None = None, **producer: str
) -> DataFrame:
    """The rows of a table that its newest succeeded run published.

    Args:
        workspace: Session, configuration and tables.
        name: Table.
        as_of: Exactly this date; the latest one by default.
        producer: Which of several, such as ``segmentation="main"``.

    Raises:
        ConfigError: If there is no such table, or the date is none.
        RefusedError: If no succeeded run published it.
    """
    if name not in table_names():
        raise ConfigError(
            f"There is no table {name}.",
            expected=", ".join(table_names()),
            found=name,
            to_do="correct the name",
        )
    date = parse_date(as_of) if isinstance(as_of, str) else as_of
    found = workspace.log.newest(name, as_of=date, producer=producer)
    if found is None:
        raise _unpublished(name, date, producer)
    rows = workspace.tables.read(name, found.version)
    # A vocabulary keeps the date that it was made for; later dates publish it once more.
    dated = "as_of" in rows.columns and name != "vocabularies"
    if found.record.as_of is not None and dated:
        rows = rows.where(F.col("as_of") == F.lit(found.record.as_of))
    for column, values in found.record.producer.items():
        if column in rows.columns:
            chosen = [producer[column]] if column in producer else values
            rows = rows.where(F.col(column).isin(chosen))
    return rows


def find_segment(
    workspace: Workspace, segment: str, date: dt.date | str | None, segmentation: str
) -> Facts:
    """The row of a segment.

    Raises:
        ConfigError: If the segmentation has none of that id.
        RefusedError: If nothing published it.
    """
    rows = published(workspace, "segments", date, segmentation=segmentation).collect()
    for row in rows:
        if row["segment_id"] == segment:
            return row.asDict(recursive=True)
    known = sorted(row["segment_id"] for row in rows)
    raise _unknown(segment, f"segments of {segmentation}", known)


def find_user(workspace: Workspace, user: str, date: dt.date | str | None) -> UserFacts:
    """What is known of a user.

    Raises:
        ConfigError: If the user has no history at the date.
        RefusedError: If nothing was published for it.
    """
    records = workspace.log.records()
    features = published(workspace, "user_features", date)
    row = features.where(F.col("user_id") == user).first()
    if row is None:
        known = [r[0] for r in features.select("user_id").orderBy("user_id").limit(3).collect()]
        raise ConfigError(
            f"User {user} has no history at this date.",
            expected=f"a user of user_features, such as {', '.join(known)}",
            found=user,
            to_do="check the id, or choose another --as-of",
        )
    as_of = row["as_of"]
    segments = _memberships(workspace, records, "segment_members", "segmentation", user, as_of)
    return UserFacts(
        as_of,
        row.asDict(recursive=True),
        with_names(workspace, records, segments, as_of),
        _memberships(workspace, records, "audience_members", "audience", user, as_of),
        with_titles(workspace, records, _latest_events(workspace, user, as_of), as_of),
    )


def find_audience(workspace: Workspace, name: str, date: dt.date | str | None) -> Facts:
    """The row of an audience.

    Raises:
        ConfigError: If there is none of that name.
        RefusedError: If nothing published it.
    """
    day = parse_date(date) if isinstance(date, str) else date
    known = producer_names(workspace.log.records(), "audiences", "audience", day)
    if name not in known:
        raise _unknown(name, "audiences", known)
    [row] = published(workspace, "audiences", day, audience=name).collect()
    found: Facts = row.asDict(recursive=True)
    return found


def find_model(
    workspace: Workspace, as_of: dt.date | str | None, model_version: str | None
) -> Artifact:
    """The files of the model that stage `embed` would take.

    Args:
        workspace: Session, configuration and tables.
        as_of: Date of what it is to encode; by default any model will do.
        model_version: A certain model; by default that of the configuration, else the newest.

    Raises:
        RefusedError: If no run trained such a model, or it has seen events after the date.
        IntegrityError: If its files are missing or damaged.
    """
    date = parse_date(as_of) if isinstance(as_of, str) else as_of
    wanted = model_version or workspace.config.embed.model_version
    producer = {} if wanted is None else {"model_version": wanted}
    up_to = date if wanted is None else None
    found = workspace.log.newest("models", not_after=up_to, producer=producer)
    if found is None:
        raise _unpublished("models", date, producer)
    models = list_models(workspace.tables.read("models", found.version))
    latest = max(m.as_of for m in models)
    return read_model(workspace.config.tables, choose_model(models, date or latest, wanted))


def find_run(workspace: Workspace, run_id: str) -> RunRecord:
    """A run by its id, or by the beginning of it.

    Raises:
        ConfigError: If it names no run, or several.
    """
    records = [r for r in workspace.log.records() if r.run_id.startswith(run_id)]
    if len(records) != 1:
        raise ConfigError(
            f"{run_id} names {len(records)} runs.",
            expected="the id of one run, or enough of its beginning",
            found=", ".join(r.run_id for r in records[:5]) or "none",
            to_do="`kinsight runs` lists them",
        )
    return records[0]


def _memberships(
    workspace: Workspace,
    records: Sequence[RunRecord],
    table: str,
    key: str,
    user: str,
    as_of: dt.date,
) -> list[Facts]:
    """The user's rows of every producer of a date, each at its newest publication.

    One look at the table for each publication, however many producers it has.
    """
    names: dict[int, list[str]] = {}
    for name in producer_names(records, table, key, as_of):
        found = newest_publication(records, table, as_of=as_of, producer={key: name})
        if found is not None:
            names.setdefault(found.version, []).append(name)
    rows: list[Facts] = []
    for version, of_version in names.items():
        of_user = (F.col("user_id") == user) & (F.col("as_of") == F.lit(as_of))
        members = workspace.tables.read(table, version).where(of_user & F.col(key).isin(of_version))
        rows += [row.asDict() for row in members.collect()]
    return sorted(rows, key=lambda row: str(row[key]))


def _latest_events(workspace: Workspace, user: str, as_of: dt.date) -> list[Facts]:
    """The user's newest events before the date, as the run of its features saw them."""
    rows = (
        _events_of(workspace, user, as_of)
        .where(F.col("event_time") < F.lit(workspace.as_of(as_of).instant))
        .orderBy(F.desc("event_time"), F.desc("event_id"))
        .limit(LATEST_EVENTS)
        .select(*EVENT_COLUMNS)
    )
    # Spark gives local times.
    return [
        row.asDict() | {"event_time": row["event_time"].astimezone(dt.timezone.utc)}
        for row in rows.collect()
    ]


def _events_of(workspace: Workspace, user: str, as_of: dt.date) -> DataFrame:
    """A user's events as `sequence` read them, those under anonymous ids too."""
    made_from = workspace.log.newest("user_features", as_of=as_of)
    inputs = made_from.record.inputs if made_from else {}
    events = workspace.tables.read("events", inputs.get("events"))
    if "identities" not in inputs:
        return events.where(F.col("user_id") == user)
    identities = workspace.tables.read("identities", inputs["identities"])
    return events_under(events, identities, user, workspace.as_of(as_of))


def events_under(events: DataFrame, identities: DataFrame, user: str, as_of: AsOf) -> DataFrame:
    """A user's events by what was known of anonymous ids at a date; reads few of the others'."""
    own = identities.where(F.col("user_id") == user).select("anonymous_id").distinct()
    ids = [row[0] for row in own.limit(FILTERED_IDS + 1).collect()]
    if len(ids) > FILTERED_IDS:  # a till or a call centre: too many to write into a filter
        identities = identities.join(own, "anonymous_id", "left_semi")
        theirs = own.select(F.col("anonymous_id").alias("user_id"))
        events = events.where(F.col("user_id") == user).unionByName(
            events.where(F.col("user_id") != user).join(theirs, "user_id", "left_semi")
        )
    else:
        identities = identities.where(F.col("anonymous_id").isin(ids))
        # Before the join, and not by one, so that files without them are not read.
        events = events.where(F.col("user_id").isin([user, *ids]))
    links = links_known_at(identities, as_of.instant)
    events = with_known_users(events, spans_of(links, FIRST_INSTANT))
    return events.where(F.col("user_id") == user)


def _unpublished(name: str, date: dt.date | None, producer: Mapping[str, str]) -> RefusedError:
    wanted = ", ".join([*([str(date)] if date else []), *map("=".join, producer.items())])
    return RefusedError(
        f"Nothing published {name} yet.",
        expected=f"a succeeded run{f' for {wanted}' if wanted else ''}",
        found="none in table runs",
        to_do="`read.runs(config)` lists what there is; `kinsight run` makes more",
    )


def _unknown(value: str, what: str, known: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"There is no {value} among the {what}.",
        expected=", ".join(known) or "none yet: run the stages first",
        found=value,
        to_do="name one of them, or choose another --as-of",
    )
