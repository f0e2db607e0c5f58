"""The part on the runs behind the report, for those who have to reproduce it."""

from __future__ import annotations

from typing import Any

from kinsight.report.data import ReportData
from kinsight.report.figures import Table
from kinsight.report.words import count, decimal
from kinsight.runs import RunRecord

MAXIMUM_RUNS = 60


def runs_section(data: ReportData) -> dict[str, Any]:
    """Values of the template's part on runs and models."""
    runs = data.runs[-MAXIMUM_RUNS:]
    return {
        "table": _table(runs),
        "hidden": len(data.runs) - len(runs),
        "details": [_detail(run) for run in runs],
        "models": [_model(row) for row in data.models],
    }


def _table(runs: list[RunRecord]) -> Table:
    rows = [
        [
            run.stage,
            run.status,
            f"{run.started_at:%Y-%m-%d %H:%M}",
            decimal((run.finished_at - run.started_at).total_seconds(), 1),
            run.config_hash,
            run.code_version,
            str(len(run.warnings)),
        ]
        for run in runs
    ]
    columns = ["Stage", "Status", "Started (UTC)", "#Seconds", "Settings", "Code", "#Warnings"]
    return Table(columns, rows, "Runs behind this report, oldest first")


def _detail(run: RunRecord) -> dict[str, Any]:
    return {
        "title": f"{run.stage}, {run.started_at:%Y-%m-%d %H:%M} UTC",
        "id": run.run_id,
        "message": run.message or "",
        "warnings": run.warnings,
        "pairs": [
            ("Counts", ", ".join(f"{k} {count(v)}" for k, v in sorted(run.counts.items()))),
            ("Measures", ", ".join(f"{k} {v:.4g}" for k, v in sorted(run.metrics.items()))),
            ("Made", _lists(run.producer)),
            ("Tables read", _versions(run.inputs)),
            ("Tables written", _versions(run.outputs)),
        ],
        "config": run.config,
    }


def _model(row: dict[str, Any]) -> dict[str, Any]:
    facts = [
        ("Encoder", row["encoder"]),
        ("Trained for", row["objective"]),
        ("As of", f"{row['as_of']:%Y-%m-%d}"),
        ("Width of a vector", count(row["dimension"])),
        ("Trainable numbers", count(row["parameters"])),
        ("Customers learned from", count(row["users_trained"])),
        ("Customers held out", count(row["users_held_out"])),
        ("Vocabulary", row["vocabulary_version"]),
    ]
    measures = [[name, f"{value:,.4g}"] for name, value in sorted(row["metrics"].items())]
    return {
        "version": row["model_version"],
        "facts": facts,
        "measures": Table(["Measure", "#Value"], measures, "Measured on held-out customers"),
    }


def _versions(tables: dict[str, int]) -> str:
    return ", ".join(f"{name} (version {version})" for name, version in sorted(tables.items()))


def _lists(producer: dict[str, list[str]]) -> str:
    return "; ".join(f"{key}: {', '.join(values)}" for key, values in sorted(producer.items()))
