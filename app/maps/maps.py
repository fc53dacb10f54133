"""Maps for many who ask: one is drawn at a time, and what was drawn of the same library is drawn once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from cachetools import LRUCache

from app.embedding.batcher import Overloaded
from app.embedding.fairness import ShuttingDown
from app.maps.projection import Map, Sample, draw_map, take_sample
from index import Library
from model import threads
from model.space import JointSpace

KEPT = 8
"""Maps that are remembered; they share their images."""

MAX_WAITING = 4
"""Different maps that wait while one is drawn; more are refused."""

_LIFETIME = 60.0  # seconds; for what changes in a library without a record being added or deleted

_State = tuple[int, ...]
_Key = tuple[_State, int, tuple[str, ...]]


class Maps:
    """Draws maps of a library. Thread-safe."""

    def __init__(self, space: JointSpace, library: Library, clock: Callable[[], float] = time.monotonic) -> None:
        self._space = space
        self._library = library
        self._clock = clock
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._drawn: LRUCache[_Key, tuple[float, Future[Map]]] = LRUCache(KEPT)
        self._waiting = 0
        self._stopped = False
        self._sample: tuple[tuple[_State, int], Sample] | None = None

    def draw(self, words: Sequence[str], limit: int) -> Map:
        """A map of up to `limit` images, and of words, by `draw_map`; errors as there. Overloaded, ShuttingDown."""
        key = (self._library.images_state(), limit, tuple(words))
        with self._lock:
            expires, future = self._drawn.get(key, (0.0, None))
            mine = future is None or (future.done() and expires < self._clock())
            if mine:
                if self._waiting > MAX_WAITING:
                    raise Overloaded("bulk", MAX_WAITING)
                self._waiting += 1
                future = Future()
                self._drawn[key] = (self._clock() + _LIFETIME, future)
        assert future is not None  # noqa: S101  # for the type checker
        if mine:
            self._run(key, future)
        return future.result()

    def stop(self) -> None:
        """Draw no more: those that wait get ShuttingDown. Idempotent."""
        self._stopped = True

    def _run(self, key: _Key, future: Future[Map]) -> None:
        try:
            with self._drawing:
                if self._stopped:
                    raise ShuttingDown
                sample = self._sampled(key[0], key[1])
                with threads.in_background():
                    future.set_result(draw_map(self._space, sample, key[2]))
        except BaseException as error:
            future.set_exception(error)
            with self._lock:
                self._drawn.pop(key, None)
        finally:
            with self._lock:
                self._waiting -= 1

    def _sampled(self, state: _State, limit: int) -> Sample:
        """The images of the last map, if they would be the same for this one."""
        if self._sample is None or self._sample[0] != (state, limit):
            self._sample = None  # two would not be in memory together
            self._sample = ((state, limit), take_sample(self._library, limit))
            threads.trim_heap()  # of the rows that it was made from
        return self._sample[1]
