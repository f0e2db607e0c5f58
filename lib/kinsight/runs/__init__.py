"""The run log and what stands on it: publishing, and reading what a run published.

A stage writes its tables and then appends one row to ``runs``, last. Readers take the newest
succeeded run for what they ask and read exactly the Delta versions that it recorded.
"""

from kinsight.runs.log import (
    Publication,
    RunLog,
    RunRecord,
    category_learned,
    category_of,
    newest_publication,
    producer_names,
)
from kinsight.runs.stage_run import StageRun, StageSummary

__all__ = [
    "Publication",
    "RunLog",
    "RunRecord",
    "StageRun",
    "StageSummary",
    "category_learned",
    "category_of",
    "newest_publication",
    "producer_names",
]
