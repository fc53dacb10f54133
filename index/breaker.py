"""A circuit breaker: while an engine is away, nobody waits for it in vain (M. Nygard, Release It!, 2007)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from index.errors import EngineAway, Part
from index.types import EngineState


class CircuitBreaker:
    """Refuses calls at once for a while after several in a row have failed. Thread-safe.

    When the pause is over, one call goes through. If it succeeds all do again; otherwise there is another pause.
    """

    def __init__(self, part: Part, failures: int = 3, pause: float = 3.0) -> None:
        """After so many `failures` in a row, calls are refused for `pause` seconds, or a little less."""
        self._part = part
        self._allowed = failures
        self._pause = pause
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_again = 0.0
        self._reason = ""
        self._all_failures = 0
        self._retries = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Make one call; EngineAway at once during a pause. Only EngineAway counts as a failure."""
        self._admit()
        try:
            yield
        except EngineAway as error:
            self._failed(error.reason)
            raise
        except BaseException:
            self._answered()  # it is there, whatever it said
            raise
        self._answered()

    def retried(self) -> None:
        """Count an attempt that was not the first one of its call."""
        with self._lock:
            self._retries += 1

    def state(self) -> EngineState:
        """Return how the engine does."""
        with self._lock:
            away = self._failures >= self._allowed
            return EngineState(self._part, away, self._all_failures, self._retries)

    def _admit(self) -> None:
        with self._lock:
            if self._failures < self._allowed:
                return
            now = time.monotonic()
            if now < self._closed_again:
                raise EngineAway(self._part, self._reason)
            self._closed_again = now + self._some_pause()  # this one tries; the others are refused until it is done

    def _failed(self, reason: str) -> None:
        with self._lock:
            self._failures += 1
            self._all_failures += 1
            self._reason = reason
            self._closed_again = time.monotonic() + self._some_pause()

    def _some_pause(self) -> float:
        """Not the same in all processes: they are not to ask an engine at the same moment when it comes back."""
        return self._pause * random.uniform(0.8, 1)  # noqa: S311

    def _answered(self) -> None:
        with self._lock:
            self._failures = 0
