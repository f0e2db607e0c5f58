"""Sums of users' shares of events, by cluster, field and token: exact, whatever the order."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Shares are summed as integers in units of 2^-30: sums of doubles depend on the order in which
# users come, and a re-run has to give equal tables.
UNIT = 2.0**30

# Rows kept before equal keys are brought together: some 40 MB. Of more different keys (clusters
# times tokens met) twice as many as there are, so that bringing together stays rare.
MOST_ROWS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Bag:
    """What some users met of one field, one user's tokens after the other's.

    Attributes:
        tokens: Token indices [entries].
        counts: How often each was met [entries], at least 0.
        length: Entries of each user [users].
    """

    tokens: npt.NDArray[np.int32]
    counts: npt.NDArray[np.float64]
    length: Ints


class ShareSums:
    """Adds up users' shares; a share is a token's part of the user's events in its field.

    Args:
        fields: Number of fields.
    """

    def __init__(self, fields: int) -> None:
        self.fields = fields
        self._parts: list[tuple[Ints, Ints]] = []
        self._most_rows = MOST_ROWS

    def add(self, field: int, cluster: Ints, held_out: Bools, bag: Bag) -> None:
        """Add users.

        Args:
            field: Number of the field.
            cluster: Cluster of each user [users], at least 0.
            held_out: Whether a user is measured and not fitted on [users].
            bag: What they met.
        """
        user = np.repeat(np.arange(len(cluster)), bag.length)
        total = np.bincount(user, bag.counts, minlength=len(cluster))
        met = bag.counts > 0
        user, token = user[met], bag.tokens[met].astype(np.int64)
        share = bag.counts[met] / total[user]
        fixed, square = (np.floor(v * UNIT + 0.5).astype(np.int64) for v in (share, share * share))
        held = held_out[user]
        fitted = np.where(held, 0, 1)
        values = np.stack([fitted, fixed * fitted, square * fitted, np.where(held, fixed, 0)])
        self._parts.append(_summed((cluster[user] * self.fields + field) << 32 | token, values))
        if sum(len(key) for key, _ in self._parts) > self._most_rows:
            self._parts = [self._together()]
            self._most_rows = max(MOST_ROWS, 2 * len(self._parts[0][0]))

    def result(self) -> dict[str, Ints]:
        """Columns cluster, field, index, users, shares, squares and held_shares, a row a key.

        ``users``, ``shares`` and ``squares`` count users that are fitted on, ``held_shares`` the
        others.
        """
        key, values = self._together()
        group = key >> 32
        names = ("users", "shares", "squares", "held_shares")
        return {
            "cluster": group // self.fields,
            "field": group % self.fields,
            "index": key & 0xFFFFFFFF,
            **dict(zip(names, values, strict=True)),
        }

    def _together(self) -> tuple[Ints, Ints]:
        if not self._parts:
            return np.empty(0, np.int64), np.empty((4, 0), np.int64)
        keys, values = zip(*self._parts, strict=True)
        return _summed(np.concatenate(keys), np.concatenate(values, axis=1))


def _summed(key: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Equal keys brought together, ascending; integers, so that no order matters."""
    if not len(key):
        return key, values
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    return key[first], np.add.reduceat(values[:, order], first, axis=1)
