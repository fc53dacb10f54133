"""Following sources: a pass when something changes in one, when it comes back, when somebody asks, and now and then."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.ingest.sources.progress import FileOutcome, PassOptions, PassProgress
from app.ingest.sources.registering import SourceRefused, register_source
from app.ingest.sources.shared_status import FollowerState, SourceBoard
from app.ingest.sources.watching import Watcher
from app.settings import Settings
from index import FileState, Library, LibraryClosed, LibraryError, Source, SourceNotFound

if TYPE_CHECKING:  # going over a source needs much that no other command does
    from app.ingest.sources.passes import Ingest

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between looks at what is due, and at whether the folders are there."""
SETTLE = 1.0
"""Seconds for which a file must not have changed before it is read: others may still be writing it."""
RETRY = 60.0
"""Seconds after which a pass that failed is tried again."""
_POSTED_EVERY = 0.5  # seconds between two looks at what the other workers are to know, or ask for
_SHARE = 3.0  # after a pass that changes called for, so many times its duration until the next


@dataclass(frozen=True)
class SourceStatus:
    """A source, how many of its files are in which state, and what is being done about it.

    `progress` is that of the pass under way, or of the last one of this process; `error` says why the last one failed,
    and `watch_problem` why changes are only noticed by the periodic pass.
    """

    source: Source
    files: dict[FileState, int]
    at_work: bool
    progress: PassProgress | None
    error: str | None
    watch_problem: str | None


class SourceFollower:
    """Keeps the library in step with its sources, in a thread of its own, from `start` until `close`. Thread-safe.

    Sources are those of the catalog, whoever registered them. One pass runs at a time. Of several workers with a
    `board` the leader alone does anything; the others pass on what they are asked, and tell what it tells them.
    """

    def __init__(
        self,
        library: Library,
        ingest: Ingest,
        settings: Settings,
        only: Iterable[str] | None = None,
        tell: Callable[[Source, FileOutcome], None] = lambda source, outcome: None,
        finished: Callable[[Source, PassProgress], None] = lambda source, progress: None,
        board: SourceBoard | None = None,
    ) -> None:
        """`only`: ids of the sources to follow. `tell` hears of every file that was read, `finished` of every pass."""
        self._library = library
        self._ingest = ingest
        self._settings = settings
        self._only = None if only is None else frozenset(only)
        self._tell = tell
        self._finished = finished
        self._lock = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._due: dict[str, float] = {}
        self._wanted: set[str] = set()  # somebody asked for these: refused files are tried again
        self._not_before: dict[str, float] = {}
        self._paused: set[str] = set()
        self._forgetting: set[str] = set()
        self._progress: dict[str, PassProgress] = {}
        self._errors: dict[str, str] = {}
        self._at_work: str | None = None
        self._roots: dict[str, tuple[int, int] | None] = {}
        self._watcher: Watcher | None = None
        self._board = board
        self._posting: threading.Thread | None = None

    def start(self) -> None:
        """Register the sources of the settings, and begin. Idempotent."""
        with self._lock:
            if self._thread is not None or self._closing:
                return
            self._thread = threading.Thread(target=self._work, name="visem-sources", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and end after the files at hand: what was done is stored. Idempotent."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()

    def close(self, timeout: float | None = None) -> None:
        """Stop, and wait for that, for up to `timeout` seconds. Idempotent.

        A pass that is still at work may also be ended by stopping the service under it.
        """
        self.stop()
        for thread in (self._thread, self._posting):
            if thread is not None:
                thread.join(timeout)

    def statuses(self) -> list[SourceStatus]:
        """All sources, in the order in which they came."""
        state = self._state()
        return [_status(source, self._library, state) for source in self._library.sources.all()]

    def get(self, source_id: str) -> SourceStatus:
        """One source; SourceNotFound."""
        return _status(self._library.sources.get(source_id), self._library, self._state())

    def pause(self, source_id: str, paused: bool) -> SourceStatus:
        """Stop working on a source, or go on; all processes heed it. SourceNotFound."""
        self._library.sources.pause(source_id, paused)
        if self._others_lead is not None:
            if not paused:
                self._others_lead.ask("resume", source_id)
        elif paused:
            with self._lock:
                self._paused.add(source_id)
                self._lock.notify_all()
        else:
            self._resume(source_id)
        return self.get(source_id)

    def rescan(self, source_id: str) -> SourceStatus:
        """Go over a source now, and try refused files again; SourceNotFound."""
        status = self.get(source_id)
        if self._others_lead is not None:
            self._others_lead.ask("rescan", source_id)
        else:
            self._rescan(source_id)
        return status

    def forget(self, source_id: str) -> int:
        """Delete a source and the images that are in it alone, but no file; return how many. SourceNotFound."""
        with self._lock:
            self._forgetting.add(source_id)  # ends a pass that is under way, and no other one begins
            self._lock.wait_for(lambda: self._at_work != source_id)
        try:
            return self._library.sources.forget(source_id)
        finally:
            with self._lock:
                self._forgetting.discard(source_id)

    @property
    def _others_lead(self) -> SourceBoard | None:
        """The board on which another worker tells what it does; None if it is this one that follows the sources."""
        return self._board if self._board is not None and not self._board.leads() else None

    def _state(self) -> FollowerState:
        if self._others_lead is not None:
            return self._others_lead.read()
        watcher = self._watcher
        problem = None if watcher is None else watcher.problem
        return FollowerState(self._at_work, problem, dict(self._errors), dict(self._progress))

    def _resume(self, source_id: str) -> None:
        with self._lock:
            self._paused.discard(source_id)
            self._due[source_id] = 0.0
            self._not_before.pop(source_id, None)
            self._lock.notify_all()

    def _rescan(self, source_id: str) -> None:
        with self._lock:
            self._wanted.add(source_id)
            self._due[source_id] = 0.0
            self._not_before.pop(source_id, None)
            self._lock.notify_all()

    def _lead(self) -> bool:
        """Wait until this worker is to follow the sources; False if it is to stop."""
        board = self._board
        with self._lock:
            while board is not None and not self._closing and not board.leads():
                self._lock.wait(TICK)
            if self._closing:
                return False
        if board is None or not board.registered:
            self._register()
        if board is not None:
            try:
                board.note_registered()
            except OSError as error:
                logger.warning("the next worker that leads registers the sources of the settings again: %s", error)
            self._posting = threading.Thread(target=self._post, args=(board,), name="visem-board", daemon=True)
            self._posting.start()
        return True

    def _register(self) -> None:
        for folder in self._settings.sources:
            try:
                register_source(self._library, folder, self._settings.library)
            except SourceRefused as error:
                logger.error("VISEM_SOURCES: %s", error)
            except Exception:
                logger.exception("VISEM_SOURCES: %s could not be registered", folder)

    def _post(self, board: SourceBoard) -> None:
        """Tell the other workers how it is going, and do what they ask, until the end."""
        warned = False
        while not self._closing:
            try:
                for wish, source_id in board.asked():
                    (self._rescan if wish == "rescan" else self._resume)(source_id)
                board.post(self._state())
            except OSError as error:
                if not warned:
                    logger.warning("other workers do not know what is done about sources: %s", error)
                warned = True
            with self._lock:
                self._lock.wait_for(lambda: self._closing, timeout=_POSTED_EVERY)

    def _work(self) -> None:
        if not self._lead():
            return
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._closing or self._is_due(), timeout=TICK)
                if self._closing:
                    break
            try:
                sources = self._look()
                for source in sources:
                    if self._closing:
                        break
                    if self._due.get(source.id, 0.0) <= time.monotonic():
                        self._pass(source)
            except LibraryClosed:
                break
            except LibraryError as error:  # such as an engine that is away
                logger.warning("sources have to wait: %s", error)
            except Exception:
                logger.exception("sources could not be looked at")
        if self._watcher is not None:
            self._watcher.close()

    def _is_due(self) -> bool:
        return any(self._due.get(id, 0.0) <= time.monotonic() for id in self._wanted - self._paused)

    def _look(self) -> list[Source]:
        """The sources to work on. Finds out whose folders came, went or were exchanged, and watches those there are."""
        sources = [one for one in self._library.sources.all() if self._only is None or one.id in self._only]
        roots = {source.root: _identity(source.root) for source in sources if not source.paused}
        ended = self._watcher is not None and self._watcher.ended
        with self._lock:
            self._paused = {source.id for source in sources if source.paused}
            self._wanted &= {source.id for source in sources}
            for source in sources:
                if ended or (source.root in self._roots and roots.get(source.root) != self._roots[source.root]):
                    self._due[source.id] = 0.0
        there = {root for root, identity in roots.items() if identity is not None}
        if roots != self._roots or ended:
            if self._watcher is not None:
                self._watcher.close()
            self._watcher = Watcher(there, self._settings.library, self._changed) if there else None
            self._roots = roots
        return [source for source in sources if not source.paused]

    def _changed(self, paths: Iterable[str]) -> None:
        """Hear that something happened to these paths."""
        touched = list(paths)
        sources = self._library.sources.all()
        with self._lock:
            for source in sources:
                if any(path == source.root or path.startswith(f"{source.root}/") for path in touched):
                    soon = max(time.monotonic(), self._not_before.get(source.id, 0.0))
                    self._due[source.id] = min(soon, self._due.get(source.id, soon))

    def _pass(self, source: Source) -> None:
        with self._lock:
            if source.id in self._forgetting:
                return
            asked = source.id in self._wanted
            self._wanted.discard(source.id)
            self._due[source.id] = math.inf  # unless something happens meanwhile
            self._at_work = source.id
        from app.ingest.sources.passes import SourcePass

        options = PassOptions(retry=asked, settle_seconds=SETTLE)
        this = SourcePass(
            self._library,
            self._ingest,
            self._settings,
            source,
            options,
            _Asked(lambda: self._is_to_stop(source.id)),
            lambda outcome: self._tell(source, outcome),
        )
        self._progress[source.id] = this.progress
        started = time.monotonic()
        wait = self._settings.rescan_minutes * 60
        try:
            progress = this.run()
        except (LibraryClosed, SourceNotFound):
            pass
        except Exception as error:
            if not self._closing:
                self._errors[source.id] = str(error)
                logger.exception("the source %s could not be gone over; it is tried again", source.root)
                wait = RETRY
        else:
            self._errors.pop(source.id, None)
            if progress.deferred:
                wait = SETTLE
            self._finished(source, replace(progress))
        now = time.monotonic()
        with self._lock:
            earliest = self._not_before[source.id] = now + min(_SHARE * (now - started), RETRY)
            self._due[source.id] = min(max(self._due[source.id], earliest), now + wait)
            self._at_work = None
            self._lock.notify_all()

    def _is_to_stop(self, source_id: str) -> bool:
        if self._closing or source_id in self._paused or source_id in self._forgetting:
            return True
        try:
            return self._library.sources.get(source_id).paused
        except SourceNotFound:
            return True


def _status(source: Source, library: Library, state: FollowerState) -> SourceStatus:
    return SourceStatus(
        source,
        library.sources.counts(source.id),
        state.at_work == source.id,
        state.progress.get(source.id),
        state.errors.get(source.id),
        state.watch_problem,
    )


class _Asked:
    """The answer to a costly question, kept for a while."""

    def __init__(self, ask: Callable[[], bool], seconds: float = 0.25) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked = 0.0
        self._answer = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._answer and now - self._asked >= self._seconds:
            self._asked, self._answer = now, self._ask()
        return self._answer


def _identity(root: str) -> tuple[int, int] | None:
    """What tells whether it is still the same folder; None if it is not there."""
    try:
        status = Path(root).lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
