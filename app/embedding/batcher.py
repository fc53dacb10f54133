"""Gathering what many callers want computed into batches, in lanes that do not wait for each other.

A caller asks for a *place* in a lane, and is refused at once when all are taken (`Overloaded`). Whoever has a place is
served to the end: of what it submits, a few batches at most wait at a time, and `Place.submit` makes it wait for its
own earlier ones. So what waits is bounded (places x `WINDOW` batches), nobody fails half-way, and a caller with many
items takes turns with all others. Clients take turns, too, however many places each has.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from itertools import islice
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

from app.embedding.fairness import ClientLeft, FairQueue, Shares, ShuttingDown
from model import threads

logger = logging.getLogger(__name__)

T = TypeVar("T")

BatchFunction = Callable[[list[Any]], Sequence[Any]]
"""Computes one result for each item, in order. Lanes call it at the same time."""

Observer = Callable[[str, int, float], None]
"""Told of each batch: its kind, its size, and the seconds it took."""

Lane = Literal["search", "bulk"]
"""`search` is for searches; `bulk` for all that takes longer: storing images and sentences, captions, vectors, maps."""

WINDOW = 2
"""Batches of one place that wait at the same time: one is computed while the caller makes the next one ready."""

_RETRY_AFTER: Mapping[Lane, int] = {"search": 1, "bulk": 5}


Left = Callable[[], bool]
"""Tells whether whoever asked has hung up: what is not begun by then need not be computed."""


def never() -> bool:
    """For callers who wait to the end."""
    return False


class Overloaded(RuntimeError):  # noqa: N818  # a state, as above
    """All places of a lane are taken. `retry_after`: seconds after which to try again, different ones each time."""

    code = "overloaded"

    def __init__(self, lane: Lane, places: int, retry_after: int | None = None) -> None:
        self.lane: Lane = lane
        self.places = places
        self.retry_after = retry_after or retry_later(_RETRY_AFTER[lane])
        what = "searches" if lane == "search" else "requests that embed, store or caption"
        super().__init__(
            f"The service is at work on {places:,} {what}: as many as it takes on at a time. This one was not begun. "
            f"Try again in {self.retry_after} s."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.lane, self.places, self.retry_after)


def retry_later(seconds: int) -> int:
    """So many seconds or up to twice as many, at random: who is refused together does not come back together."""
    return random.randint(seconds, 2 * seconds)  # noqa: S311  # no secret


class _Waiting(NamedTuple):
    item: Any
    future: Future[Any]
    arrived: float
    left: Left


class Batcher:
    """Runs batch functions, each lane on a thread of its own. Items of one kind share batches, whoever submits them.

    A batch starts when it is full or when its first item has waited long enough. The kinds of a lane take turns, so
    that a long queue of one (an ingestion of photographs) delays another (captions) by one batch at most. When a batch
    fails, its items are computed one by one, so that a bad item fails alone.
    """

    def __init__(
        self,
        functions: Mapping[str, BatchFunction],
        *,
        places: Mapping[Lane, int],
        max_batch: int = 16,
        max_wait: float = 0.002,
        name: str = "batcher",
    ) -> None:
        """`places`: how many callers each lane takes on at a time."""
        if max_batch < 1:
            raise ValueError("a batch has at least one item")
        self._max_batch = max_batch
        self._places = {lane: Shares(number) for lane, number in places.items()}
        self._lock = threading.Lock()
        self._workers = {
            lane: _Worker(functions, max_batch, max_wait, f"{name}-{lane}", in_background=lane == "bulk")
            for lane in places
        }

    def observe(self, observer: Observer) -> None:
        """Call an observer for every batch from now on."""
        for worker in self._workers.values():
            worker.observer = observer

    @contextmanager
    def admit(self, lane: Lane, client: str = "", left: Left = never) -> Iterator[Place]:
        """A place in a lane for as long as the context lasts; Overloaded when all are taken.

        A few more are kept for clients that have none. What is submitted from it and has not begun when the client has
        `left` fails with ClientLeft.
        """
        shares = self._places[lane]
        with self._lock:
            if not shares.fits(client, 1):
                raise Overloaded(lane, shares.whole)
            shares.take(client, 1)
        try:
            yield Place(self._workers[lane], lane, client, self._max_batch, left)
        finally:
            with self._lock:
                shares.give_back(client, 1)

    def taken(self, lane: Lane) -> int:
        """How many places in a lane are taken: requests at work or waiting."""
        with self._lock:
            return self._places[lane].taken

    def submit(self, lane: Lane, kind: str, items: Iterable[Any]) -> list[Future[Any]]:
        """Queue items without a place: for the few callers that the service itself has, which bound what they submit.

        A future for each, in order. ShuttingDown after `close`.
        """
        return self._workers[lane].submit(kind, items)

    def refuse(self) -> None:
        """Accept no more work, and fail what waits with ShuttingDown. Idempotent."""
        for worker in self._workers.values():
            worker.refuse()

    def close(self) -> None:
        """As `refuse`, and wait for the batches that run. Idempotent."""
        self.refuse()
        for worker in self._workers.values():
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Place:
    """A caller's place in a lane (`Batcher.admit`)."""

    def __init__(self, worker: _Worker, lane: Lane, client: str, max_batch: int, left: Left) -> None:
        self.lane: Lane = lane
        self.client = client
        self.left = left
        self._worker = worker
        self._max_batch = max_batch
        self._room = threading.Semaphore(WINDOW * max_batch)

    def submit(self, kind: str, items: Iterable[Any]) -> list[Future[Any]]:
        """Queue items and return a future for each, in order; waits until few enough of the earlier ones are left.

        ShuttingDown after the batcher's `close`.
        """
        futures: list[Future[Any]] = []
        for chunk in batched(items, self._max_batch):
            for _ in chunk:
                self._room.acquire()
            submitted = self._worker.submit(kind, chunk, self.client, self.left)
            for future in submitted:
                future.add_done_callback(lambda _: self._room.release())
            futures += submitted
        return futures


class _Worker:
    """The thread of a lane, and its queues."""

    def __init__(
        self,
        functions: Mapping[str, BatchFunction],
        max_batch: int,
        max_wait: float,
        name: str,
        *,
        in_background: bool,
    ) -> None:
        self._in_background = in_background
        self.observer: Observer | None = None
        self._functions = dict(functions)
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._queues: dict[str, FairQueue[_Waiting]] = {kind: FairQueue() for kind in functions}
        self._turns = deque(functions)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, kind: str, items: Iterable[Any], client: str = "", left: Left = never) -> list[Future[Any]]:
        now = time.monotonic()
        waiting = [_Waiting(item, Future(), now, left) for item in items]
        with self._changed:
            if self._closed:
                raise ShuttingDown
            self._queues[kind].push(client, waiting)
            self._changed.notify_all()
        return [one.future for one in waiting]

    def refuse(self) -> None:
        """Accept no more work, and fail what waits."""
        with self._changed:
            self._closed = True
            abandoned = [one for queue in self._queues.values() for one in queue.clear()]
            self._changed.notify_all()
        for one in abandoned:
            if one.future.set_running_or_notify_cancel():
                one.future.set_exception(ShuttingDown())

    def join(self) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        with threads.in_background() if self._in_background else nullcontext():
            self._work()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            kind, waiting = batch
            live = [one for one in waiting if _is_wanted(one)]
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
                    return kind, [queue.pop() for _ in range(size)]
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
            remaining = queue.peek().arrived + self._max_wait - now
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
                if self._closed:
                    one.future.set_exception(ShuttingDown())
                else:
                    self._compute(kind, [one])
            return
        for one, result in zip(waiting, results, strict=True):
            one.future.set_result(result)
        if self.observer is not None:
            self.observer(kind, len(waiting), time.perf_counter() - started)


def _is_wanted(one: _Waiting) -> bool:
    """Tell whether anybody still wants what is about to be computed."""
    if not one.future.set_running_or_notify_cancel():
        return False
    if one.left():
        one.future.set_exception(ClientLeft())
        return False
    return True


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items, in order."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
