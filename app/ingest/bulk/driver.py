"""The driver of a bulk ingestion: it has the library, answers the workers, and passes on what becomes of each file."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from app.ingest.bulk.cluster import Cluster
from app.ingest.bulk.errors import BulkError, ImagesLostError
from app.ingest.bulk.rpc import Question
from app.ingest.bulk.work_units import Files, Piece, names
from app.ingest.bulk.worker import Outcome, WorkerConfig
from app.ingest.destination import LibraryDestination
from app.ingest.names import display_name
from app.ingest.pipeline import IngestResult
from index import Added, ImageRecord, Library, NewImage

WINDOW = 10_000
"""Pieces of work that Ray Data is given at a time; between two times the workers start anew."""
ATTEMPTS = 3
"""How often a piece is begun: if its workers die each time, it is the piece that kills them."""

_ANSWERING = 4
"""Threads that answer workers, so that none waits for the images of another to be stored."""
_ENDING_SECONDS = 15.0
"""For which a thread is waited for at the end."""
_WAITING = 1024
"""Results that wait to be passed on; workers wait when there are more."""


@dataclass
class _Work:
    """A piece of work, and how far it is."""

    piece: Piece
    begun: int = 0
    reported: int = 0
    done: bool = False


class BulkIngestion:
    """One run. Iterate over `run`; abandoning it ends the workers, and what was stored stays."""

    def __init__(self, library: Library, cluster: Cluster, config: WorkerConfig) -> None:
        self.skipped: Counter[str] = Counter()
        """How many files of each ending in pieces of work were passed by as no images; grows with the iteration."""
        self.repeated = 0
        """How many pieces of work were begun again, as their workers died."""
        self._cluster = cluster
        self._config = config
        self._destination = LibraryDestination(library)
        self._lock = threading.Lock()
        self._works: dict[int, _Work] = {}
        self._created: set[str] = set()  # contents that were stored and are not reported yet
        self._results: queue.Queue[Outcome | BaseException | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._stopping = False
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def stop(self) -> None:
        """Have the workers finish what they have read; `run` ends when they have."""
        self._stopping = True

    @property
    def started(self) -> bool:
        """Whether a worker has begun with something."""
        return any(work.begun for work in self._works.values())

    def run(self, pieces: Iterable[Piece]) -> Generator[Outcome | None, None, None]:
        """Yield what becomes of each file, in no order, once it is durable; None now and then while nothing does.

        BulkError, and whatever the library raises.
        """
        remaining = enumerate(pieces)
        for _ in range(_ANSWERING):
            self._start("visem-bulk-answers", self._answer_all)
        try:
            while not self._stopping and (window := dict(islice(remaining, WINDOW))):
                yield from self._run(window)
        finally:
            self._closed.set()
            self._cluster.end()
            for thread in self._threads:
                thread.join(_ENDING_SECONDS)
            self._cluster.close()

    def _run(self, window: Mapping[int, Piece]) -> Iterator[Outcome | None]:
        self._works = {number: _Work(piece) for number, piece in window.items()}
        self._start("visem-bulk", partial(self._execute, list(window)))
        while True:
            try:
                result = self._results.get(timeout=0.2)
            except queue.Empty:
                yield None
                continue
            if result is None:
                break
            if isinstance(result, BaseException):
                raise self._failure or result
            yield result
        if not self._stopping and (left := sum(not work.done for work in self._works.values())):
            raise BulkError("ray_failed", f"Ray has left out {left:,} pieces of the work. Repeat the command to go on.")

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _execute(self, numbers: Sequence[int]) -> None:
        """Have Ray Data run the workers. The last result is None, or what went wrong."""
        end: BaseException | None = None
        try:
            self._cluster.execute(self._config, numbers)
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, result: Outcome | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                self._results.put(result, timeout=0.5)
            except queue.Full:
                continue
            return

    # Answering workers

    def _answer_all(self) -> None:
        while (question := self._cluster.next_question()) is not None:
            try:
                answer = self._answer(question)
            except ImagesLostError as error:  # their worker has died with them, or ends the run by raising it
                answer = error
            except BaseException as error:
                with self._lock:
                    self._failure = self._failure or error
                self._put(error)
                answer = BulkError("ray_failed", f"The driver cannot go on: {error}")
            self._cluster.answer(question, answer)

    def _answer(self, question: Question) -> Any:
        arguments = question.arguments
        match question.method:
            case "begin":
                return self._begin(*arguments)
            case "known":
                return self._destination.known(*arguments)
            case "add":
                return self._add(self._cluster.fetch(*arguments))
            case "report":
                return self._report(*arguments)
            case "end":
                return self._end(*arguments)
            case "refuse":
                raise arguments[0]
        raise ValueError(f"no such question: {question.method}")

    def _begin(self, number: int) -> tuple[Piece, int] | None:
        """A piece, and how many of its results are known already; None if there is nothing to do."""
        with self._lock:
            work = self._works.get(number)
            if self._stopping or work is None or work.done:
                return None
            work.begun += 1
            if work.begun <= ATTEMPTS:
                self.repeated += work.begun > 1
                return work.piece, work.reported
            work.done = True
        reason = (
            f"{ATTEMPTS} workers have died at work on it, or on files beside it. Add it without --ray, or leave it out."
        )
        left = names(work.piece)[work.reported if isinstance(work.piece, Files) else 0 :]
        for path in left:
            filename = display_name(path.rpartition("/")[2])
            self._put(Outcome(path, IngestResult("rejected", filename, code="worker_died", reason=reason)))
        return None

    def _add(self, images: Sequence[NewImage]) -> list[Added[ImageRecord]]:
        added = self._destination.add(images, ())
        with self._lock:
            self._created |= {one.record.sha256 for one in added if one.created}
        return added

    def _report(self, number: int, first: int, outcomes: Sequence[Outcome]) -> bool:
        """Take results of a piece; the answer is whether to stop.

        A worker that takes the place of one that died has results again that are known.
        """
        with self._lock:
            work = self._works.get(number)
            if work is None or work.done:
                return True
            fresh = [self._rightly(outcome) for outcome in outcomes[max(0, work.reported - first) :]]
            work.reported += len(fresh)
        for outcome in fresh:
            self._put(outcome)
        return self._stopping

    def _rightly(self, outcome: Outcome) -> Outcome:
        """Say of exactly one file of a content that it created the image, whoever stored it, and who died then."""
        result = outcome.result
        if result.record is None:
            return outcome
        created = result.record.sha256 in self._created
        self._created.discard(result.record.sha256)
        return replace(outcome, result=replace(result, status="created" if created else "duplicate"))

    def _end(self, number: int, skipped: Mapping[str, int], stopped: bool) -> None:
        with self._lock:
            work = self._works.get(number)
            if work is not None and not work.done:
                work.done = not stopped
                self.skipped.update(skipped)
