"""All stages in order, for one as-of date: what `kinsight run` does every night."""

from __future__ import annotations

from collections.abc import Iterator

from kinsight.dates import AsOf
from kinsight.embed.job import run_embed
from kinsight.expand.job import run_expand
from kinsight.ingest.job import run_ingest
from kinsight.report.job import run_report
from kinsight.runs import StageSummary
from kinsight.segment.job import run_segment
from kinsight.sequence.job import run_sequence
from kinsight.train.job import run_train, usable_model
from kinsight.workspace import Workspace


def run_pipeline(
    workspace: Workspace, as_of: AsOf, *, latest_input: bool = False
) -> Iterator[StageSummary]:
    """Run every stage for a date, yielding each summary as the stage publishes.

    An encoder is trained when no usable one exists: the newest whose as-of is not later, that is
    younger than ``train.refresh_after_days`` and has the same training settings. A new encoder
    gets a new vocabulary; on all other nights the encoder's own is kept.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date.
        latest_input: Let a date that was published before take in what arrived since.

    Raises:
        KinsightError: From the stage that could not go on; earlier stages stay published.
    """
    as_of.refuse_unbegun()
    yield run_ingest(workspace)
    training_due = usable_model(workspace, as_of) is None
    yield run_sequence(workspace, as_of, latest_input=latest_input, new_vocabulary=training_due)
    if training_due:
        yield run_train(workspace, as_of, latest_input=latest_input)
    yield run_embed(workspace, as_of, latest_input=latest_input)
    yield run_segment(workspace, as_of, latest_input=latest_input)
    if workspace.config.expand.folder is not None:
        yield run_expand(workspace, as_of, latest_input=latest_input)
    yield run_report(workspace, as_of, latest_input=latest_input)
