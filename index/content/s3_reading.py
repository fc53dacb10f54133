"""An object of S3 that is open for reading: it comes as it is read, and stays readable when it is deleted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from tempfile import SpooledTemporaryFile
from typing import Any

from index.errors import EngineAway, StorageFailed

_AT_ONCE = 1 << 20
"""Objects up to this size are read as a whole when they are opened; larger ones while they are read."""

_CHUNK = 1 << 18
_ATTEMPTS = 3

Get = Callable[[int, str | None], Any]
"""Gets the object from a position on, if it still has this ETag. FileNotFoundError, StorageFailed, EngineAway."""


class S3Content:
    """An object that is open; see `Content` for what each method promises. Thread-safe.

    One answer of S3 is open until it has been read to its end, and S3 goes on with it when the object is deleted. What
    has come is kept, in memory or in a temporary file, for whoever reads it again. A range that starts far behind it is
    asked for on its own.
    """

    path = None

    def __init__(self, get: Get, reporting: Callable[[], AbstractContextManager[None]], url: str) -> None:
        """Start with an answer to `get`; `reporting` turns errors of boto3 into ours. FileNotFoundError."""
        self._get = get
        self._reporting = reporting
        self._url = url
        answer = get(0, None)
        self.size: int = answer["ContentLength"]
        self.modified: float = answer["LastModified"].timestamp()
        self._etag: str = answer["ETag"]
        self._body = answer["Body"]
        if not self.size:
            self._body.close()
            raise FileNotFoundError(f"{url} is empty")
        self._kept = SpooledTemporaryFile(max_size=_AT_ONCE)  # noqa: SIM115  # closed by `close`
        self._come = 0
        self._lock = threading.Lock()
        try:
            if self.size <= _AT_ONCE:
                self._take(self.size)
        except BaseException:
            self.close()
            raise

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to `end`, or up to the end of the object. StorageFailed, EngineAway."""
        last = self.size if end is None else min(end, self.size)
        if start >= last:
            return b""
        with self._lock:
            if start <= self._come + _AT_ONCE:
                self._take(last)
                self._kept.seek(start)
                return self._kept.read(last - start)
        try:
            return self._range(start, last)
        except FileNotFoundError:  # deleted by now: what is open has it
            with self._lock:
                self._take(last)
                self._kept.seek(start)
                return self._kept.read(last - start)

    def close(self) -> None:
        """Give up the connection and what has come. Idempotent."""
        self._body.close()
        self._kept.close()

    def _range(self, start: int, last: int) -> bytes:
        body = self._get(start, self._etag)["Body"]
        try:
            with self._reporting():
                parts: list[bytes] = []
                while missing := last - start - sum(map(len, parts)):
                    if not (part := body.read(min(missing, _CHUNK))):
                        raise StorageFailed(self._url, "it ends too early")
                    parts.append(part)
        finally:
            body.close()
        return b"".join(parts)

    def _take(self, until: int) -> None:
        """Let what is open come up to a position; go on with another answer where one breaks off."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._reporting():
                    self._kept.seek(self._come)
                    while self._come < until:
                        if not (part := self._body.read(_CHUNK)):
                            raise StorageFailed(self._url, "it ends too early")
                        self._kept.write(part)
                        self._come += len(part)
                return
            except EngineAway:
                if attempt == _ATTEMPTS:
                    raise
                self._body.close()
                try:
                    self._body = self._get(self._come, self._etag)["Body"]
                except FileNotFoundError as error:
                    raise StorageFailed(self._url, "it was deleted while it was read") from error
