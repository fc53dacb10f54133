"""A vector index that is opened when it is needed first: commands that only look at records import no engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from index.interfaces import Collection, Nearest, VectorIndex, Where
from index.pacing import Pace
from index.types import EngineState, IndexStats, Vectors
from index.vectors import SEAL_AT


class DeferredVectorIndex:
    """Stands for the index that `open_index` opens; see `VectorIndex`. Thread-safe."""

    def __init__(self, collection: Collection[Any], open_index: Callable[[], VectorIndex], exact_up_to: int) -> None:
        """Up to `exact_up_to` vectors the index is exact."""
        self._collection = collection
        self._open = open_index
        self._exact_up_to = exact_up_to
        self._lock = threading.Lock()
        self._opened: VectorIndex | None = None
        self._added = 0

    def refresh(self) -> None:
        """As the index."""
        self._index().refresh()

    def follow(self) -> None:
        """As the index, if it is open."""
        if self._opened is not None:
            self._opened.follow()

    def is_ready(self) -> bool:
        """As the index, if it is open."""
        return self._opened is not None and self._opened.is_ready()

    def search(self, vector: Vectors, k: int, where: Where, *, generation: int) -> Nearest:
        """As the index."""
        return self._index().search(vector, k, where, generation=generation)

    def stats(self) -> IndexStats:
        """As the index; where there are few vectors, nothing has to be opened to know it."""
        if self._opened is None and (size := self._collection.count({})) <= self._exact_up_to // 2:
            return IndexStats("exact", size, 1.0)
        return self._index().stats()

    def lag(self) -> int:
        """As the index; 0 until it is opened."""
        return 0 if self._opened is None else self._opened.lag()

    def engine(self) -> EngineState | None:
        """As the index; None until it is opened."""
        return None if self._opened is None else self._opened.engine()

    def added(self, count: int) -> None:
        """Tell the index, once it is opened, or once so much was added that it has something to do."""
        self._added += count
        if self._opened is not None or self._added >= min(SEAL_AT, self._exact_up_to):
            count, self._added = self._added, 0
            self._index().added(count)

    def problems(self) -> list[str]:
        """As the index."""
        return self._index().problems()

    def rebuild(self, pace: Pace) -> None:
        """As the index."""
        self._index().rebuild(pace)

    def close(self) -> None:
        """Close the index, if it was opened. Idempotent."""
        if self._opened is not None:
            self._opened.close()

    def _index(self) -> VectorIndex:
        opened = self._opened
        if opened is None:
            with self._lock:
                opened = self._opened
                if opened is None:
                    opened = self._opened = self._open()
        return opened
