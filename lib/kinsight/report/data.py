"""Everything a report shows, as small frames: the only part of the report that reads tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pyspark import inheritable_thread_target

import kinsight
from kinsight.dates import AsOf
from kinsight.report.audiences import Audience, collect_audiences
from kinsight.report.quality import Quality, collect_quality
from kinsight.report.segmentation import Segmentation, collect_segmentations
from kinsight.report.sources import Sources, only
from kinsight.runs import RunRecord
from kinsight.workspace import Workspace

NAMED = {"segment": "segmentation", "expand": "audience"}
"""By stage that makes several things of a date, each by a run of its own: what names them."""

Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class ReportData:
    """What one report shows.

    Attributes:
        shop: Name of the shop.
        as_of: The date.
        lookback_days: Days before the date that histories reach back.
        minimum_events: Customers with fewer events are cold.
        version: Version of Kinsight that makes the report.
        quality: About the data.
        segmentations: One a segmentation of the date; by the first one, members of audiences are
            counted.
        audiences: One an audience of the date.
        models: Rows of ``models`` whose vectors were published for the date.
        runs: The runs behind the date, oldest first.
    """

    shop: str
    as_of: AsOf
    lookback_days: int
    minimum_events: int
    version: str
    quality: Quality
    segmentations: list[Segmentation]
    audiences: list[Audience]
    models: list[dict[str, Any]]
    runs: list[RunRecord]

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """(stage, warning) of the newest succeeded run of each stage, segmentation and audience."""
        newest = {
            (run.stage, name): run.run_id
            for run in self.runs
            if run.status == "succeeded"
            for name in run.producer.get(NAMED.get(run.stage, ""), [""])
        }
        found = []
        for run in self.runs:
            if run.run_id in newest.values():
                names = run.producer.get(NAMED.get(run.stage, ""), [])
                old = tuple(
                    f"{NAMED[run.stage]} {name}:"
                    for name in names
                    if newest[run.stage, name] != run.run_id
                )
                found += [(run.stage, text) for text in run.warnings if not text.startswith(old)]
        return found


def collect(workspace: Workspace, sources: Sources) -> ReportData:
    """Read what a report shows; a stage without a publication leaves its part empty."""
    config = workspace.config
    names = sources.names("segments", "segmentation")
    names.sort(key=lambda name: name != config.segment.name)
    main = names[0] if names else None
    lookback_days = sources.settings("sequences", config.sequence).lookback_days
    # Dozens of small queries: most of their time is planning, which threads overlap.
    spark = sources.run.tables.spark
    with sources.run.step("read what the stages published"), ThreadPoolExecutor(4) as pool:

        def named(work: Callable[..., Found]) -> Callable[..., Found]:
            # Spark's pages name a thread's jobs only by what it was handed, each its own copy.
            wrapped: Callable[..., Found] = inheritable_thread_target(spark)(work)
            return wrapped

        quality = pool.submit(named(collect_quality), sources, lookback_days)
        segmentations = pool.submit(named(collect_segmentations), sources, names)
        audiences = pool.submit(named(collect_audiences), sources, main)
        models = pool.submit(named(_models), sources)
    return ReportData(
        shop=config.shop,
        as_of=sources.as_of,
        lookback_days=lookback_days,
        minimum_events=sources.settings("segments", config.segment).minimum_events,
        version=kinsight.__version__,
        quality=quality.result(),
        segmentations=segmentations.result(),
        audiences=audiences.result(),
        models=models.result(),
        runs=sources.runs_behind(),
    )


def _models(sources: Sources) -> list[dict[str, Any]]:
    """The models whose vectors were published for the date."""
    found = sources.newest("models", not_after=sources.as_of.date)
    used = sources.names("embeddings", "model_version")
    if found is None or not used:
        return []
    rows = only(sources.run.read(found), {"model_version": used}).orderBy("model_version")
    return [row.asDict(recursive=True) for row in rows.collect()]
