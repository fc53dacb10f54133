"""The `VectorIndex` on FAISS: segments from files and a head in memory, which follow one collection of the catalog.

Segments and head only say which records may be near. Their vectors are read from the catalog, where every score is
computed, so what was deleted is never found, and a score does not depend on where a record was found.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from index.errors import LibraryClosed, LibraryError
from index.interfaces import Catalog, ChangeBatch, Collection, GenerationChanged, Nearest, Position, Where
from index.locks import ReadWriteLock
from index.pacing import Pace
from index.scoring import best, nearest
from index.types import IndexStats, Keys, Space, Vectors
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.options import RECALL_AT, BuildOptions
from index.vectors.faiss.selection import Selection, Selections, Selector
from index.vectors.head import Head, MakeBlock, SingleBlock

if TYPE_CHECKING:
    from index.vectors.faiss.building import Builder
    from index.vectors.faiss.segments import Segments

_SCORED = 256  # vectors read from the catalog at a time: more of them leave the caches, and glibc's heaps
_SCANNED = 2000  # records that match a filter, up to which all are scored
_FEW = 64  # deleted records that segments may still have before searches pass over them
_DEPTH = 4  # candidates for each record wanted, at least
_SCORED_DEPTH = 2  # of them scored exactly, at least
_GROWTH = 0.7  # candidates grow with the records wanted to this power, lists as these do: it keeps the recall
_STEP = 8  # and a multiple of this, so that about as many wanted see the same
_WORTH_BYTES = 1024  # vectors of a head from which on FAISS is worth loading for it
_LOOK_EVERY = 1.0  # seconds between two looks at whether there is something to build

_log = logging.getLogger(__name__)


class BuilderProcess(Protocol):
    """Builds in the background, so that nobody waits."""

    def wake(self) -> None:
        """See to it that somebody builds what is due; returns at once."""

    def close(self) -> None:
        """Stop it, whatever it does. Idempotent."""


class FaissVectorIndex:
    """The nearest neighbours of one collection; see `VectorIndex`. Thread-safe.

    Nothing is loaded before the first `refresh`.
    """

    def __init__(
        self,
        catalog: Catalog,
        collection: Collection[Any],
        folder: Path,
        options: BuildOptions,
        builder: BuilderProcess,
        space: Space | None = None,
    ) -> None:
        """Follow `collection`, with segments in `folder`. The `sample` of `space` serves to train and to measure."""
        self._catalog = catalog
        self._collection = collection
        self._folder = IndexFolder(folder)
        self._builder = builder
        self._space = space
        self._options = options
        self._feed = collection.feed()
        self._selections = Selections(collection)
        self._refreshing = threading.Lock()  # guards following and adopting
        self._lock = ReadWriteLock()  # guards the next four, which searches read
        self._segments: Segments | None = None
        self._head: Head | None = None
        self._position: Position | None = None
        self._removed = np.empty(0, dtype=np.int64)  # keys of segments that were deleted since
        self._make: MakeBlock = SingleBlock.of  # the blocks of a head that is loaded
        self._seen: tuple[int, int] | None = None  # the version of the manifest that was read
        self._helper: threading.Thread | None = None
        self._tidied: tuple[int, int] | None = None  # the version of the manifest of which somebody was to make order
        self._looked = time.monotonic()
        self._added = 0
        self._closed = False

    @cached_property
    def _planner(self) -> Builder:
        from index.vectors.faiss.building import Builder

        return Builder(self._catalog, self._collection, self._folder.path, self._options)

    def refresh(self) -> None:
        """Take over everything that was committed before this call, by whatever process."""
        with self._refreshing:
            if self._position is None:
                self._start()
            self._replay()
            version = self._folder.version()
            behind = self._head is not None and len(self._head) >= self._options.seal_at
            overdue = behind or (self._segments is not None and self._tidied != version)
            if version != self._seen or (overdue and time.monotonic() > self._looked + _LOOK_EVERY):
                self._help()

    def follow(self) -> None:
        """Refresh if it was refreshed before. A head of some size becomes bytes: who follows is here to stay."""
        if self._position is None:
            return
        self.refresh()
        head = self._head
        if self._make == SingleBlock.of and head is not None and len(head) >= _WORTH_BYTES:
            self._make_bytes()

    def is_ready(self) -> bool:
        """Tell whether a search would begin at once: nothing has to be loaded, and nobody is at work on it."""
        return self._position is not None and not self._refreshing.locked()

    def search(self, vector: Vectors, k: int, where: Where, *, generation: int) -> Nearest:
        """Return the k nearest to a unit vector (D,) among the records that match; GenerationChanged."""
        excluded = self._selections.hidden(self._feed.version)
        if where.exclude:
            excluded = np.union1d(excluded, self._collection.keys_of(where.exclude))
        if where.is_everything:
            return self._search(vector, k, None, excluded, generation)
        selection = self._selections.of(where, self._feed.version)
        if len(selection.keys) > _SCANNED or self._segments is None:  # the head is exact, too, and in memory
            return self._search(vector, k, selection, excluded, generation)
        keys = selection.keys[~np.isin(selection.keys, excluded)] if len(excluded) else selection.keys
        with self._lock.read():
            self._require(generation)
        scores, found = self._score(vector, keys, k, generation)
        return Nearest(scores, found, len(keys))

    def lag(self) -> int:
        """Return 0: the index is in this process."""
        return 0

    def engine(self) -> None:
        """Return nothing: there is none."""

    def stats(self) -> IndexStats:
        """Return kind, size and recall, as of now."""
        self.refresh()
        with self._lock.read():
            size = self._size()
            if self._segments is None:
                return IndexStats("exact", size, 1.0)
            return IndexStats("ivf", size, self._segments.manifest.probing.recall)

    def added(self, count: int) -> None:
        """Note that this process added so many records, and see now and then whether something is to be built."""
        self._added += count
        if self._added >= self._options.seal_at:
            self._added = 0
            self._help()

    def problems(self) -> list[str]:
        """Return how the index differs from the catalog: a sentence, or nothing."""
        from index.vectors.faiss.comparison import differences

        for _ in range(3):  # somebody may be writing: only what stays is a problem
            self.refresh()
            with self._refreshing, self._lock.read():
                if self._head is None or self._position is None:
                    return []
                found = differences(self._collection, self._position, self._segments, self._head, self._removed)
            if not found:
                break
        return found

    def rebuild(self, pace: Pace) -> None:
        """Build the segments anew; searches go on with the others until then."""
        from index.vectors.faiss.building import Builder

        ended = threading.Event()

        def step(count: int) -> None:
            if ended.wait(pace.done(count)) or self._closed:
                raise LibraryClosed

        pace.begin(self._collection.count({}))
        with closing(Builder(self._catalog, self._collection, self._folder.path, self._options, step)) as builder:
            try:
                builder.rebuild()
            finally:
                ended.set()

    def close(self) -> None:
        """Stop following. Idempotent."""
        self._closed = True
        helper = self._helper
        if helper is not None:
            helper.join()
        self._builder.close()
        if "_planner" in self.__dict__:
            self._planner.close()
        self._feed.close()

    # Following

    def _start(self) -> None:
        """Load the segments, if they are of this catalog; else everything comes from the catalog."""
        self._seen = self._folder.version()
        manifest = self._folder.manifest()
        if manifest is None or not manifest.is_of(self._catalog.state(), self._collection):
            return
        from index.vectors.faiss.byte_block import ByteBlock
        from index.vectors.faiss.segments import Segments

        segments = Segments.load(self._folder, manifest)
        if segments is None:
            self._give_up(self._seen)
            return
        with self._lock.write():
            self._make = ByteBlock.of
            self._segments, self._head = segments, Head(self._make)
            self._removed = np.empty(0, dtype=np.int64)
            self._position = manifest.position

    def _replay(self) -> None:
        with closing(self._feed.poll(self._position)) as batches:
            for batch in batches:
                self._apply(batch)

    def _apply(self, batch: ChangeBatch) -> None:
        with self._lock.write():
            # If this fails half-way, everything is loaded again.
            position, self._position = self._position, None
            if batch.reset:
                self._head, self._segments = Head(self._make), None
                self._removed = np.empty(0, dtype=np.int64)
            elif position is None:
                raise RuntimeError("The feed must start with a reset.")
            if self._head is None:
                raise RuntimeError("The index is used before its first refresh.")
            head = self._head.without(batch.removed)
            if self._segments is not None and len(batch.removed):
                gone = self._segments.present(batch.removed)
                self._removed = np.union1d(self._removed, gone)
            self._head = head.with_more(batch.added, batch.halves)
            self._position = batch.position

    def _make_bytes(self) -> None:
        """Make the head anew, in bytes: that takes FAISS some time to load, and then a fourth of the memory."""
        from index.vectors.faiss.byte_block import ByteBlock

        with self._refreshing, suppress(GenerationChanged):
            before, position = self._head, self._position
            if before is None or position is None:
                return
            self._make = ByteBlock.of
            head, keys = Head(self._make), before.keys()
            for start in range(0, len(keys), _SCORED):
                head = head.with_more(*self._collection.stored(keys[start : start + _SCORED], position.generation))
            with self._lock.write():
                self._head = head

    def _help(self) -> None:
        """Adopt a new manifest, and have built what is due, in a thread: nobody waits for it."""
        if self._closed or (self._helper is not None and self._helper.is_alive()):
            return
        self._looked = time.monotonic()
        self._helper = threading.Thread(target=self._look, name="visem-vectors", daemon=True)
        self._helper.start()

    def _look(self) -> None:
        try:
            self._adopt()
            self._tidied = self._seen
            if self._planner.is_due():
                self._leave_queries(self._catalog.state().space)
                self._builder.wake()
        except LibraryClosed:
            pass
        except (LibraryError, OSError) as error:
            _log.warning("The vector index in %s is not built further: %s", self._folder.path, error)

    def _leave_queries(self, current: Space) -> None:
        """See to it that whoever builds has vectors of texts, if they can be made here."""
        mine = self._space
        if mine is None or mine.sample is None or not mine.agrees_with(current) or self._folder.has_queries(current):
            return
        parts: list[Vectors] = []
        for part in mine.sample():
            if self._closed:
                return
            parts.append(part)
        if parts:
            self._folder.write_queries(current, np.concatenate(parts))

    def _adopt(self) -> None:
        """Take over the segments of a new manifest; the head loses what they have."""
        if self._position is None:  # nothing is loaded: whoever searches first reads the newest
            return
        version = self._folder.version()
        if version == self._seen:
            return
        manifest = self._folder.manifest()
        if manifest is None or not manifest.is_of(self._catalog.state(), self._collection):
            self._forget(version)
            return
        from index.vectors.faiss.byte_block import ByteBlock
        from index.vectors.faiss.segments import Segments

        segments = Segments.load(self._folder, manifest, self._segments)
        if segments is None:
            self._give_up(version)
            return
        with self._refreshing:
            self._replay()
            position, head = self._position, self._head
            if position is None or head is None or position.generation != manifest.generation:
                return
            if self._segments is not None and manifest.key < self._segments.manifest.key:
                self._position = None  # a rebuilt index that is behind: start anew
                return
            self._make = ByteBlock.of
            rest, removed = (
                head.after(manifest.key).making(self._make),
                segments.present(self._feed.removed_since(manifest.deletion)),
            )
            with self._lock.write():
                self._segments, self._head, self._removed, self._seen = segments, rest, removed, version

    def _give_up(self, version: tuple[int, int] | None) -> None:
        """Have everything built anew because files are damaged, unless they were only replaced while they were read."""
        if self._folder.version() == version:
            self._folder.discard()

    def _forget(self, version: tuple[int, int] | None) -> None:
        """Load everything anew with the next refresh: the segments were given up."""
        with self._refreshing:
            if self._segments is not None:
                self._position = None
            self._seen = version

    # Searching

    def _require(self, generation: int) -> None:
        if self._head is None or self._position is None or self._position.generation != generation:
            raise GenerationChanged

    def _size(self) -> int:
        sealed = 0 if self._segments is None else len(self._segments) - len(self._removed)
        return sealed + (0 if self._head is None else len(self._head))

    def _search(self, vector: Vectors, k: int, selection: Selection | None, excluded: Keys, generation: int) -> Nearest:
        """Search segments and head, as widely as it takes to find enough."""
        lists = candidates = scored = 0
        while True:
            with self._lock.read():
                self._require(generation)
                segments, head, position = self._segments, self._head, self._position
                assert head is not None and position is not None  # noqa: S101, PT018 (narrows the types)
                size = self._size()
                total = size - len(excluded)
                if selection is not None:
                    total = len(selection.keys) - selection.count(excluded)
                wanted = min(k, total)
                if wanted <= 0:
                    return Nearest(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64), max(total, 0))
                if not candidates:
                    scored = _least_scored(wanted)
                    candidates = scored * _DEPTH // _SCORED_DEPTH
                    if segments is not None:
                        probing = segments.manifest.probing
                        # A page asks for one more than it shows, and so does one of as many as the recall is about.
                        deeper = max(1.0, scored / _least_scored(RECALL_AT + 1))
                        candidates = max(round(probing.candidates * deeper**_GROWTH), candidates)
                        scored = candidates if probing.scored is None else max(probing.scored, scored)
                        share = 1.0 if selection is None else len(selection.keys) / max(size, 1)
                        lists = min(segments.codec.lists, round(probing.lists * deeper / share**0.5))
                # A few deleted records are not worth a bitmap: their vectors are not there, and more are read for them.
                few = len(self._removed) <= _FEW
                refused = excluded if few else np.concatenate([excluded, self._removed])
                chosen = Selector(position.key + 1, selection, refused)
                depth = max(wanted * 3 // 2, scored // _SCORED_DEPTH)
                whole = depth >= len(head)
                if segments is None:
                    keys = head.all_nearest(vector, depth, chosen.choice)
                else:
                    keys = head.nearest(vector, depth, chosen.choice)
                    gone = len(self._removed) if few else 0
                    sealed, everything = segments.candidates(
                        vector, candidates + gone, scored + gone, lists, chosen.of_faiss
                    )
                    keys, whole = np.concatenate([keys, sealed]), whole and everything
            scores, found = self._score(vector, keys, wanted, generation)
            if whole or len(found) == wanted:
                return Nearest(scores, found, total)
            candidates, scored = 2 * candidates, 2 * scored
            if segments is not None:
                lists = min(segments.codec.lists, 4 * lists)

    def _score(self, vector: Vectors, keys: Keys, k: int, generation: int) -> tuple[Vectors, Keys]:
        """Return scores and keys of the k best of these keys, by their vectors in the catalog."""
        scores, found = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        for start in range(0, len(keys), _SCORED):
            stored, halves = self._collection.stored(keys[start : start + _SCORED], generation)
            if not len(stored):
                continue
            some, which = nearest(vector, stored, halves, k)
            scores, found = best(np.concatenate([scores, some]), np.concatenate([found, which]), k)
        return scores, found


def _least_scored(wanted: int) -> int:
    return -(-wanted * _SCORED_DEPTH // _STEP) * _STEP
