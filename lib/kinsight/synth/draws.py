"""Random numbers that depend on what they are drawn for and on nothing else.

Each number is a hash of (seed, purpose, keys), so a user's events are the same whatever batch,
task or machine makes them, and in whatever order.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
for the mixing function (splitmix64).
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(words: Words) -> Words:
    """Splitmix64's finaliser: equal words give equal words, near ones give unlike ones."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


class Draws:
    """Draws for a set of keys, such as the users of a batch or their events.

    Args:
        seed: Seed of the whole shop.
        *keys: Integers [n] that name what is drawn for: user number; event number.
    """

    def __init__(self, seed: int, *keys: Ints) -> None:
        state = np.full(keys[0].shape, mix(np.array([seed], np.uint64))[0], np.uint64)
        for key in keys:
            state = mix(state * _GOLDEN + key.astype(np.uint64) + _GOLDEN)
        self._state = state

    def uniform(self, purpose: str) -> Floats:
        """Numbers in the open interval (0, 1), [n]; independent for different purposes."""
        salt = np.array([zlib.crc32(purpose.encode()) * 2 + 1], np.uint64) * _GOLDEN
        return ((mix(self._state + salt) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53

    def below(self, purpose: str, bound: float | Ints) -> Ints:
        """Integers from 0 to bound - 1, all alike, [n].

        Args:
            purpose: What they are for.
            bound: One bound, or one a key.
        """
        whole: Ints = np.floor(self.uniform(purpose) * bound).astype(np.int64)
        return whole

    def normal(self, purpose: str) -> Floats:
        """Standard normal numbers, [n]."""
        return np.asarray(ndtri(self.uniform(purpose)), np.float64)

    def happens(self, purpose: str, chance: float | Floats) -> npt.NDArray[np.bool_]:
        """True with a chance, [n]; the chance is one, or one a key."""
        return self.uniform(purpose) < chance

    def choice(self, purpose: str, weights: Floats, rows: Ints | None = None) -> Ints:
        """Places chosen with the weights, [n].

        Args:
            purpose: What they are for.
            weights: Positive, [choices], or [kinds, choices] with one row a kind.
            rows: The kind of each key, [n], where there are kinds.
        """
        edges = np.cumsum(weights / weights.sum(-1, keepdims=True), axis=-1)
        at = self.uniform(purpose)
        if rows is None:
            place = np.searchsorted(edges, at, side="right")
        else:
            # One sorted array for all kinds: the kind is the whole part.
            shifted = (edges + np.arange(len(edges))[:, None]).reshape(-1)
            place = np.searchsorted(shifted, at + rows, side="right") - rows * edges.shape[1]
        return np.minimum(place, edges.shape[-1] - 1).astype(np.int64)
