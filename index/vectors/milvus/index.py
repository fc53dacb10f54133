"""The `VectorIndex` on Milvus: what Milvus has, and a head in memory of what it has not, follow one collection.

Both only say which records may be near. Their vectors are read from the catalog, where every score is computed, so what
was deleted is never found, whatever Milvus still has, and a score does not depend on where a record was found.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

import numpy as np

from index.errors import EngineAway, LibraryClosed, LibraryError
from index.interfaces import Catalog, ChangeBatch, Collection, GenerationChanged, Nearest, Position, Where
from index.pacing import Pace
from index.scoring import best, nearest
from index.types import EngineState, IndexStats, Keys, Vectors
from index.vectors.head import Head
from index.vectors.milvus.client import MOST, CollectionLostError, MilvusCollections
from index.vectors.milvus.pushing import LITTLE, Pusher, Written

PUSH_AT = 2048
"""How many records that Milvus has not are worth a write to it."""

_SCORED = 4096  # vectors read from the catalog at a time
_SCANNED = 2000  # records that match a filter, up to which all are scored
_LISTED = 50_000  # keys in one request to Milvus
_HELD = (
    100_000  # vectors of the head: what Milvus lacks beyond them has to be written to it before anything is searched
)
_DEPTH = 4  # candidates for each record wanted, at least
_SETTLED = 15.0  # seconds after which what was written is in an answer of consistency "Bounded" (5 by default), too
_PATIENCE = 300.0  # seconds for which a rebuild waits for an engine that is away
_PAUSE = 5.0  # seconds between two attempts to write, after one that failed
_LEASE = 60.0  # seconds for which a process writes alone, and longer if it goes on; others write if it is gone
_ANOTHER = 2.0  # seconds between two looks at what another process has written

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _View:
    """What searches work with: what was followed up to `position`, of which Milvus has what is in `written`, if any.

    `gone` are positions in the log of deletions with keys that Milvus may still have. Until `strong_until` (monotonic)
    searches wait until Milvus shows all that was written.
    """

    position: Position
    written: Written | None
    head: Head
    gone: tuple[tuple[int, Keys], ...]
    strong_until: float

    @property
    def waiting(self) -> int:
        """How many additions and deletions Milvus has not yet."""
        return len(self.head) + sum(len(keys) for _, keys in self.gone)

    @property
    def key(self) -> int:
        """The last key that Milvus has."""
        return 0 if self.written is None else self.written.position.key


class MilvusVectorIndex:
    """The nearest neighbours of one collection; see `VectorIndex`. Thread-safe.

    Milvus is not asked before the first `refresh`.
    """

    def __init__(self, catalog: Catalog, collection: Collection[Any], url: str, push_at: int = PUSH_AT) -> None:
        """Follow `collection`. Whatever is not in Milvus yet is written there `push_at` records at a time, or more."""
        self._catalog = catalog
        self._collection = collection
        self._milvus = MilvusCollections(url)
        self._pusher = Pusher(catalog, collection, self._milvus)
        self._push_at = push_at
        self._feed = collection.feed()
        self._lease = f"vectors:{collection.target}"
        self._holder = secrets.token_hex(8)
        self._refreshing = threading.Lock()  # guards following
        self._view: _View | None = None
        self._helper: threading.Thread | None = None
        self._helping = threading.Lock()  # guards the next three
        self._not_before = 0.0
        self._added = 0
        self._look_again = 0.0
        self._unwritten = 0  # while there is no view
        self._closed = threading.Event()

    def refresh(self) -> None:
        """Take over everything that was committed before this call, by whatever process."""
        with self._refreshing:
            if self._view is None:
                self._start()
            view = self._view
            if view is None:
                self._build()
            with closing(self._feed.poll(view.position)) as batches:
                for batch in batches:
                    view = self._view = self._after(view, batch)
                    if len(view.head) > _HELD:
                        self._view = None
                        self._build()
            if view.waiting >= self._push_at:
                self._help()

    def follow(self) -> None:
        """Refresh if it was refreshed before."""
        if self._view is not None:
            self.refresh()

    def is_ready(self) -> bool:
        """False: a search waits for a server."""
        return False

    def search(self, vector: Vectors, k: int, where: Where, *, generation: int) -> Nearest:
        """Return the k nearest to a unit vector (D,) among the records that match; GenerationChanged, EngineAway."""
        try:
            return self._nearest(self._require(generation), vector, k, where, generation)
        except CollectionLostError:  # it was removed, or somebody has another one by now
            with self._refreshing:
                self._view = None
            self.refresh()
        try:
            return self._nearest(self._require(generation), vector, k, where, generation)
        except CollectionLostError as error:
            raise EngineAway("vectors", "the collection in Milvus was removed") from error

    def _nearest(self, view: _View, vector: Vectors, k: int, where: Where, generation: int) -> Nearest:
        there = self._collection.count({})  # before what is hidden: a deletion between them takes no other's place
        hidden = self._collection.hidden()
        refused = np.union1d(hidden, self._collection.keys_of(where.exclude)) if where.exclude else hidden
        if where.is_everything:
            only, total = None, there - len(np.setdiff1d(refused, hidden))
        else:
            only = np.setdiff1d(self._collection.keys(where.filters, where.concepts, where.photo), refused)
            total = len(only)
        wanted = min(k, total)
        if wanted <= 0:
            return Nearest(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64), max(total, 0))
        if only is not None and total <= _SCANNED:
            scores, keys = self._score(vector, only, wanted, generation)
        elif only is None and total <= k:  # all of them, also what came since they were counted
            scores, keys = self._scan(vector, k, only, refused, generation)
        else:
            scores, keys = self._search(view, vector, wanted, only, refused, generation)
        return Nearest(scores, keys, total)

    def stats(self) -> IndexStats:
        """Return kind and size, as of now; the recall of Milvus is not measured."""
        return IndexStats("milvus", self._collection.count({}) + len(self._collection.hidden()), None, self.lag())

    def lag(self) -> int:
        """Return how many additions and deletions Milvus has not yet, as far as this process has followed."""
        view = self._view
        return self._unwritten if view is None else view.waiting

    def engine(self) -> EngineState:
        """Return how Milvus does."""
        return self._milvus.engine()

    def added(self, count: int) -> None:
        """Note that this process added so many records; what is to be written to Milvus is written by a thread."""
        self._added += count
        if self._added >= self._push_at:
            self._added = 0
            self._help()

    def problems(self) -> list[str]:
        """Return whether Milvus lacks vectors that it should have: a sentence, or nothing."""
        written = self._pusher.written(self._catalog.state().generation)
        if written is None:
            return []  # it is built when there is enough to build
        try:
            there = self._milvus.count(written.name)
        except CollectionLostError:
            there = 0
        missing = int((self._all_keys() <= written.position.key).sum()) - there
        if missing <= 0:
            return []
        name = self._collection.target
        return [f"{name}: {missing} vectors are missing in Milvus. Run `visem reindex --vectors`."]

    def close(self) -> None:
        """Stop following. Idempotent."""
        self._closed.set()
        with self._helping:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.join()
        self._milvus.close()
        self._feed.close()

    # Following

    def _start(self) -> None:
        """Find out what Milvus has, and follow the catalog from there, unless that is too much for the memory."""
        if time.monotonic() < self._look_again:
            return
        generation = self._catalog.state().generation
        written = self._pusher.written(generation)
        position = Position(generation, 0, 0) if written is None else written.position
        if self._collection.head().key - position.key > _HELD:
            self._unwritten = int((self._all_keys() > position.key).sum())
            if self._unwritten > _HELD:
                self._look_again = time.monotonic() + 1
                return
        self._view = _View(position, written, Head(), (), time.monotonic() + _SETTLED)

    def _build(self) -> NoReturn:
        """Have Milvus filled before anything is searched."""
        self._help()
        reason = f"the collection in Milvus is being built from the catalog, {self._unwritten:,} vectors are to come"
        raise EngineAway("vectors", reason)

    def _all_keys(self) -> Keys:
        return np.concatenate([self._collection.keys({}), self._collection.hidden()])

    @staticmethod
    def _after(view: _View, batch: ChangeBatch) -> _View:
        if batch.reset:
            view = _View(batch.position, None, Head(), (), 0.0)
        gone = batch.removed[batch.removed <= view.key]
        return replace(
            view,
            position=batch.position,
            head=view.head.without(batch.removed).with_more(batch.added, batch.halves),
            gone=(*view.gone, (batch.position.deletion, gone)) if len(gone) else view.gone,
        )

    def _adopt(self, written: Written) -> None:
        """Leave to Milvus what it has by now. What is not followed yet here is left to the next time."""
        with self._refreshing:
            view, position = self._view, written.position
            if view is None or view.position.generation != position.generation or position.key > view.position.key:
                return
            if written != view.written and position.key >= view.key:
                self._view = replace(
                    view,
                    written=written,
                    head=view.head.after(position.key),
                    gone=tuple(one for one in view.gone if one[0] > position.deletion),
                    strong_until=time.monotonic() + _SETTLED,
                )

    # Writing

    def _help(self) -> None:
        """Have what is due written to Milvus by a thread: nobody waits for it."""
        with self._helping:
            busy = self._helper is not None and self._helper.is_alive()
            if busy or self._closed.is_set() or time.monotonic() < self._not_before:
                return
            self._helper = threading.Thread(target=self._push_later, name="visem-milvus", daemon=True)
            self._helper.start()

    def _push_later(self) -> None:
        self._closed.wait(secrets.randbelow(500) / 1000)  # several processes see at the same time what is due
        try:
            self.push()
        except LibraryClosed:
            pass
        except CollectionLostError:
            self._later("it was removed while it was written")
        except LibraryError as error:
            self._later(str(error))

    def push(self) -> None:
        """Write to Milvus what is due, unless another process is at it; CollectionLostError, EngineAway."""
        if not self._is_due(self._written()):
            return
        if not self._claim():
            with self._helping:
                self._not_before = time.monotonic() + _ANOTHER
            return
        try:
            written = self._written()  # somebody may have been at it until now
            if written is None:
                state = self._catalog.state()
                written = self._pusher.begin(state.generation, state.space.dimension)
            if self._is_due(written):
                self._push_all(written)
        finally:
            self._catalog.leases.release(self._lease, self._holder)

    def _claim(self) -> bool:
        return self._catalog.leases.claim(self._lease, self._holder, _LEASE)

    def _written(self) -> Written | None:
        """Return what Milvus has by now, and leave it to Milvus."""
        written = self._pusher.written(self._catalog.state().generation)
        if written is not None:
            self._adopt(written)
        return written

    def _is_due(self, written: Written | None) -> bool:
        if written is None:
            return True
        head, there = self._collection.head(), written.position
        return max(head.key - there.key, head.deletion - there.deletion) >= self._push_at

    def _push_all(self, written: Written) -> None:
        count = LITTLE + 1
        while count > LITTLE and not self._closed.is_set() and self._claim():
            written, count = self._pusher.push(written)
            self._adopt(written)
        self._pusher.drop_others(written)

    def rebuild(self, pace: Pace) -> None:
        """Write everything into a new collection, and then remove the others; CollectionLostError, EngineAway."""
        while not self._claim():
            self._rest(1.0)
        try:
            while True:
                state = self._catalog.state()
                pace.begin(self.stats().size)
                written = self._pusher.begin(state.generation, state.space.dimension)
                count = LITTLE + 1
                while count > LITTLE:
                    self._claim()
                    written, count = self._push_patiently(written)
                    self._rest(pace.done(count))
                if self._catalog.state().generation == state.generation:
                    break  # or else all vectors were replaced meanwhile
            self._pusher.drop_all_but(written)
            self._adopt(written)
        finally:
            self._catalog.leases.release(self._lease, self._holder)

    def _push_patiently(self, new: Written) -> tuple[Written, int]:
        """Write one batch; while an engine is away, wait for it: what was written before is worth it. LibraryClosed."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._keep_up(new)
                return self._pusher.push(new)
            except EngineAway as error:
                if time.monotonic() > until:
                    raise
                _log.warning("The vectors of %s wait: %s", self._collection.target, error)
            if self._closed.wait(_PAUSE):
                raise LibraryClosed

    def _rest(self, seconds: float) -> None:
        """Wait, and stay the one who writes to Milvus; LibraryClosed."""
        until = time.monotonic() + seconds
        while True:
            if self._closed.wait(min(1.0, max(0.0, until - time.monotonic()))):
                raise LibraryClosed
            if time.monotonic() >= until:
                return
            self._claim()

    def _keep_up(self, new: Written) -> None:
        """Write to what searches still use, as nobody else does: what it lacks is in the memory of all processes."""
        written = self._written()
        if written is not None and written.name != new.name and self._is_due(written):
            self._adopt(self._pusher.push(written)[0])

    def _later(self, reason: str) -> None:
        _log.warning("The vectors of %s are not written to Milvus: %s", self._collection.target, reason)
        with self._helping:
            self._not_before = time.monotonic() + _PAUSE

    # Searching

    def _require(self, generation: int) -> _View:
        view = self._view
        if view is None or view.position.generation != generation:
            raise GenerationChanged
        return view

    def _search(
        self, view: _View, vector: Vectors, wanted: int, only: Keys | None, refused: Keys, generation: int
    ) -> tuple[Vectors, Keys]:
        """Ask Milvus and the head for more and more candidates, until there are enough that the catalog has."""
        gone = len(refused) + sum(len(keys) for _, keys in view.gone)
        count = min(MOST, 1 << (_DEPTH * wanted + gone - 1).bit_length())
        among = None if only is None else partial(np.isin, test_elements=only)
        fresh = view.head.all_nearest(vector, wanted + len(refused), among)
        while wanted <= count:
            keys = np.union1d(fresh, self._in_milvus(view, vector, count, only))
            scores, found = self._score(vector, keys[~np.isin(keys, refused)], wanted, generation)
            if len(found) == wanted:
                return scores, found
            if count == MOST:
                break
            count = min(MOST, 4 * count)
        return self._scan(vector, wanted, only, refused, generation)

    def _in_milvus(self, view: _View, vector: Vectors, count: int, only: Keys | None) -> Keys:
        if view.written is None:
            return np.empty(0, dtype=np.int64)
        name, strong = view.written.name, time.monotonic() < view.strong_until
        if only is None:
            return self._milvus.nearest(name, vector, count, only=None, strong=strong)
        there = only[only <= view.key]
        parts = [there[start : start + _LISTED] for start in range(0, len(there), _LISTED)]
        found = [self._milvus.nearest(name, vector, count, only=part, strong=strong) for part in parts]
        return np.concatenate([np.empty(0, dtype=np.int64), *found])

    def _scan(
        self, vector: Vectors, wanted: int, only: Keys | None, refused: Keys, generation: int
    ) -> tuple[Vectors, Keys]:
        """Score everything: more is wanted than Milvus returns, or Milvus has less than it should."""
        keys = self._collection.keys({}) if only is None else only
        return self._score(vector, np.setdiff1d(keys, refused), wanted, generation)

    def _score(self, vector: Vectors, keys: Keys, k: int, generation: int) -> tuple[Vectors, Keys]:
        """Return scores and keys of the k best of these keys, by their vectors in the catalog."""
        scores, found = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        for start in range(0, len(keys), _SCORED):
            stored, halves = self._collection.stored(keys[start : start + _SCORED], generation)
            some, near = nearest(vector, stored, halves, k)
            scores, found = best(np.concatenate([scores, some]), np.concatenate([found, near]), k)
        return scores, found
