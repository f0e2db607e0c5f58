"""The notebooks run from top to bottom on a shop's tables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from pyspark.sql import SparkSession

from kinsight import read
from kinsight.errors import RefusedError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"


@pytest.mark.parametrize("name", ["explore_segments", "build_an_audience"])
def test_every_cell_runs_and_charts_are_drawn(
    spark: SparkSession, healthy: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In this process, on the tests' session; `make test-all` runs them in a kernel."""
    monkeypatch.setenv("KINSIGHT_CONFIG", str(healthy))
    shell = InteractiveShell()
    drawn = 0
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            outcome = shell.run_cell(cell.source)
            outcome.raise_error()
            drawn += isinstance(outcome.result, alt.Chart | alt.LayerChart)
    assert drawn >= 1
    if name == "build_an_audience":
        found = read.table(healthy, "audience_members", audience="notebook-core", spark=spark)
        assert found.count() > 0


def test_the_documented_udf_gives_the_vectors_that_the_stage_published(
    spark: SparkSession, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python blocks of docs/notebooks.md, run beside the shop's configuration."""
    monkeypatch.chdir(healthy.parent)
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    published = {
        row["user_id"]: row["vector"]
        for row in read.table(healthy, "embeddings", spark=spark).collect()
    }
    vectors, loyal = names["vectors"].collect(), names["loyal"].collect()
    assert {row["user_id"] for row in vectors} == set(published)
    assert 0 < len(loyal) < len(vectors)
    for row in (*vectors, *loyal):
        assert row["vector"] == pytest.approx(published[row["user_id"]], abs=1e-6)
    with pytest.raises(RefusedError, match="2020-01-01"):
        read.model(healthy, "2020-01-01", spark=spark)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["explore_segments", "build_an_audience"])
def test_a_kernel_runs_them(healthy: Path, name: str) -> None:
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    environment = os.environ | {"KINSIGHT_CONFIG": str(healthy)}
    NotebookClient(book, timeout=600).execute(env=environment)
    outputs = [o for c in book.cells if c.cell_type == "code" for o in c.outputs]
    # Altair's renderer: HTML that embeds the chart, or the chart's own type.
    assert any("vega" in str(o.get("data", {})) for o in outputs)
