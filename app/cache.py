"""A small memory of the vectors of recent queries."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class VectorCache:
    """Keeps the vectors (D,) of the `capacity` queries used last; thread-safe.

    Not only for speed: a vector depends, in its last bits, on what else was in its batch, and the cursor of a
    search is tied to the exact vector. With the cache, the next page asks with the same vector as the first.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, compute: Callable[[], Vector]) -> Vector:
        """The vector kept under a key, or else what `compute` returns; what it raises is not kept."""
        with self._lock:
            if key in self._vectors:
                self._vectors.move_to_end(key)
                return self._vectors[key]
        computed = compute()
        computed.setflags(write=False)
        with self._lock:
            # Two may have computed it at once: all go on with the first.
            vector = self._vectors.setdefault(key, computed)
            self._vectors.move_to_end(key)
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)
        return vector
