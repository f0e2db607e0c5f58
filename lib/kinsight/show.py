"""What `kinsight show`, `runs` and `--dry-run` print: tables for the terminal."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kinsight.lookup import EVENT_COLUMNS, Facts, UserFacts
from kinsight.plan import Planned
from kinsight.report.words import feature_value
from kinsight.runs import RunRecord

TERMS_SHOWN = 8
SHARES_SHOWN = 6
LEAST_MORE = 0.05
"""By so much a share lies over everybody's where it is worth a line."""


def show_segment(row: Facts) -> Iterable[Table]:
    """A segment: what it is, how its members differ, what they take."""
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
        here, everybody = row["profile"][name], row["base_profile"][name]
        profile.add_row(name, feature_value(name, here), feature_value(name, everybody))
    yield profile
    if row["name_terms"]:
        yield _terms("words of the name", row["name_terms"])
    for kind in ("categories", "brands", "items"):
        if row[f"top_{kind}"]:
            yield _terms(f"more of these {kind}", row[f"top_{kind}"])


def show_user(user: UserFacts) -> Iterable[Table]:
    """A user: features, segments, audiences, the latest events before the date."""
    hidden = ("as_of", "user_id", "run_id")
    plain = {
        k: v
        for k, v in user.features.items()
        if k not in hidden and not isinstance(v, (bool, str, dict, list))
    }
    yield _facts(
        f"User {user.features['user_id']} as of {user.as_of}",
        {k: feature_value(k, v) if isinstance(v, float) else v for k, v in plain.items()},
    )
    if user.segments:
        placed = ("segmentation", "segment_id", "name", "confidence", "second_segment_id")
        yield _rows("segment members", placed, user.segments)
    else:
        yield _facts("segment members", {"segments": "in no segment of this date"})
    if user.audiences:
        columns = ("audience", "rank", "percentile", "level")
        yield _rows("audience members", columns, user.audiences)
    else:
        yield _facts("audience members", {"audiences": "in no audience of this date"})
    events = list(EVENT_COLUMNS)
    if any(event["title"] for event in user.events):
        events.insert(events.index("item_id") + 1, "title")
    yield _rows("latest events (UTC)", events, user.events)


def show_audience(row: Facts) -> Iterable[Table]:
    """An audience: its seeds, verdict, scorers and levels, or why it was refused."""
    sent = ("sent", "duplicate", "unknown", "ineligible", "matched", "needed")
    yield _facts(
        f"{row['audience']} as of {row['as_of']}: {row['status']}",
        {
            "refused": row["refusal_reason"],
            "verdict": row["verdict_text"],
            "seeds": ", ".join(f"{row[f'seeds_{part}']:,} {part}" for part in sent),
            "eligible": f"{row['users_eligible']:,}, {row['users_suppressed']:,} suppressed",
            "members": f"{row['members']:,}",
            "scorer": row["scorer_reason"],
            "weights": _weights(row["scorer_weights"]),
            "churn": None if row["churn"] is None else f"{row['churn']:.1%}",
            "valid until": row["valid_until"],
        },
    )
    if row["scorers"]:
        columns = ("scorer", "auc", "auc_std", "recall", "lift")
        yield _rows("scorers on hidden seeds", columns, row["scorers"])
    if row["reasons"]:
        yield _reasons(row["reasons"])
    if row["levels"]:
        yield _rows("levels", ("level", "share", "reach", "held_out_recall"), row["levels"])


def show_run(record: RunRecord) -> Iterable[Table]:
    """A run: inputs, outputs, counts, metrics, warnings, settings."""
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


def list_plan(planned: Sequence[Planned]) -> Table:
    """What each stage would read and do."""
    rows = [
        {
            "stage": p.stage,
            "would read": p.reads,
            "what would be done": "\n".join([p.does, *(f"warning: {w}" for w in p.warnings)]),
        }
        for p in planned
    ]
    table = _rows("Dry run", ("stage", "would read", "what would be done"), rows)
    table.caption = "nothing was written"
    table.show_lines = True
    return table


def print_all(console: Console, tables: Iterable[Table]) -> None:
    """Print tables with a line between them."""
    for table in tables:
        console.print(table)
        console.print()


def _most_different(here: Facts, everybody: Facts) -> list[str]:
    """The plain features, then the shares that are largest here beside everybody's."""
    both = sorted(set(here) & set(everybody))
    more = 1 + LEAST_MORE
    shares = [name for name in both if "[" in name and here[name] > more * everybody[name]]
    shares.sort(key=lambda name: everybody[name] / here[name])
    return [*(name for name in both if "[" not in name), *shares[:SHARES_SHOWN]]


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


def _terms(title: str, terms: Sequence[Any]) -> Table:
    table = Table(title=title.capitalize(), title_justify="left", show_edge=False)
    for column in ("what", "checked lift", "lift where found", "share here", "everybody"):
        table.add_column(column, justify="left" if column == "what" else "right")
    shown = terms[:TERMS_SHOWN]
    labels = Counter(term["label"] for term in shown)
    for term in shown:
        checked = term["held_out_lift"]
        of_several = f" ({term['token']})" if labels[term["label"]] > 1 else ""
        table.add_row(
            escape(term["label"] + of_several),
            "" if checked is None else f"{checked:.1f}",
            f"{term['lift']:.1f}",
            _share(term["share"]),
            _share(term["base_share"]),
        )
    table.caption = "checked: on other users than those it was found on"
    return table


def _reasons(reasons: Sequence[Any]) -> Table:
    table = Table(title="The seeds do more of this", title_justify="left", show_edge=False)
    for column in ("what", "kind", "lift", "seeds", "others"):
        table.add_column(column, justify="left" if column in ("what", "kind") else "right")
    for reason in reasons:
        table.add_row(
            escape(reason["label"]),
            reason["field"].replace("_", " "),
            f"{reason['lift']:.1f}",
            _share(reason["share"]),
            _share(reason["base_share"]),
        )
    table.caption = "mean share of a user's events; of a trait, the share of users who have it"
    return table


def _share(value: float) -> str:
    """A share as percentage: two decimals, more where it would read as nothing.

    >>> _share(0.0421), _share(0.0000281), _share(0.0)
    ('4.21%', '0.0028%', '0%')
    """
    if value <= 0:
        return "0%"
    digits = max(2, 1 - math.floor(math.log10(100 * value)))
    return f"{value:.{digits}%}"


def _weights(weights: Mapping[str, float]) -> str | None:
    if len(weights) < 2:
        return None
    return ", ".join(f"{name} {weight:.0%}" for name, weight in sorted(weights.items()))


def _rule_fit(row: Facts) -> str | None:
    if row["rule_precision"] is None or row["rule_recall"] is None:
        return None
    return f"precision {row['rule_precision']:.0%}, recall {row['rule_recall']:.0%}"


def _versions(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{table} version {version}" for table, version in versions.items())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=None)  # the title tells the zone
    return _number(value) if isinstance(value, float) else escape(str(value))


def _number(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:,.0f}"
