"""What an engine does not have yet, or what is too little for one: vectors in memory, searched exhaustively."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from index.types import Halves, Keys, Vectors
from index.vector_encoding import singles

Choice = Callable[[Keys], npt.NDArray[np.bool_]]
"""Tells of each key whether it is chosen."""

_ROWS = 1024  # vectors of a block, at most: a deletion copies those of its block
_ROUNDING = 2e-3  # a stored vector is within 5e-4 of unit length, so scores without its exact length differ by as much


class Head:
    """Keys, ascending, and their stored vectors in single precision. A change makes another head."""

    def __init__(self, blocks: tuple[tuple[Keys, Vectors], ...] = ()) -> None:
        self._blocks = blocks
        self._count = sum(len(keys) for keys, _ in blocks)

    def __len__(self) -> int:
        return self._count

    def with_more(self, keys: Keys, halves: Halves) -> Head:
        """Return a head with these stored vectors (n, D) too, which come after those that are there."""
        if not len(keys):
            return self
        blocks = list(self._blocks)
        for start in range(0, len(keys), _ROWS):
            blocks.append((keys[start : start + _ROWS], singles(halves[start : start + _ROWS])))
            # The last ones get smaller and smaller, so that a vector is copied a few times, not with every addition.
            while len(blocks) > 1 and len(blocks[-2][0]) <= len(blocks[-1][0]) <= _ROWS - len(blocks[-2][0]):
                (first, rows), (second, others) = blocks[-2:]
                blocks[-2:] = [(np.concatenate([first, second]), np.concatenate([rows, others]))]
        return Head(tuple(blocks))

    def without(self, removed: Keys) -> Head:
        """Return a head without these keys."""
        return self._kept(lambda keys: ~np.isin(keys, removed)) if len(removed) else self

    def after(self, key: int) -> Head:
        """Return a head with those keys alone that come after `key`."""
        return self._kept(lambda keys: keys > key)

    def keys(self) -> Keys:
        """Return all keys, ascending."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(keys for keys, _ in self._blocks)])

    def vectors(self, keys: Keys) -> Vectors:
        """Return the stored vectors (n, D) of keys that are all there, of which there has to be one."""
        rows = np.concatenate([vectors[np.isin(mine, keys)] for mine, vectors in self._blocks])
        return rows[np.argsort(np.argsort(keys))]

    def nearest(self, vector: Vectors, count: int, choose: Choice | None = None) -> Keys:
        """Return the keys of the `count` nearest to a unit vector (D,), and of those about as near, in any order.

        `choose`: which may be among them; None for all.
        """
        if not self._count:
            return np.empty(0, dtype=np.int64)
        keys = self.keys()
        scores = np.concatenate([rows @ vector for _, rows in self._blocks])
        if choose is not None:
            chosen = choose(keys)
            keys, scores = keys[chosen], scores[chosen]
        if len(keys) <= count:
            return keys
        least = np.partition(scores, len(keys) - count)[len(keys) - count]
        near: Keys = keys[scores >= least - _ROUNDING]
        return near

    def _kept(self, choose: Choice) -> Head:
        kept = []
        for keys, rows in self._blocks:
            chosen = choose(keys)
            if chosen.all():
                kept.append((keys, rows))
            elif chosen.any():
                kept.append((keys[chosen], rows[chosen]))
        return Head(tuple(kept))
