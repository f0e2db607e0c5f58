"""A pipeline killed anywhere and run again leaves the tables of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from kinsight.tables import table_names
from tests.end_to_end.conftest import AS_OF, differences, open_shop, write_config
from tests.shop import make_shop

FIRST_COMMIT = "_delta_log/00000000000000000001.json"
POINTS = {
    "ingest: events are written, the file list is not": f"events/{FIRST_COMMIT}",
    "sequence: the vocabulary is written, the sequences are not": f"vocabularies/{FIRST_COMMIT}",
    "train: the artifact is there, the model's row is not": "_models/*/model.safetensors",
    "embed: vectors are written, the run is not": f"embeddings/{FIRST_COMMIT}",
    "segment: segments are written, members are not": f"segments/{FIRST_COMMIT}",
}


def start(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kinsight", "run", "-c", str(config), "--as-of", AS_OF, "-q"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def kill_when(process: subprocess.Popen[bytes], warehouse: Path, pattern: str) -> None:
    """SIGKILL the whole process group, JVM and workers included, once a file exists."""
    deadline = time.monotonic() + 600
    while not list(warehouse.glob(pattern)):
        assert process.poll() is None, f"ended before {pattern} existed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.heavy
def test_killed_at_five_points_and_run_again_the_tables_are_equal(
    spark: SparkSession, tmp_path: Path
) -> None:
    shop = make_shop(tmp_path / "source", users=120)
    undisturbed = write_config(tmp_path / "undisturbed", shop)
    disturbed = write_config(tmp_path / "disturbed", shop)
    for pattern in POINTS.values():
        kill_when(start(disturbed), tmp_path / "disturbed" / "warehouse", pattern)
    assert start(disturbed).wait() == 0
    assert start(undisturbed).wait() == 0
    left, right = (open_shop(spark, config).tables for config in (undisturbed, disturbed))
    for name in table_names():
        if name != "runs":
            assert differences(left.read(name), right.read(name)) == [], name
