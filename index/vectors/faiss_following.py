"""The `VectorIndex` on FAISS: an index in memory that follows one collection of the catalog."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.atomic_files import remove_unfinished
from index.errors import LibraryError
from index.interfaces import Catalog, ChangeBatch, Collection, GenerationChanged, Nearest, Position, Where
from index.locks import ReadWriteLock
from index.types import IndexStats, Vectors
from index.vectors import EXACT_UP_TO
from index.vectors.faiss_snapshots import SnapshotHeader, read_header, read_snapshot, write_snapshot

if TYPE_CHECKING:
    from index.vectors.faiss import FaissIndex

_SNAPSHOT_EVERY = 10_000  # additions by this process between two snapshots, at least
_WORTHWHILE = 0.01  # a snapshot on close pays if more than this share of the keys would be replayed without it
_GRACE = 3600.0  # seconds after which an unfinished snapshot has no writer any more

_log = logging.getLogger(__name__)


class FaissVectorIndex:
    """The nearest neighbours of one collection; see `VectorIndex`. Thread-safe.

    Nothing is loaded before the first `refresh`, not even FAISS: then the snapshot if it fits the catalog, else
    everything from the catalog.
    """

    def __init__(
        self,
        catalog: Catalog,
        collection: Collection[Any],
        snapshot: Path,
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        """Follow `collection`, with a snapshot in this file; up to `exact_up_to` vectors the search is exhaustive."""
        self._catalog = catalog
        self._collection = collection
        self._snapshot = snapshot
        self._exact_up_to = exact_up_to
        self._feed = collection.feed()
        self._refreshing = threading.Lock()
        self._saving = threading.Lock()
        self._lock = ReadWriteLock()  # guards the three below
        self._index: FaissIndex | None = None
        self._position: Position | None = None
        self._dimension = 0
        self._closed = False
        self._unsaved = 0  # additions by this process since it last wrote a snapshot; an estimate

    def refresh(self) -> None:
        """Take over everything that was committed before this call, by whatever process."""
        with self._refreshing:
            restored = self._position is None and self._load()
            self._replay()
            if restored and not self._agrees():
                _log.warning("The vector index %s contradicts the catalog; it is rebuilt.", self._snapshot)
                self._position = None
                self._replay()

    def search(self, vector: Vectors, k: int, where: Where, *, generation: int) -> Nearest:
        """Return the k nearest to a unit vector (D,) among the records that match; GenerationChanged."""
        import numpy as np

        collection = self._collection
        allowed = collection.keys(where.filters, where.concepts) if where.filters or where.concepts else None
        excluded = np.union1d(collection.keys_of(where.exclude), collection.hidden())
        with self._lock.read():
            if self._index is None or self._position is None or self._position.generation != generation:
                raise GenerationChanged
            scores, keys = self._index.search(vector, k, allowed, excluded)
            total = len(self._index) - len(excluded)
        if allowed is not None:
            total = len(allowed) - int(np.isin(excluded, allowed).sum())
        return Nearest(scores, keys, total)

    def stats(self) -> IndexStats:
        """Return kind, size and recall, as of now."""
        if self._index is None and (size := self._collection.count({})) <= self._exact_up_to // 2:
            return IndexStats("exact", size, 1.0)  # so few are never clustered: nothing has to be loaded
        self.refresh()
        with self._lock.read():
            index = self._loaded()
            return IndexStats(index.kind, len(index), index.recall)

    def added(self, count: int) -> None:
        """Note that this process added so many records, and write a snapshot now and then.

        The records are safe without it, so a failure here is nobody's problem but the log's.
        """
        self._unsaved += count
        if self._unsaved >= _SNAPSHOT_EVERY:
            self._unsaved = 0
            try:
                self.refresh()
                self._save()
            except LibraryError as error:
                _log.warning("No snapshot of the vector index was written: %s", error)

    def problems(self) -> list[str]:
        """Return how the index differs from the catalog, as a sentence; empty if it does not."""
        for _ in range(3):  # somebody may be writing: only what stays is a problem
            found = self._compare()
            if not found:
                break
        return found

    def close(self) -> None:
        """Write a snapshot if that saves the next start a good deal of work, and stop following. Idempotent.

        Who has neither searched nor added anything leaves it to others.
        """
        if self._closed:
            return
        self._closed = True
        try:
            remove_unfinished(self._snapshot.parent, time.time() - _GRACE)
            if (self._index is not None or self._unsaved) and self._is_worthwhile():
                self.refresh()
                self._save()
        except LibraryError as error:
            _log.warning("No snapshot of the vector index was written: %s", error)
        finally:
            self._feed.close()

    def _replay(self) -> None:
        with closing(self._feed.poll(self._position)) as batches:
            for batch in batches:
                self._apply(batch)

    def _apply(self, batch: ChangeBatch) -> None:
        from index.vectors.faiss import FaissIndex

        with self._lock.write():
            position, self._position = (
                self._position,
                None,
            )  # if this fails half-way, everything is loaded again
            if batch.reset:
                self._index, self._dimension = FaissIndex(batch.dimension, self._exact_up_to), batch.dimension
            elif position is None:
                raise RuntimeError("The feed must start with a reset.")
            index = self._loaded()
            index.remove(batch.removed)
            index.add(batch.added, batch.vectors)
            self._position = batch.position

    def _load(self) -> bool:
        """Load the snapshot if it is one of this catalog."""
        from index.vectors.faiss import FaissIndex

        found = read_snapshot(self._snapshot)
        if found is None:
            return False
        header, payload = found
        state = self._catalog.state()
        same = (
            header.library_id == state.library_id
            and header.generation == state.generation
            and header.target == self._collection.target
            and header.dimension == state.space.dimension
            and header.anchor == self._anchor(header.key)
        )
        if not same:
            _log.info("The vector index %s is not of this catalog; it is rebuilt.", self._snapshot)
            return False
        try:
            index = FaissIndex.deserialize(payload, self._exact_up_to, recall=header.recall)
        except RuntimeError as error:  # whole, but of a version of FAISS that this one does not read
            _log.warning("The vector index %s cannot be loaded; it is rebuilt: %s", self._snapshot, error)
            return False
        with self._lock.write():
            self._index, self._dimension, self._position = index, header.dimension, header.position
        return True

    def _agrees(self) -> bool:
        """Tell whether the index has the keys of the catalog, up to its position."""
        import numpy as np

        if self._position is None:
            return False
        keys = np.union1d(self._collection.keys({}), self._collection.hidden())
        return np.array_equal(self._loaded().keys(), keys[keys <= self._position.key])

    def _anchor(self, key: int) -> str | None:
        return self._collection.anchor(key) if key else ""

    def _save(self) -> None:
        """Write a snapshot. A full disk is no reason to fail: the catalog has everything."""
        with self._saving:
            with self._lock.read():
                index, position, dimension = self._loaded(), self._position, self._dimension
                payload, recall = index.serialize(), index.recall
            state = self._catalog.state()
            if position is None or position.generation != state.generation:
                return
            anchor = self._anchor(position.key)
            if anchor is None:
                return
            header = SnapshotHeader(
                library_id=state.library_id,
                target=self._collection.target,
                generation=position.generation,
                dimension=dimension,
                key=position.key,
                deletion=position.deletion,
                anchor=anchor,
                recall=recall,
            )
            try:
                write_snapshot(self._snapshot, header, payload)
            except OSError as error:
                _log.warning("No snapshot of the vector index was written: %s", error)

    def _is_worthwhile(self) -> bool:
        head = self._catalog.state(), self._collection.head()
        state, position = head
        saved = read_header(self._snapshot)
        if saved is None or (saved.library_id, saved.generation) != (state.library_id, state.generation):
            return position.key > 0
        changes = abs(position.key - saved.key) + abs(position.deletion - saved.deletion)
        return changes > _WORTHWHILE * position.key

    def _compare(self) -> list[str]:
        import numpy as np

        self.refresh()
        target = self._collection.target
        feed = self._collection.feed()
        try:
            with self._lock.read(), closing(feed.poll(None)) as batches:
                index = self._loaded()
                mine = index.keys()
                seen = 0
                for batch in batches:
                    seen += len(batch.added)
                    if not np.isin(batch.added, mine).all():
                        return [f"{target}: the vector index lacks records of the catalog"]
                    if not np.array_equal(index.vectors(batch.added), batch.vectors):
                        return [f"{target}: the vector index has other vectors than the catalog"]
                if seen != len(mine):
                    return [f"{target}: the vector index has records that the catalog lacks"]
        finally:
            feed.close()
        return []

    def _loaded(self) -> FaissIndex:
        if self._index is None:
            raise RuntimeError("The index is used before its first refresh.")
        return self._index
