"""Histories from the Parquet files of a Delta snapshot, through petastorm, in bounded memory.

What is in memory at once: a few row groups (16 MiB of Parquet each, see spark-conf/local.conf), the
shuffle buffer, one batch. None grows with the table.

Where several processes train together, each reads its own row groups: a shard of petastorm's. Of
few row groups that would be unequal work, or none: then each process reads them all and takes every
N-th user of each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from kinsight.config import TrainConfig
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import (
    COLUMNS,
    INDEX_FIELDS,
    Histories,
    IntArray,
    cut_by_tokens,
    ranges,
)
from kinsight.encoders.registry import encoder_options, latest_events
from kinsight.errors import IntegrityError
from kinsight.hashing import hash_fractions
from kinsight.train.files import count_long, footer_rows, part_number, readable_url
from kinsight.train.pages import PAGE, PAGE_FIELDS, flat, from_pages, to_pages

with warnings.catch_warnings():  # see kinsight.train.files
    warnings.simplefilter("ignore")
    from petastorm import TransformSpec, make_batch_reader

SHUFFLE_USERS = 8_192
"""Users mixed before they are cut into batches."""
HELD_OUT_USERS = 10_000
"""Held-out users at most; they stay in memory."""
GROUPS_A_RANK = 8
"""With fewer row groups a process, users are dealt out instead: shards of row groups would differ
by more than an eighth. All processes read all files then: 0.1 s for 3,000 users, beside 3.5 s of an
epoch in two processes."""
DRAWS = 2**31
"""A user's draw is a whole number below this, by a hash of the id; those below the held-out share
of it are held out."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one pass over the table found.

    Attributes:
        users: Users to train on.
        users_with_order: Those of them whose events bear at least two distinct times.
        short: Users whose histories are too short.
        left_out: Long enough ones beyond the sample.
        longest: Events of the longest history.
        fingerprint: Digest of all long enough histories in the order of the files: equal ones give
            equal batches.
        held_out: Histories kept aside.
    """

    users: int
    users_with_order: int
    short: int
    left_out: int
    longest: int
    fingerprint: str
    held_out: Histories


class SequenceLoader:
    """Reads the sequences of one date, split into training and held-out users.

    Args:
        files: Parquet files of the snapshot, as ``inputFiles`` of a Delta table names them.
        minimum_length: Users with fewer events are left out.
        held_out_share: Share of the users kept aside, by a hash of their id; lowered where it
            would exceed HELD_OUT_USERS.
        sample_users: About so many others that are long enough are trained on at most, by the same
            hash. All are read, in every epoch.
        seed: Seed of the split and of all orders.
        batch_tokens: Events a batch, padding included.
        rank: This process, from 0; it reads its shard alone.
        ranks: Processes that train together. Their shards are the table: every row is in one.
        latest_events: Events of a history that are given at most, the latest; None: all.

    Raises:
        ConfigError: If a path holds characters that petastorm cannot read.
        IntegrityError: If a file is missing.
    """

    def __init__(
        self,
        files: Sequence[str],
        minimum_length: int,
        held_out_share: float,
        sample_users: int,
        seed: int,
        batch_tokens: int,
        rank: int = 0,
        ranks: int = 1,
        latest_events: int | None = None,
    ) -> None:
        self.urls = sorted((readable_url(file) for file in files), key=part_number)
        groups = footer_rows(self.urls)
        self.rank, self.ranks = rank, ranks
        self.by_group = len(groups) >= GROUPS_A_RANK * ranks
        # As petastorm deals row groups out, and as `_pages` deals out users.
        own = groups[rank::ranks] if self.by_group else [len(range(g)[rank::ranks]) for g in groups]
        self.rows = sum(own)
        self.minimum_length = minimum_length
        # Of the whole table, so that all ranks split alike.
        self.table_rows = max(1, sum(groups))
        self.held_out_share = min(held_out_share, HELD_OUT_USERS / self.table_rows)
        # Only where not all are trained on does it matter how many are long enough.
        few = sample_users >= self.table_rows
        self.long = self.table_rows if few else count_long(self.urls, minimum_length)
        self.sample_users = sample_users
        self.seed = seed
        self.batch_tokens = batch_tokens
        self.latest_events = latest_events

    @classmethod
    def of(
        cls, files: Sequence[str], config: TrainConfig, rank: int = 0, ranks: int = 1
    ) -> SequenceLoader:
        """The loader that a configuration asks for."""
        return cls(
            files,
            config.minimum_length,
            config.holdout_share,
            config.sample_users,
            config.seed,
            config.batch_tokens,
            rank,
            ranks,
            latest_events(encoder_options(config.encoder.name, config.encoder.options)),
        )

    def survey(self) -> Survey:
        """Count the users and take the held-out ones: one pass.

        Raises:
            IntegrityError: If petastorm gives another number of rows than the footers.
        """
        users = ordered = enough = longest = 0
        digest = hashlib.sha256()
        kept: list[Histories] = []
        for histories, draw in self._row_groups(epoch=0):
            for values in (draw, *histories.columns.values(), histories.length):
                digest.update(np.asarray(values).tobytes())
            longest = max(longest, int(histories.length.max(initial=0)))
            enough += len(histories)
            kept.append(histories.take(np.flatnonzero(self._held_out(draw))))
            training = histories.take(self._training(draw, self._share(self.sample_users)))
            seconds, start = training.columns["seconds"], training.start
            users += len(training)
            ordered += int((seconds[start + training.length - 1] > seconds[start]).sum())
        held = Histories.concatenate(kept)
        return Survey(
            users=users,
            users_with_order=ordered,
            short=self.rows - enough,
            left_out=enough - users - len(held),
            longest=longest,
            fingerprint=digest.hexdigest(),
            held_out=held,
        )

    def sample(self, users: int) -> Iterator[Histories]:
        """Training users by a hash of their ids, in the order of the files: one pass.

        Args:
            users: About so many at most.

        Raises:
            IntegrityError: If petastorm gives another number of rows than the footers.
        """
        share = self._share(users)
        for histories, draw in self._row_groups(0, share):
            yield histories.take(self._training(draw, share))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training users of an epoch in random batches of similar lengths.

        Args:
            epoch: Its number, from 1; equal numbers give equal batches.

        Raises:
            IntegrityError: If petastorm gives another number of rows than the footers.
        """
        draws = np.random.default_rng([self.seed, epoch])
        waiting: list[Histories] = []
        share = self._share(self.sample_users)
        for histories, draw in self._row_groups(epoch, share):
            waiting.append(histories.take(self._training(draw, share)))
            if sum(map(len, waiting)) >= SHUFFLE_USERS:
                yield from self._mixed(Histories.concatenate(waiting), draws)
                waiting = []
        if waiting:
            yield from self._mixed(Histories.concatenate(waiting), draws)

    def _mixed(self, histories: Histories, draws: np.random.Generator) -> Iterator[Batch]:
        """Users in random order, cut into batches by length; the batches in random order too."""
        mixed = histories.take(draws.permutation(len(histories)))
        mixed = mixed.take(np.argsort(mixed.length, kind="stable"))
        parts = cut_by_tokens(mixed.length, self.batch_tokens)
        for number in draws.permutation(len(parts)):
            yield Batch.of(mixed.take(np.arange(parts[number].start, parts[number].stop)))

    def _held_out(self, draw: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        held_out: npt.NDArray[np.bool_] = draw < self.held_out_share * DRAWS
        return held_out

    def _share(self, users: int) -> float:
        """Draws below this share are those held out and about so many others at most."""
        return min(1.0, self.held_out_share + users / max(1, self.long))

    def _training(self, draw: npt.NDArray[np.int32], share: float) -> IntArray:
        """Row numbers of those who are not held out and whose draws are below a share."""
        rows: IntArray = np.flatnonzero(~self._held_out(draw) & (draw < share * DRAWS))
        return rows

    def _row_groups(
        self, epoch: int, share: float = 1.0
    ) -> Iterator[tuple[Histories, npt.NDArray[np.int32]]]:
        """Users of one row group after the other, and their draws.

        Row groups come in an order drawn from seed and epoch; in epoch 0 in that of the files, or
        of petastorm's shard.

        Args:
            epoch: Its number.
            share: Users whose draws are not below it are read and dropped.
        """
        rows = 0
        sharded = self.by_group and self.ranks > 1
        users = slice(None) if self.by_group else slice(self.rank, None, self.ranks)

        def pages(frame: pd.DataFrame) -> pd.DataFrame:
            nonlocal rows
            own = frame.iloc[users]
            rows += len(own)
            return self._pages(own, share)

        columns = ["user_id", "length", *COLUMNS]
        reader = make_batch_reader(
            self.urls,
            schema_fields=[f"^{name}$" for name in columns],
            # One worker: with more, the order of row groups differs from run to run.
            reader_pool_type="thread",
            workers_count=1,
            results_queue_size=1,
            shuffle_row_groups=epoch > 0,
            cur_shard=self.rank if sharded else None,
            shard_count=self.ranks if sharded else None,
            seed=(self.seed * 1_000_003 + epoch) % 2**32,
            transform_spec=TransformSpec(
                pages,
                edit_fields=[
                    ("indices", np.int32, (len(PAGE_FIELDS) * PAGE,), False),
                    ("times", np.int64, (PAGE,), False),
                ],
                removed_fields=columns,
            ),
        )
        with reader:
            for row_group in reader:
                histories, draw = from_pages(row_group.indices, row_group.times)
                yield histories.latest(self.latest_events), draw
        if rows != self.rows:
            raise IntegrityError(
                "Training did not see every sequence once.",
                expected=f"{self.rows} rows, as the footers of {len(self.urls)} files say",
                found=f"{rows} rows from petastorm",
                to_do="run again; if it happens twice, report it",
            )

    def _pages(self, frame: pd.DataFrame, share: float) -> pd.DataFrame:
        """The long enough histories of a row group with draws below a share, as pages."""
        frame = frame[frame["length"] >= self.minimum_length]
        draws = (hash_fractions(frame["user_id"], f"held-out:{self.seed}") * DRAWS).astype(np.int64)
        frame, draws = frame[draws < share * DRAWS], draws[draws < share * DRAWS]
        length = frame["length"].to_numpy(np.int64)
        draw = np.repeat(draws, length)
        place = ranges(np.zeros_like(length), length)
        indices = [flat(frame[name]) for name in INDEX_FIELDS]
        return to_pages(np.stack([*indices, place, draw]), flat(frame["seconds"]))
