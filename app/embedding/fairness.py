"""Turns between clients: whoever asks for little does not wait until whoever asks for much has it all."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class ShuttingDown(RuntimeError):  # noqa: N818  # a state, as in index.LibraryClosed
    """The service stops, and takes no more work."""

    code = "shutting_down"

    def __init__(self, message: str = "The service is shutting down and takes no more work.") -> None:
        super().__init__(message)


class ClientLeft(RuntimeError):  # noqa: N818  # a state, as above
    """Whoever asked has hung up, and what was asked for had not been begun."""


class FairQueue(Generic[T]):
    """A queue in which clients take turns; each client's own items stay in order. Not thread-safe."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, client: str, items: Iterable[T]) -> None:
        """Queue items of a client."""
        added = list(items)
        if added:
            self._queues.setdefault(client, deque()).extend(added)
            self._size += len(added)

    def peek(self) -> T:
        """The item that `pop` would return; IndexError when there is none."""
        if not self._queues:
            raise IndexError("the queue is empty")
        return next(iter(self._queues.values()))[0]

    def pop(self) -> T:
        """The next item of the client whose turn it is; IndexError when there is none."""
        if not self._queues:
            raise IndexError("the queue is empty")
        client, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._size -= 1
        if queue:
            self._queues.move_to_end(client)
        else:
            del self._queues[client]
        return item

    def clear(self) -> list[T]:
        """Take everything out."""
        items = [item for queue in self._queues.values() for item in queue]
        self._queues.clear()
        self._size = 0
        return items


class Shares:
    """A quantity that clients take parts of. Beyond the whole there is a quarter more for who has nothing yet.

    So one client may have all of it, and does not shut out the next one. Not thread-safe.
    """

    def __init__(self, whole: int) -> None:
        self.whole = whole
        self._taken: Counter[str] = Counter()
        self._total = 0

    @property
    def taken(self) -> int:
        """How much is taken."""
        return self._total

    def fits(self, client: str, part: int) -> bool:
        """Whether a client may take a part now. What is larger than the whole may be taken when nothing else is."""
        newcomer = self._taken[client] == 0
        limit = self.whole + (max(1, self.whole // 4) if newcomer else 0)
        return self._total == 0 or self._total + part <= limit

    def take(self, client: str, part: int) -> None:
        """Take a part."""
        self._taken[client] += part
        self._total += part

    def give_back(self, client: str, part: int) -> None:
        """Give a part back."""
        self._total -= part
        self._taken[client] -= part
        if not self._taken[client]:
            del self._taken[client]


class ByteBudget:
    """Bytes that may be in memory at a time. Whoever wants more waits for its turn, or is told that there are none.

    Never wait while holding some: two who do may wait for each other. For any number of threads.
    """

    def __init__(self, total: int) -> None:
        self._shares = Shares(total)
        self._lock = threading.Lock()
        self._waiting: FairQueue[tuple[str, int, Future[None]]] = FairQueue()
        self._closed = False

    def try_take(self, client: str, size: int) -> bool:
        """Take bytes if there are some, and nobody waits for them."""
        with self._lock:
            if self._waiting or not self._shares.fits(client, size):
                return False
            self._shares.take(client, size)
            return True

    def take(self, client: str, size: int) -> None:
        """Take bytes, and wait until there are some; ShuttingDown."""
        granted: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise ShuttingDown
            self._waiting.push(client, [(client, size, granted)])
            self._grant()
        granted.result()

    def give_back(self, client: str, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._shares.give_back(client, size)
            self._grant()

    @contextmanager
    def hold(self, client: str, size: int) -> Iterator[None]:
        """Have bytes for as long as the context lasts; as `take`."""
        self.take(client, size)
        try:
            yield
        finally:
            self.give_back(client, size)

    def close(self) -> None:
        """Tell all who wait that there will be nothing. Idempotent."""
        with self._lock:
            self._closed = True
            refused = self._waiting.clear()
        for _, _, granted in refused:
            granted.set_exception(ShuttingDown())

    def _grant(self) -> None:
        while self._waiting:
            client, size, granted = self._waiting.peek()
            if not self._shares.fits(client, size):
                return
            self._waiting.pop()
            self._shares.take(client, size)
            granted.set_result(None)


class FairPool:
    """Threads that call functions, a client's turn at a time; as many as were needed so far."""

    def __init__(self, threads: int, name: str, together: float = 0.0) -> None:
        """At most so many `threads`.

        `together`: seconds for which a thread that has more to do may keep results, and then hands them over in one go.
        Whoever gets a result wants the interpreter's lock, at once, and contends for it with the thread at each of the
        many short calls that let go of it.
        """
        self._changed = threading.Condition()
        self._waiting: FairQueue[tuple[Future[Any], Callable[[], Any]]] = FairQueue()
        self._closed = False
        self._most = threads
        self._name = name
        self._together = together
        self._threads: list[threading.Thread] = []
        self._idle = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits; False after `refuse`."""
        with self._changed:
            return not self._closed and not self._waiting and self._idle == len(self._threads)

    def submit(self, client: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called; ShuttingDown."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise ShuttingDown
            self._waiting.push(client, [(future, partial(function, *args, **kwargs))])
            if self._idle < len(self._waiting) and len(self._threads) < self._most:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            self._changed.notify()
        return future

    def refuse(self) -> None:
        """Accept no more work, and fail what waits with ShuttingDown. Idempotent."""
        with self._changed:
            self._closed = True
            abandoned = self._waiting.clear()
            self._changed.notify_all()
        for future, _ in abandoned:
            if future.set_running_or_notify_cancel():
                future.set_exception(ShuttingDown())

    def close(self) -> None:
        """As `refuse`, and wait for what runs. Idempotent."""
        self.refuse()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        done: list[_Outcome] = []
        until = 0.0
        while True:
            with self._changed:
                if not done:
                    self._idle += 1
                    self._changed.wait_for(lambda: self._waiting or self._closed)
                    self._idle -= 1
                if self._closed:
                    break
                following = self._waiting.pop() if self._waiting else None
            if following is None:
                _hand_over(done)
                continue
            future, call = following
            if future.set_running_or_notify_cancel():
                if not done:
                    until = time.monotonic() + self._together
                try:
                    done.append((future.set_result, call()))
                except BaseException as error:  # it belongs to the caller who waits
                    done.append((future.set_exception, error))
            del following, future, call  # nobody's image stays in memory until the next one
            if time.monotonic() >= until:
                _hand_over(done)
        _hand_over(done)


_Outcome = tuple[Callable[[Any], None], Any]
"""What tells a future, and what it is told."""


def _hand_over(done: list[_Outcome]) -> None:
    for tell, outcome in done:
        tell(outcome)
    done.clear()
