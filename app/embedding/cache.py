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
        with self._lock:
            if key in self._vectors:
                return self._vectors[key]
        computed = compute() if self._shared is None else _shared(self._shared, key, compute)
        computed.setflags(write=False)
        with self._lock:
            return self._vectors.setdefault(key, computed)  # two may have computed it: all go on with the first


def _shared(files: SharedFiles, key: str, compute: Callable[[], Vector]) -> Vector:
    kept = files.get(key)
    if kept is None:
        kept = files.keep(key, np.ascontiguousarray(compute(), dtype=np.float32).tobytes())
    return np.frombuffer(kept, dtype=np.float32)
