"""A small memory of the vectors of recent queries."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class VectorCache:
    """Keeps the vectors (D,) of the `capacity` queries used last; thread-safe.

    Not only for speed: a vector depends, in its last bits, on what else was in its batch, and the cursor of a
    search is tied to the exact vector. With the cache, the next page asks with the same vector as the first.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._vectors: LRUCache[str, Vector] = LRUCache(capacity)
        self._lock = threading.Lock()

    def get(self, key: str, compute: Callable[[], Vector]) -> Vector:
        """The vector kept under a key, or else what `compute` returns; what it raises is not kept."""
        with self._lock:
            if key in self._vectors:
                return self._vectors[key]
        computed = compute()
        computed.setflags(write=False)
        with self._lock:
            return self._vectors.setdefault(key, computed)  # two may have computed it: all go on with the first
