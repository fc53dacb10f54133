"""A small memory of the vectors of recent queries."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.shared.files import SharedFiles

Vector = NDArray[np.float32]


class VectorCache:
    """Keeps the vectors (D,) of the `capacity` queries used last; thread-safe.

    Not only for speed: a vector depends, in its last bits, on what else was in its batch, and the cursor of a
    search is tied to the exact vector. With the cache, the next page asks with the same vector as the first.
    With `shared`, that holds for all workers of a service: whichever computed a vector first, the others use that one.
    """

    def __init__(self, capacity: int = 1024, shared: SharedFiles | None = None) -> None:
        self._vectors: LRUCache[str, Vector] = LRUCache(capacity)
        self._shared = shared
        self._lock = threading.Lock()

    def get(self, key: str, compute: Callable[[], Vector]) -> Vector:
        """The vector kept under a key, or else what `compute` returns; what it raises is not kept."""
        found = self.find(key)
        return self.keep(key, compute()) if found is None else found

    def has(self, key: str) -> bool:
        """Whether this process keeps a vector under a key."""
        return key in self._vectors

    def find(self, key: str) -> Vector | None:
        """The vector kept under a key."""
        with self._lock:
            found = self._vectors.get(key)
        if found is None and self._shared is not None and (shared := self._shared.get(key)) is not None:
            return self._remember(key, np.frombuffer(shared, dtype=np.float32))
        return found

    def keep(self, key: str, vector: Vector) -> Vector:
        """Keep a vector; return the one to go on with, which is another one's if that was first."""
        if self._shared is not None:
            kept = self._shared.keep(key, np.ascontiguousarray(vector, dtype=np.float32).tobytes())
            vector = np.frombuffer(kept, dtype=np.float32)
        return self._remember(key, vector)

    def _remember(self, key: str, vector: Vector) -> Vector:
        vector.setflags(write=False)
        with self._lock:
            return self._vectors.setdefault(key, vector)
