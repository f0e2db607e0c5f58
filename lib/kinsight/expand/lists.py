"""Lists of user ids: from files, and from segments."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]  # py4j has no hints
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kinsight.errors import RefusedError
from kinsight.expand.definition import AudienceDefinition, FileSource
from kinsight.expand.inputs import Inputs
from kinsight.expand.linked import with_linked_users

NAMES_TOLD = 12

ListKey = tuple[str, str]
"""Audience and use: seeds, eligible, suppress or truth."""


@dataclasses.dataclass(frozen=True)
class ListCounts:
    """What a list holds.

    Attributes:
        rows: Rows of the list.
        ids: Distinct ids; all blank ones count as one, as do anonymous ids of one user but for
            ``suppress``.
        examples: The first and last id.
        linked: Ids of the list that are anonymous and count for users; see ``with_linked_users``.
    """

    rows: int
    ids: int
    examples: tuple[str, ...]
    linked: int = 0


@dataclasses.dataclass(frozen=True)
class Lists:
    """All lists of all audiences, each id once a list.

    Attributes:
        numbers: Number of each list in ``entries``.
        entries: list, user_id (null for blank ones), rows (0 for users whom only a link of a
            listed anonymous id names), linked.
        counts: What each list holds.
        refused: Audiences with a list that cannot be used.
    """

    numbers: dict[ListKey, int]
    entries: DataFrame
    counts: dict[ListKey, ListCounts]
    refused: dict[str, RefusedError]


def read_lists(
    spark: SparkSession, inputs: Inputs, audiences: Sequence[AudienceDefinition]
) -> Lists:
    """Read the lists of all audiences; one that cannot be used refuses its audience only."""
    frames: dict[ListKey, DataFrame] = {}
    refused: dict[str, RefusedError] = {}
    for audience in audiences:
        found = _lists_of(spark, inputs, audience)
        if isinstance(found, RefusedError):
            refused[audience.name] = found
        else:
            frames |= found
    entries = spark.createDataFrame([], "list INT, user_id STRING")
    for number, frame in enumerate(frames.values()):
        entries = entries.unionByName(frame.select(F.lit(number).alias("list"), "user_id"))
    entries = entries.groupBy("list", "user_id").agg(F.count("*").alias("rows"))
    if inputs.identities is None:
        entries = entries.withColumn("linked", F.lit(0))
    else:
        # Members of segments are users of the date already.
        fixed = {(a.name, "seeds") for a in audiences if a.seeds.segment is not None}
        numbers = {key: number for number, key in enumerate(frames)}
        listed = entries.where(~F.col("list").isin([numbers[k] for k in fixed & set(numbers)]))
        segments = entries.where(F.col("list").isin([numbers[k] for k in fixed & set(numbers)]))
        cautious = [number for (_, use), number in numbers.items() if use == "suppress"]
        entries = with_linked_users(listed, inputs.identities, cautious).unionByName(
            segments.withColumn("linked", F.lit(0))
        )
    entries = entries.persist()
    # A user whom only a link names is on no list.
    own = F.when(F.col("rows") > 0, F.col("user_id"))
    by_list = entries.groupBy("list").agg(
        F.sum("rows"), F.count_if(F.col("rows") > 0), F.min(own), F.max(own), F.sum("linked")
    )
    counts = {
        row[0]: ListCounts(row[1], row[2], tuple(dict.fromkeys(i for i in row[3:5] if i)), row[5])
        for row in by_list.collect()
    }
    empty = ListCounts(0, 0, ())
    return Lists(
        numbers={key: number for number, key in enumerate(frames)},
        entries=entries,
        counts={key: counts.get(number, empty) for number, key in enumerate(frames)},
        refused=refused,
    )


def _lists_of(
    spark: SparkSession, inputs: Inputs, audience: AudienceDefinition
) -> dict[ListKey, DataFrame] | RefusedError:
    """The lists of one audience, or why they cannot be used."""
    try:
        frames = {
            (audience.name, use): read_ids(spark, source, f"{audience.name}: {use}")
            for use, source in audience.sources.items()
            if source.file is not None
        }
        if audience.seeds.segment is not None:
            frames[audience.name, "seeds"] = _segment(inputs, audience)
    except RefusedError as error:
        return error
    return frames


def read_ids(spark: SparkSession, source: FileSource, where: str) -> DataFrame:
    """The ids of a file, as text without surrounding blanks, null where blank.

    Args:
        spark: The session.
        source: File, column, separator.
        where: Whose list it is, for the message.

    Raises:
        RefusedError: If the file cannot be read or lacks the column.
    """
    path = str(source.file)
    try:
        # Spark reads a path as a glob.
        literal = re.sub(r"([\[\]{}*?\\])", r"\\\1", path)
        if path.lower().rstrip("/").endswith(".parquet"):
            frame = spark.read.parquet(literal)
        else:
            frame = spark.read.csv(literal, header=True, sep=source.separator, escape='"')
    except (PySparkException, Py4JJavaError) as error:
        raise RefusedError(
            f"The list of {where} cannot be read.",
            expected=f"a CSV file with a header, or Parquet, at {path}",
            found=_reason(error),
            to_do="check the path and the file",
        ) from None
    if not frame.columns:
        raise RefusedError(
            f"The list of {where} is empty.",
            expected=f"a header and user ids in {path}",
            found="not one character",
            to_do="export the list again",
        )
    if not all(_is_text(name) for name in frame.columns[:NAMES_TOLD]):
        raise RefusedError(
            f"The list of {where} is no text.",
            expected=f"CSV in UTF-8 with a header, or a name ending in .parquet, at {path}",
            found=f"a first line that begins with {frame.columns[0][:20]!a}",
            to_do="save it as CSV in UTF-8 (a spreadsheet, an archive or UTF-16 is not)",
        )
    by_name = {name.strip(): name for name in frame.columns}
    if source.column not in by_name:
        near = difflib.get_close_matches(source.column, by_name, 1, cutoff=0.5)
        hint = f"`column: {near[0]}`" if near else "`column:` (and `separator:`, if not a comma)"
        raise RefusedError(
            f"The list of {where} has no column {source.column}.",
            expected=f"a column {source.column} with user ids in {path}",
            found=_some(frame.columns),
            to_do=f"name the column in the audience file with {hint}",
        )
    quoted = "`" + by_name[source.column].replace("`", "``") + "`"
    trimmed = F.trim(F.col(quoted).cast("string"))
    return frame.select(F.nullif(trimmed, F.lit("")).alias("user_id"))


def _reason(error: Exception) -> str:
    """The line of a Spark error that says what is wrong: the innermost with an error class."""
    lines = re.findall(r"\[[A-Z_.]+\].*", str(error))
    if lines and lines[-1].startswith("[UNABLE_TO_INFER_SCHEMA]"):
        return "a folder without data files"
    return lines[-1] if lines else str(error).strip().splitlines()[0]


def _is_text(name: str) -> bool:
    """Whether a column name has no sign that the file is not text in UTF-8."""
    return "\ufffd" not in name and (name.strip().isprintable() or "\t" in name)


def _some(names: Sequence[str]) -> str:
    """The first names of a header."""
    more = len(names) - NAMES_TOLD
    return ", ".join(names[:NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")


def _segment(inputs: Inputs, audience: AudienceDefinition) -> DataFrame:
    """The members of a segment.

    Raises:
        RefusedError: If the date has no such segmentation, or this has no such segment.
    """
    wanted, segmentation = audience.seeds.segment, audience.seeds.segmentation
    members = inputs.segment_members[segmentation]
    if isinstance(members, RefusedError):
        raise members
    known = sorted(row[0] for row in members.select("segment_id").distinct().collect())
    if wanted not in known:
        raise RefusedError(
            f"The seeds of {audience.name} are a segment that does not exist.",
            expected=f"a segment of {segmentation} at this date: {', '.join(known)}",
            found=str(wanted),
            to_do="name one of them; ids of retired segments are in segment_lineage",
        )
    return members.where(F.col("segment_id") == F.lit(wanted)).select("user_id")
