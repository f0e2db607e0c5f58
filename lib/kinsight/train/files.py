"""The Parquet files of a snapshot, as petastorm reads them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from kinsight.errors import ConfigError, IntegrityError

# petastorm 0.12 calls what pyarrow 14 is about to drop; the pins keep both where they work.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm(\.|$)")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from petastorm.fs_utils import get_filesystem_and_path_or_paths
    from pyarrow import ArrowInvalid, parquet


def readable_url(file: str) -> str:
    """A file's URL as petastorm reads it.

    Delta names files as they are on disk, and petastorm takes them so: ``%41`` in a name is no
    ``A`` to either, so nothing is decoded here.

    Raises:
        ConfigError: If the path holds ``#`` or ``?``, where petastorm would cut it off.
    """
    if "#" in file or "?" in file:
        raise ConfigError(
            "The sequences lie under a path that petastorm cannot read.",
            expected="tables.path without `#` and `?`",
            found=file,
            to_do="move the tables to another folder",
        )
    scheme, _, path = file.partition(":")
    return f"file:///{path.lstrip('/')}" if scheme == "file" else file


def part_number(url: str) -> tuple[int, str]:
    """Files in the order in which Spark's tasks wrote them, whatever else is in their names."""
    name = PurePosixPath(url).name
    number = re.match(r"part-(\d+)", name)
    return int(number.group(1)) if number else 0, name


def footer_rows(urls: Sequence[str]) -> list[int]:
    """Rows of each row group of all files, in their order, from their footers.

    Raises:
        IntegrityError: If a file is missing or no Parquet.
    """
    return [
        file.metadata.row_group(group).num_rows
        for file in _opened(urls)
        for group in range(file.num_row_groups)
    ]


def count_long(urls: Sequence[str], minimum_length: int) -> int:
    """Histories of at least so many events, in all files.

    Raises:
        IntegrityError: If a file is missing or no Parquet.
    """
    lengths = (
        file.read_row_group(group, columns=["length"]).column("length").to_numpy()
        for file in _opened(urls)
        for group in range(file.num_row_groups)
    )
    return sum(int((length >= minimum_length).sum()) for length in lengths)


def _opened(urls: Sequence[str]) -> Iterator[parquet.ParquetFile]:
    """The files, one after the other; each is closed when the next is asked for."""
    if not urls:
        return
    files, paths = get_filesystem_and_path_or_paths(list(urls))
    try:
        for path in paths:
            with files.open(path, "rb") as file:
                yield parquet.ParquetFile(file)
    except (OSError, ArrowInvalid) as error:
        raise IntegrityError(
            "A file of table sequences cannot be read.",
            expected="the files of the published version",
            found=str(error),
            to_do="run `kinsight sequence` for this date again",
        ) from None
