"""Event ids: mapped ones remove repeated deliveries, made ones tell identical rows apart."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kinsight.ingest.reading import FILE_ID
from kinsight.ingest.rows import CONTENT

IS_REPEATED, IS_STORED = "is_repeated", "is_stored"

_MADE = "row-"
HASH_DIGITS = 20  # 80 bits: a table of 10^11 rows holds no two contents with one id
_HASH = "content_hash"
_SEPARATOR, _NULL = "\x1f", "\x00"


def content_hash() -> Column:
    """A hash of what an event says: equal for rows that are equal in every mapped column."""
    values = [F.unix_micros(n) if n == "event_time" else F.col(n) for n in CONTENT]
    texts = [F.coalesce(value.cast("string"), F.lit(_NULL)) for value in values]
    return F.substring(F.md5(F.concat_ws(_SEPARATOR, *texts)), 1, HASH_DIGITS)


def with_event_ids(events: DataFrame) -> DataFrame:
    """Make ids for events without one: a hash of the content and a number among identical rows.

    The number counts within one file and is left out for the first row. So identical rows are all
    kept, and a file gives the same ids whenever and beside whatever it is read.

    Args:
        events: Rows with ``CONTENT``, event_id and source_file_id. Where they lie by user_id, or
            by user_id and event_time, already, nothing is shuffled.
    """
    same = Window.partitionBy("user_id", "event_time", FILE_ID, _HASH).orderBy(_HASH)
    number = F.row_number().over(same)
    later = F.when(number > 1, F.concat(F.lit("-"), number)).otherwise("")
    made = F.concat(F.lit(_MADE), _HASH, later)
    numbered = events.withColumn(_HASH, content_hash())
    return numbered.withColumn("event_id", F.coalesce("event_id", made)).drop(_HASH)


def is_identical() -> Column:
    """Whether a made event id says that the row equals an earlier one of its file."""
    return F.col("event_id").rlike(f"^{_MADE}[0-9a-f]{{{HASH_DIGITS}}}-[0-9]+$")


def suspects(events: DataFrame, stored: DataFrame | None, broadcast: bool) -> DataFrame:
    """The mapped ids that more than one new event bears, or a stored one; hardly any others.

    Only these need a closer look, and on most nights there are few: no event moves to find them,
    only its id.

    Args:
        events: New rows with event_id.
        stored: Stored events that stay, or None; all their ids are read.
        broadcast: Whether hashes of the new ids fit into every task; stored ids are shuffled
            otherwise.

    Returns:
        event_id, each once, and is_stored.
    """
    new = events.where("event_id IS NOT NULL").select("event_id")
    twice = new.groupBy("event_id").count().where("count > 1")
    found = twice.select("event_id", F.lit(False).alias(IS_STORED))
    if stored is None:
        return found
    ids = stored.select("event_id")
    if broadcast:
        # Two ids of one hash would only mean a stored id too many here: no new event bears it.
        hashes = new.select(F.xxhash64("event_id").alias("hash"))
        known = ids.join(F.broadcast(hashes), F.xxhash64("event_id") == F.col("hash"), "left_semi")
    else:
        known = ids.join(new, "event_id", "left_semi")
    known = known.withColumn(IS_STORED, F.lit(True))
    return found.unionByName(known).groupBy("event_id").agg(F.bool_or(IS_STORED).alias(IS_STORED))


def with_repetitions(events: DataFrame, files: DataFrame, suspected: DataFrame) -> DataFrame:
    """The events of suspected ids, each marked where a stored or an earlier one bears its id.

    New ones come in the order of (event_time, path, content), so the same files always keep the
    same rows.

    Args:
        events: Rows with ``CONTENT``, event_id and source_file_id.
        files: source_file_id and path of the new files.
        suspected: See :func:`suspects`.

    Returns:
        The events with the further column ``is_repeated``.
    """
    copies = Window.partitionBy("event_id").orderBy("event_time", "path", _HASH)
    ordered = events.join(suspected, "event_id").withColumn(_HASH, content_hash())
    ordered = ordered.join(F.broadcast(files.select(FILE_ID, "path")), FILE_ID)
    repeated = F.col(IS_STORED) | (F.row_number().over(copies) > 1)
    return ordered.withColumn(IS_REPEATED, repeated).select(*events.columns, IS_REPEATED)
