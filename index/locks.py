"""Two small locks that the standard library lacks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from index.errors import LibraryClosed


class ReadWriteLock:
    """Many readers or one writer; a waiting writer goes before new readers. Not reentrant."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._condition:
            self._condition.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._condition:
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: not self._writing and not self._readers)
                self._writing = True
            finally:
                self._waiting -= 1
                self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._condition.notify_all()


class Gate:
    """Counts who is inside; once closed nobody comes in, and closing waits until everybody has left."""

    def __init__(self, verify: Callable[[], None] = lambda: None) -> None:
        """`verify` raises if nobody may come in, or leave with a result."""
        self._verify = verify
        self._condition = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside; LibraryClosed if the gate is closed."""
        with self._condition:
            if self._closed:
                raise LibraryClosed
            self._inside += 1
        try:
            self._verify()
            yield
            self._verify()
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    def close(self) -> bool:
        """Let nobody in any more and wait until everybody has left; False if it was closed before."""
        with self._condition:
            if self._closed:
                return False
            self._closed = True
            self._condition.wait_for(lambda: self._inside == 0)
            return True
