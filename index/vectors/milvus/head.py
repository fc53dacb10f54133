"""What is not in Milvus yet: vectors in memory, searched exhaustively."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from index.types import Keys, Vectors

_BLOCKS = 32


class Head:
    """Keys, ascending, and their vectors. A change makes another head, so that searches need no lock."""

    def __init__(self, blocks: tuple[tuple[Keys, Vectors], ...] = ()) -> None:
        self._blocks = blocks
        self._count = sum(len(keys) for keys, _ in blocks)

    def __len__(self) -> int:
        return self._count

    def with_more(self, keys: Keys, vectors: Vectors) -> Head:
        """Return a head with these too, which come after those that are there."""
        if not len(keys):
            return self
        blocks = (*self._blocks, (keys, vectors))
        if len(blocks) > _BLOCKS:
            blocks = ((np.concatenate([one for one, _ in blocks]), np.concatenate([rows for _, rows in blocks])),)
        return Head(blocks)

    def without(self, removed: Keys) -> Head:
        """Return a head without these keys."""
        return self._kept(lambda keys: ~np.isin(keys, removed)) if len(removed) else self

    def after(self, key: int) -> Head:
        """Return a head with those keys alone that come after `key`."""
        return self._kept(lambda keys: keys > key)

    def nearest(self, vector: Vectors, count: int, only: Keys | None) -> Keys:
        """Return the keys of the `count` nearest, and of those about as near; among `only` these if they are given."""
        if not self._count:
            return np.empty(0, dtype=np.int64)
        keys = np.concatenate([one for one, _ in self._blocks])
        scores = np.concatenate([rows @ vector for _, rows in self._blocks])
        if only is not None:
            chosen = np.isin(keys, only)
            keys, scores = keys[chosen], scores[chosen]
        if len(keys) <= count:
            return keys
        least = np.partition(scores, len(keys) - count)[len(keys) - count]
        near: Keys = keys[scores >= least - 1e-4]  # scores in single precision: those that are equal stay together
        return near

    def _kept(self, choose: Callable[[Keys], npt.NDArray[np.bool_]]) -> Head:
        kept = [(keys[chosen], rows[chosen]) for keys, rows in self._blocks if (chosen := choose(keys)).any()]
        return Head(tuple(kept))
