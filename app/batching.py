"""One worker thread which gathers what many callers want computed into batches."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple, Self

logger = logging.getLogger(__name__)

BatchFunction = Callable[[list[Any]], Sequence[Any]]
"""Computes one result for each item, in order."""

Observer = Callable[[str, int, float], None]
"""Told of each batch: its kind, its size, and the seconds it took."""


class BatcherClosed(RuntimeError):  # noqa: N818  # a state, as in index.LibraryClosed
    """The batcher has been closed and takes no more work."""

    code = "shutting_down"

    def __init__(self, message: str = "The service is shutting down and takes no more work.") -> None:
        super().__init__(message)


class _Waiting(NamedTuple):
    item: Any
    future: Future[Any]
    arrived: float


class Batcher:
    """Runs batch functions on one thread. Items of one kind share batches, whoever submits them.

    A batch starts when it is full or when its first item has waited long enough. The kinds take turns, so
    that a long queue of one (an ingestion of photographs) delays another (the sentence of a search) by one
    batch at most. When a batch fails, its items are computed one by one, so that a bad item fails alone.
    """

    def __init__(
        self,
        functions: Mapping[str, BatchFunction],
        *,
        max_batch: int = 16,
        max_wait: float = 0.002,
        name: str = "batcher",
    ) -> None:
        if max_batch < 1:
            raise ValueError("a batch has at least one item")
        self._functions = dict(functions)
        self._max_batch = max_batch
        self._max_wait = max_wait
        self.observer: Observer | None = None
        self._queues: dict[str, deque[_Waiting]] = {kind: deque() for kind in functions}
        self._turns = deque(functions)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, kind: str, items: Iterable[Any]) -> list[Future[Any]]:
        """Queue items and return a future for each, in order. BatcherClosed after `close`."""
        now = time.monotonic()
        waiting = [_Waiting(item, Future(), now) for item in items]
        with self._changed:
            if self._closed:
                raise BatcherClosed
            self._queues[kind].extend(waiting)
            self._changed.notify_all()
        return [one.future for one in waiting]

    def close(self) -> None:
        """Finish the batch that runs, fail what waits with BatcherClosed, and join the thread. Idempotent."""
        with self._changed:
            self._closed = True
            abandoned = [one for queue in self._queues.values() for one in queue]
            for queue in self._queues.values():
                queue.clear()
            self._changed.notify_all()
        for one in abandoned:
            if one.future.set_running_or_notify_cancel():
                one.future.set_exception(BatcherClosed())
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            kind, waiting = batch
            live = [one for one in waiting if one.future.set_running_or_notify_cancel()]
            if live:
                self._compute(kind, live)
            del batch, waiting, live  # or the last images would stay in memory until the next batch

    def _next_batch(self) -> tuple[str, list[_Waiting]] | None:
        with self._changed:
            while not self._closed:
                kind, wait = self._choose()
                if kind is not None:
                    queue = self._queues[kind]
                    size = min(self._max_batch, len(queue))
                    self._turns.remove(kind)
                    self._turns.append(kind)
                    return kind, [queue.popleft() for _ in range(size)]
                self._changed.wait(wait)
            return None

    def _choose(self) -> tuple[str | None, float | None]:
        """The kind whose batch may start now, else None and the seconds until one may; None for no items."""
        now = time.monotonic()
        soonest: float | None = None
        for kind in self._turns:
            queue = self._queues[kind]
            if not queue:
                continue
            remaining = queue[0].arrived + self._max_wait - now
            if len(queue) >= self._max_batch or remaining <= 0:
                return kind, None
            soonest = remaining if soonest is None else min(soonest, remaining)
        return None, soonest

    def _compute(self, kind: str, waiting: list[_Waiting]) -> None:
        function = self._functions[kind]
        started = time.perf_counter()
        try:
            results = function([one.item for one in waiting])
            if len(results) != len(waiting):
                raise RuntimeError(f"{kind}: {len(results)} results for {len(waiting)} items")
        except Exception as error:
            if len(waiting) == 1:
                waiting[0].future.set_exception(error)
                return
            logger.debug("a batch of %d %s failed, trying its items one by one", len(waiting), kind)
            for one in waiting:
                self._compute(kind, [one])
            return
        for one, result in zip(waiting, results, strict=True):
            one.future.set_result(result)
        if self.observer is not None:
            self.observer(kind, len(waiting), time.perf_counter() - started)
