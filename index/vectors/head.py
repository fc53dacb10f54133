"""What an engine does not have yet, or what is too little for one: vectors in memory, searched exhaustively."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from index.types import Halves, Keys, Vectors
from index.vector_encoding import singles

Flags = npt.NDArray[np.bool_]
"""One for each of some keys, (n,)."""

Choice = Callable[[Keys], Flags]
"""Tells of each key whether it is chosen."""

_ROWS = 4096  # vectors of a block, at most: a deletion copies those of its block
LENGTH_MARGIN = 2e-3
"""A stored vector is within 5e-4 of unit length, so scores without its exact length differ by as much, at most."""


class Block(Protocol):
    """Some keys, ascending, and their vectors in a form of its own. Never changed."""

    @property
    def keys(self) -> Keys:
        """The keys (n,)."""
        ...

    def some(self, chosen: Flags) -> Block:
        """Return a block of the chosen ones."""
        ...

    def joined(self, other: Block) -> Block | None:
        """Return one block of this one and of `other`, whose keys come after; None if they do not fit together."""
        ...

    def scores(self, vector: Vectors, count: int, choose: Choice | None) -> tuple[Keys, Vectors]:
        """Return the keys of those that may be chosen, or of the `count` nearest of them to a unit vector (D,).

        And about how near each is.
        """
        ...

    def margin(self, vector: Vectors) -> float:
        """Return how much nearer to a unit vector (D,) one may be than another that has the higher score."""
        ...

    def agrees(self, places: Keys, halves: Halves) -> bool:
        """Tell whether it has these stored vectors (n, D) in these places."""
        ...


class SingleBlock:
    """Stored vectors in single precision."""

    def __init__(self, keys: Keys, rows: Vectors) -> None:
        self._keys = keys
        self._rows = rows

    @classmethod
    def of(cls, keys: Keys, halves: Halves) -> SingleBlock:
        """Return a block of stored vectors (n, D)."""
        return cls(keys, singles(halves))

    @property
    def keys(self) -> Keys:
        """The keys (n,)."""
        return self._keys

    def some(self, chosen: Flags) -> SingleBlock:
        """Return a block of the chosen ones."""
        return SingleBlock(self._keys[chosen], self._rows[chosen])

    def joined(self, other: Block) -> SingleBlock | None:
        """Return one block of this one and of `other`, whose keys come after."""
        if not isinstance(other, SingleBlock):
            return None
        return SingleBlock(np.concatenate([self._keys, other._keys]), np.concatenate([self._rows, other._rows]))

    def scores(self, vector: Vectors, count: int, choose: Choice | None) -> tuple[Keys, Vectors]:
        """Return the keys that may be chosen, and the product of each vector with a unit vector (D,)."""
        scores: Vectors = self._rows @ vector
        if choose is None:
            return self._keys, scores
        chosen = choose(self._keys)
        return self._keys[chosen], scores[chosen]

    def margin(self, vector: Vectors) -> float:
        """Return how much nearer to a unit vector (D,) one may be than another that has the higher score."""
        return LENGTH_MARGIN

    def agrees(self, places: Keys, halves: Halves) -> bool:
        """Tell whether it has these stored vectors (n, D) in these places."""
        return np.array_equal(self._rows[places], singles(halves))


MakeBlock = Callable[[Keys, Halves], Block]
"""Makes a block of keys and stored vectors (n, D)."""


class Head:
    """Keys, ascending, and their vectors, in blocks. A change makes another head."""

    def __init__(self, make: MakeBlock = SingleBlock.of, blocks: tuple[Block, ...] = ()) -> None:
        """`make`: what is to become of vectors that come; the `blocks` that are there may be of any kind."""
        self._make = make
        self._blocks = blocks
        self._count = sum(len(block.keys) for block in blocks)

    def __len__(self) -> int:
        return self._count

    def making(self, make: MakeBlock) -> Head:
        """Return the same head, of which new vectors become other blocks."""
        return Head(make, self._blocks)

    def with_more(self, keys: Keys, halves: Halves) -> Head:
        """Return a head with these stored vectors (n, D) too, which come after those that are there."""
        if not len(keys):
            return self
        blocks = list(self._blocks)
        for start in range(0, len(keys), _ROWS):
            blocks.append(self._make(keys[start : start + _ROWS], halves[start : start + _ROWS]))
            # The last ones get smaller and smaller, so that a vector is copied a few times, not with every addition.
            while len(blocks) > 1 and len(blocks[-2].keys) <= len(blocks[-1].keys) <= _ROWS - len(blocks[-2].keys):
                joined = blocks[-2].joined(blocks[-1])
                if joined is None:
                    break
                blocks[-2:] = [joined]
        return Head(self._make, tuple(blocks))

    def without(self, removed: Keys) -> Head:
        """Return a head without these keys."""
        return self._kept(lambda keys: ~np.isin(keys, removed)) if len(removed) else self

    def after(self, key: int) -> Head:
        """Return a head with those keys alone that come after `key`."""
        return self._kept(lambda keys: keys > key)

    def keys(self) -> Keys:
        """Return all keys, ascending."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(block.keys for block in self._blocks)])

    def agrees(self, keys: Keys, halves: Halves) -> bool:
        """Tell whether it has these stored vectors (n, D) under these keys, ascending, which are all there."""
        for block in self._blocks:
            here = np.isin(keys, block.keys)
            if here.any() and not block.agrees(np.searchsorted(block.keys, keys[here]), halves[here]):
                return False
        return True

    def nearest(self, vector: Vectors, count: int, choose: Choice | None = None) -> Keys:
        """Return the keys of the `count` nearest to a unit vector (D,), in any order, as far as its blocks can tell.

        `choose`: which may be among them; None for all.
        """
        keys, scores = _joined([block.scores(vector, count, choose) for block in self._blocks])
        return keys if len(keys) <= count else keys[np.argpartition(-scores, count - 1)[:count]]

    def all_nearest(self, vector: Vectors, count: int, choose: Choice | None = None) -> Keys:
        """As `nearest`, and the keys of those that may be as near: what exact scores choose from."""
        margin = max((block.margin(vector) for block in self._blocks), default=0.0)
        depth = 2 * count
        while True:
            found = [block.scores(vector, depth, choose) for block in self._blocks]
            keys, scores = _joined(found)
            if len(keys) <= count:
                return keys
            least = np.partition(scores, len(keys) - count)[len(keys) - count] - margin
            if all(len(some) < depth or some.min() < least for _, some in found):
                near: Keys = keys[scores >= least]
                return near
            depth *= 2  # a block may have more of them than it told

    def _kept(self, choose: Choice) -> Head:
        kept = []
        for block in self._blocks:
            chosen = choose(block.keys)
            if chosen.all():
                kept.append(block)
            elif chosen.any():
                kept.append(block.some(chosen))
        return Head(self._make, tuple(kept))


def _joined(found: Sequence[tuple[Keys, Vectors]]) -> tuple[Keys, Vectors]:
    keys, scores = zip(*found, strict=True) if found else ((), ())
    return (
        np.concatenate([np.empty(0, dtype=np.int64), *keys]),
        np.concatenate([np.empty(0, dtype=np.float32), *scores]),
    )
