"""What `kinsight show` and `kinsight runs` print: one segment, user, audience or run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kinsight.errors import ConfigError, RefusedError
from kinsight.read import published
from kinsight.runs import RunRecord, producer_names
from kinsight.sequence.identities import links_known_at, spans_of, with_known_users
from kinsight.workspace import Workspace

Facts = Mapping[str, Any]
TERMS_SHOWN = 8
SHARES_SHOWN = 6
LATEST_EVENTS = 10
_FIRST = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def show_segment(
    workspace: Workspace, segment: str, date: dt.date | None, segmentation: str
) -> Iterable[Table]:
    """A segment by its id: what it is, how its members differ, what they take."""
    rows = published(workspace, "segments", date, segmentation=segmentation)
    row = _one(rows.collect(), "segment_id", segment, f"segments of {segmentation}")
    yield _facts(
        f"{row['segment_id']} {row['name']}",
        {
            "as of": row["as_of"],
            "users": f"{row['size']:,} ({row['share']:.1%})",
            "about": row["description"],
            "rule": row["rule"],
            "rule holds": _rule_fit(row),
        },
    )
    profile = Table(title="Profile", title_justify="left", show_edge=False)
    for column in ("mean of", "here", "everybody"):
        profile.add_column(column, justify="left" if column == "mean of" else "right")
    for name in _most_different(row["profile"], row["base_profile"]):
        profile.add_row(name, _number(row["profile"][name]), _number(row["base_profile"][name]))
    yield profile
    for kind in ("categories", "brands", "items"):
        if row[f"top_{kind}"]:
            yield _terms(kind, row[f"top_{kind}"])


def show_user(workspace: Workspace, user: str, date: dt.date | None) -> Iterable[Table]:
    """A user by id: features, segments, audiences, the latest events before the date."""
    features = published(workspace, "user_features", date)
    row = features.where(F.col("user_id") == user).first()
    if row is None:
        known = [r[0] for r in features.select("user_id").orderBy("user_id").limit(3).collect()]
        raise RefusedError(
            f"User {user} has no history at this date.",
            expected=f"a user of user_features, such as {', '.join(known)}",
            found=user,
            to_do="check the id, or choose another --as-of",
        )
    facts = row.asDict()
    as_of = facts.pop("as_of")
    plain = {k: v for k, v in facts.items() if not isinstance(v, (bool, str, dict, list))}
    yield _facts(
        f"User {user} as of {as_of}",
        {k: None if v is None else _number(v) for k, v in plain.items()},
    )
    for table, key, columns in (
        ("segment_members", "segmentation", ("segment_id", "confidence", "second_segment_id")),
        ("audience_members", "audience", ("rank", "percentile", "level")),
    ):
        found = _memberships(workspace, table, key, user, as_of)
        if found:
            yield _rows(table.replace("_", " "), (key, *columns), found)
    events = _events_of(workspace, user, as_of)
    shown = ("event_time", "event_type", "item_id", "price", "quantity")
    latest = (
        events.where(F.col("event_time") < F.lit(workspace.as_of(as_of).instant))
        .orderBy(F.desc("event_time"), F.desc("event_id"))
        .limit(LATEST_EVENTS)
        .select(*shown)
    )
    yield _rows("latest events (UTC)", shown, [r.asDict() for r in latest.collect()])


def _events_of(workspace: Workspace, user: str, as_of: dt.date) -> DataFrame:
    """A user's events as `sequence` read them, those under anonymous ids too."""
    made_from = workspace.log.newest("user_features", as_of=as_of)
    inputs = made_from.record.inputs if made_from else {}
    events = workspace.tables.read("events", inputs.get("events"))
    if "identities" in inputs:
        identities = workspace.tables.read("identities", inputs["identities"])
        own = identities.where(F.col("user_id") == user).select("anonymous_id").distinct()
        links = links_known_at(
            identities.join(own, "anonymous_id", "left_semi"), workspace.as_of(as_of).instant
        )
        events = with_known_users(events, F.broadcast(spans_of(links, _FIRST)))
    return events.where(F.col("user_id") == user)


def show_audience(workspace: Workspace, name: str, date: dt.date | None) -> Iterable[Table]:
    """An audience by name: its seeds, verdict, scorers and levels, or why it was refused."""
    known = producer_names(workspace.log.records(), "audiences", "audience", date)
    if name not in known:
        raise _unknown(name, "audiences", known)
    [row] = published(workspace, "audiences", date, audience=name).collect()
    sent = ("sent", "duplicate", "unknown", "ineligible", "matched", "needed")
    yield _facts(
        f"{name} as of {row['as_of']}: {row['status']}",
        {
            "refused": row["refusal_reason"],
            "verdict": row["verdict_text"],
            "seeds": ", ".join(f"{row[f'seeds_{part}']:,} {part}" for part in sent),
            "eligible": f"{row['users_eligible']:,}, {row['users_suppressed']:,} suppressed",
            "members": f"{row['members']:,}",
            "scorer": row["scorer_reason"],
            "churn": None if row["churn"] is None else f"{row['churn']:.1%}",
            "valid until": row["valid_until"],
        },
    )
    if row["scorers"]:
        columns = ("scorer", "auc", "auc_std", "recall", "lift")
        yield _rows("scorers on hidden seeds", columns, [s.asDict() for s in row["scorers"]])
    if row["levels"]:
        shown = ("level", "share", "reach", "held_out_recall")
        yield _rows("levels", shown, [level.asDict() for level in row["levels"]])


def show_run(workspace: Workspace, run_id: str) -> Iterable[Table]:
    """A run by its id, or the beginning of it: inputs, outputs, counts, metrics, warnings."""
    records = [r for r in workspace.log.records() if r.run_id.startswith(run_id)]
    if len(records) != 1:
        raise ConfigError(
            f"{run_id} names {len(records)} runs.",
            expected="the id of one run, or enough of its beginning",
            found=", ".join(r.run_id for r in records[:5]) or "none",
            to_do="`kinsight runs` lists them",
        )
    [record] = records
    yield _facts(
        f"{record.run_id}: {record.status}",
        {
            "stage": record.stage,
            "as of": record.as_of,
            "seconds": f"{(record.finished_at - record.started_at).total_seconds():.1f}",
            "produced": "; ".join(f"{k} {', '.join(v)}" for k, v in record.producer.items()),
            "read": _versions(record.inputs),
            "wrote": _versions(record.outputs),
            "message": record.message,
            "settings": f"{record.config_hash} {record.config}",
            "code": record.code_version,
        },
    )
    yield _facts("counts", {k: f"{v:,}" for k, v in sorted(record.counts.items())})
    yield _facts("metrics", {k: _number(v) for k, v in sorted(record.metrics.items())})
    if record.warnings:
        yield _facts("warnings", {str(n): w for n, w in enumerate(record.warnings, 1)})


def list_runs(records: Sequence[RunRecord], most: int) -> Table:
    """The newest runs, the last one at the bottom."""
    columns = ("run", "stage", "as of", "status", "seconds", "warnings", "message")
    shown = [
        {
            "run": r.run_id,
            "stage": r.stage,
            "as of": r.as_of,
            "status": r.status,
            "seconds": (r.finished_at - r.started_at).total_seconds(),
            "warnings": len(r.warnings) or None,
            "message": (r.message or "").partition("\n")[0],
        }
        for r in records[-most:]
    ]
    return _rows(f"{len(shown)} of {len(records)} runs", columns, shown)


def print_all(console: Console, tables: Iterable[Table]) -> None:
    """Print tables with a line between them."""
    for table in tables:
        console.print(table)
        console.print()


def _most_different(here: Facts, everybody: Facts) -> list[str]:
    """The plain features, then the shares that are largest here beside everybody's."""
    both = sorted(set(here) & set(everybody))
    shares = [name for name in both if "[" in name and here[name] > everybody[name]]
    shares.sort(key=lambda name: everybody[name] / here[name])
    return [*(name for name in both if "[" not in name), *shares[:SHARES_SHOWN]]


def _memberships(
    workspace: Workspace, table: str, key: str, user: str, as_of: dt.date
) -> list[Facts]:
    """The user's rows of every producer of a date, each at its newest publication."""
    names = producer_names(workspace.log.records(), table, key, as_of)
    rows: list[Facts] = []
    for name in names:
        found = published(workspace, table, as_of, **{key: name})
        rows += [r.asDict() for r in found.where(F.col("user_id") == user).collect()]
    return rows


def _one(rows: Sequence[Any], column: str, value: str, what: str) -> Any:
    found = [row for row in rows if row[column] == value]
    if not found:
        raise _unknown(value, what, sorted(row[column] for row in rows))
    return found[0]


def _unknown(value: str, what: str, known: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"There is no {value} among the {what}.",
        expected=", ".join(known) or "none yet: run the stages first",
        found=value,
        to_do="name one of them, or choose another --as-of",
    )


def _facts(title: str, facts: Facts) -> Table:
    """Two columns; facts without a value are left out."""
    table = Table(title=escape(title), title_justify="left", show_header=False, show_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None and value != "":
            table.add_row(name.replace("_", " "), escape(str(value)))
    return table


def _rows(title: str, columns: Sequence[str], rows: Iterable[Facts]) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _terms(kind: str, terms: Sequence[Any]) -> Table:
    table = Table(title=f"More of these {kind}", title_justify="left", show_edge=False)
    for column in (kind, "lift", "checked", "share here", "everybody"):
        table.add_column(column, justify="left" if column == kind else "right")
    for term in terms[:TERMS_SHOWN]:
        checked = term["held_out_lift"]
        table.add_row(
            escape(term["label"]),
            f"{term['lift']:.1f}",
            "" if checked is None else f"{checked:.1f}",
            f"{term['share']:.2%}",
            f"{term['base_share']:.2%}",
        )
    return table


def _rule_fit(row: Any) -> str | None:
    if row["rule_precision"] is None or row["rule_recall"] is None:
        return None
    return f"precision {row['rule_precision']:.0%}, recall {row['rule_recall']:.0%}"


def _versions(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{table} version {version}" for table, version in versions.items())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return _number(value) if isinstance(value, float) else escape(str(value))


def _number(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:,.0f}"
