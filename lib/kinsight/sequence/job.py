"""The job of stage `sequence`."""

from __future__ import annotations

import dataclasses

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kinsight.config import SequenceConfig
from kinsight.dates import AsOf
from kinsight.errors import IntegrityError
from kinsight.runs import StageRun, StageSummary
from kinsight.sequence.encoding import lookups_with, read_products
from kinsight.sequence.executor.lookups import Products
from kinsight.sequence.executor.rows import SEQUENCE_COLUMNS, RowSettings
from kinsight.sequence.features import user_features
from kinsight.sequence.gather import EVENTS_A_BATCH, UserEvents, narrow_events, tasks_for
from kinsight.sequence.inputs import SeenEvents, cut_window, read_inputs
from kinsight.sequence.products import (
    distinct_products,
    event_types,
    field_number,
    fields_of,
    find_products,
    product_tokens,
    with_product,
)
from kinsight.sequence.versions import version_to_use
from kinsight.sequence.vocabulary import (
    Vocabulary,
    read_vocabulary,
    version_name,
    vocabulary_rows,
)
from kinsight.spark import FrameMap, arrow_batches, kept_frames
from kinsight.tables import KeyValue
from kinsight.workspace import Workspace

BROADCAST_PRODUCTS = 1_000_000
"""Up to so many products (about 100 MB) are sent to every task instead of shuffling the events."""

KNOWN_SHARE_EXPECTED = 0.5
"""Below this share of events with known items, brands or categories the run warns."""


@dataclasses.dataclass(frozen=True)
class _Gathered:
    """What every output is made from.

    Attributes:
        events: Each user's events.
        coded: See :func:`kinsight.sequence.products.product_tokens`.
        products: Their codes, and the event types.
    """

    events: UserEvents
    coded: DataFrame
    products: Products


def run_sequence(
    workspace: Workspace,
    as_of: AsOf,
    *,
    latest_input: bool = False,
    new_vocabulary: bool = False,
) -> StageSummary:
    """Publish vocabularies, sequences, user_features and user_bags of a date.

    The category in ``sequences`` is the vocabulary field ``category_<category_level>``, by
    default of the deepest level N that a path had when the vocabulary was made. A path shorter
    than a level is repeated downward, so the last level holds the leaf of every path.

    Args:
        workspace: Session, configuration and tables.
        as_of: The date; only events before its instant are seen.
        latest_input: Read the newest events and items even if the date was published before.
        new_vocabulary: Make a vocabulary from this date's window even if there is one to use.

    Raises:
        RefusedError: If nothing was ingested or the window holds no event.
        IntegrityError: If the outputs do not hold exactly the users and events of the window.
    """
    settings = workspace.config.sequence
    with (
        kept_frames() as keep,
        workspace.run("sequence", as_of, settings, latest_input) as run,
    ):
        events, items, identities = read_inputs(run)
        vocabulary = None if new_vocabulary else _find_vocabulary(run, as_of)
        window = cut_window(run, as_of, settings, events, identities, keep)
        levels = 0 if vocabulary is None else vocabulary.levels
        gathered = _gather(run, as_of, settings, window, items, levels, keep)
        if vocabulary is None:
            # Read several times: for the vocabulary, and for what it encodes.
            with arrow_batches(run.tables.spark, EVENTS_A_BATCH):
                histories = gathered.events.as_histories(keep)
            gathered = dataclasses.replace(gathered, events=histories)
            vocabulary = _make_vocabulary(run, as_of, settings, gathered, keep)
        run.producer = {
            "vocabulary_version": [vocabulary.version],
            "category_level": [settings.category_of_sequences],
        }
        _write_outputs(run, as_of, settings, window, gathered, vocabulary, keep)
        return run.summary()


def _find_vocabulary(run: StageRun, as_of: AsOf) -> Vocabulary | None:
    """The vocabulary that this date uses, published for it once more; None: make one."""
    version = version_to_use(run, as_of.date)
    if version is None:
        return None
    run.publish_unchanged(["vocabularies"])
    return read_vocabulary(run.read("vocabularies", run.outputs["vocabularies"]), version)


def _gather(
    run: StageRun,
    as_of: AsOf,
    settings: SequenceConfig,
    window: SeenEvents,
    items: DataFrame,
    vocabulary_levels: int,
    keep: FrameMap,
) -> _Gathered:
    """Number products and types, and bring each user's events together."""
    with run.step("finding products"):
        seen = keep(distinct_products(window.events))
        products = keep(find_products(seen, items, as_of.instant))
        row = products.agg(F.count("*"), F.coalesce(F.max(F.size("path")), F.lit(0))).first()
        number, depth = row or (0, 0)
        levels = max(depth, vocabulary_levels)
        coded = keep(product_tokens(products, levels, settings.crosses))
        types = event_types(seen)
        codes = read_products(coded, number, fields_of(levels, settings.crosses), types)
    run.counts["products"] = number
    shipped = F.broadcast(products) if number <= BROADCAST_PRODUCTS else products
    least = int(run.tables.spark.conf.get("spark.sql.shuffle.partitions") or 8)
    events = window.counts.events - window.counts.events_cut
    numbered = with_product(window.events, shipped)
    return _Gathered(narrow_events(numbered, types, tasks_for(events, least)), coded, codes)


def _make_vocabulary(
    run: StageRun, as_of: AsOf, settings: SequenceConfig, gathered: _Gathered, keep: FrameMap
) -> Vocabulary:
    """Make this window's vocabulary; one of the same content is left as it is."""
    with run.step("making the vocabulary"):
        rows = keep(
            vocabulary_rows(gathered.events, gathered.products, gathered.coded, settings, keep)
        )
        version = version_name(rows, as_of)
        there = run.tables.read("vocabularies").where(F.col("vocabulary_version") == version)
        if there.isEmpty():
            key = {"vocabulary_version": version}
            run.write("vocabularies", rows.withColumn("as_of", F.lit(as_of.date)), key)
        else:
            run.publish_unchanged(["vocabularies"])
        return read_vocabulary(
            run.tables.read("vocabularies", run.outputs["vocabularies"]), version
        )


def _write_outputs(
    run: StageRun,
    as_of: AsOf,
    settings: SequenceConfig,
    window: SeenEvents,
    gathered: _Gathered,
    vocabulary: Vocabulary,
    keep: FrameMap,
) -> None:
    """Write the three tables of users and check that each holds every user of the window."""
    level = min(settings.category_level or vocabulary.levels, vocabulary.levels)
    lookups = lookups_with(gathered.products, gathered.coded, vocabulary, level)
    of_features = min(settings.category_level or gathered.products.levels, gathered.products.levels)
    root = field_number("category_1") if gathered.products.levels else None
    rows = RowSettings(
        instant_micros=round(as_of.instant.timestamp() * 1e6),
        timezone=as_of.timezone,
        max_length=settings.max_length,
        feature_category=field_number(f"category_{of_features}") if of_features else None,
        root=root,
    )
    with arrow_batches(run.tables.spark, EVENTS_A_BATCH):
        users = keep(gathered.events.to_user_rows(lookups, rows))
    with run.step("gathering each user's events"):
        _count_events(run, settings, window, users, level)
    key: dict[str, KeyValue] = {"as_of": as_of.date, "vocabulary_version": vocabulary.version}
    with run.step("writing sequences"):
        run.write("sequences", users.select("user_id", *SEQUENCE_COLUMNS), key)
    with run.step("writing user_bags"):
        run.write("user_bags", users.select("user_id", "events", "bags"), key)
    with run.step("writing user_features"):
        features = user_features(
            users, gathered.coded, root, settings.category_shares, window.hot_users
        )
        run.write("user_features", features, {"as_of": as_of.date})
    written = {t: run.counts[f"{t}_rows"] for t in ("sequences", "user_features", "user_bags")}
    if set(written.values()) != {window.counts.users}:
        raise IntegrityError(
            "The outputs do not hold one row a user.",
            expected=f"{window.counts.users} users of the window in every table",
            found=", ".join(f"{table}: {n}" for table, n in written.items()),
            to_do="this is a mistake in Kinsight; please report it",
        )


def _count_events(
    run: StageRun,
    settings: SequenceConfig,
    window: SeenEvents,
    users: DataFrame,
    level: int,
) -> None:
    """Check that all events arrived; count those truncated, and those with unknown tokens."""
    fields = ["item", "brand", *([f"category_{level}"] if level else [])]
    places = [field_number(field) for field in fields]
    beyond = F.greatest(F.col("events_total") - settings.max_length, F.lit(0))
    kept, truncated, *known = users.agg(
        F.coalesce(F.sum("events_total"), F.lit(0)),
        F.coalesce(F.sum(beyond), F.lit(0)),
        *(F.sum(F.get(c, F.lit(p))) for c in ("with_token", "with_index") for p in places),
    ).first() or (0, 0)
    run.counts["events_truncated"] = truncated
    expected = window.counts.events - window.counts.events_cut
    if kept != expected:
        raise IntegrityError(
            "Events were lost or doubled on the way to the sequences.",
            expected=f"{expected} events after the hot-user cap",
            found=f"{kept}",
            to_do="check that event_id is unique in table events; else please report it",
        )
    for field, events, with_index in zip(
        fields, known[: len(fields)], known[len(fields) :], strict=True
    ):
        run.counts[f"unknown_{field}"] = events - with_index
        if with_index < KNOWN_SHARE_EXPECTED * events:
            run.warn(
                f"{1 - with_index / events:.0%} of the events have a {field} that vocabulary "
                f"{run.producer['vocabulary_version'][0]} does not know; train anew with a new "
                "vocabulary, or lower sequence.minimum_token_users."
            )
    run.counts["unknown_tokens"] = sum(run.counts[f"unknown_{field}"] for field in fields)
