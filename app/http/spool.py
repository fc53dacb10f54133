"""The files of a form, one after the other in one temporary file: a form takes one file descriptor, however long."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from starlette.datastructures import UploadFile

IN_MEMORY = 256 * 1024
"""Bytes of a form's files that are kept in memory; what is longer goes to the disk."""

_disk = ThreadPoolExecutor(1, "visem-spool")
"""Writes and removes: the disk is no faster with more threads, which would take the cores from searches."""


class Spool:
    """Bytes that are appended, and read from any place. Thread-safe."""

    def __init__(self) -> None:
        self._file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._lock = threading.Lock()
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes at the end; OSError."""
        with self._lock:
            self._file.seek(self.size)
            self._file.write(data)
            self.size += len(data)

    def read(self, start: int, size: int) -> bytes:
        """Bytes from a place on."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)

    def close(self) -> Future[None]:
        """Throw everything away, after what is being written, and return before that. Idempotent."""
        return _disk.submit(self._file.close)


class SpooledPart:
    """A file of a form: bytes of a spool that follow each other, as a file that is written, then read."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._start = 0
        self._size = 0
        self._position = 0

    def write(self, data: bytes) -> int:
        """Add bytes. Parts come one after the other, so nobody else adds any until this one is complete."""
        if not self._size:
            self._start = self._spool.size
        self._spool.append(data)
        self._size += len(data)
        return len(data)

    def seek(self, offset: int) -> int:
        """Go to a place from the start."""
        self._position = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all that are left without."""
        left = max(self._size - self._position, 0)
        data = self._spool.read(self._start + self._position, left if size < 0 else min(size, left))
        self._position += len(data)
        return data

    def close(self) -> None:
        """Nothing: the spool is closed with the form."""


class SpooledUpload(UploadFile):
    """A file of a form in a spool. What stays in memory is written at once, the rest by a thread."""

    def __init__(self, spool: Spool, **known: Any) -> None:
        super().__init__(cast(BinaryIO, SpooledPart(spool)), size=0, **known)
        self._spool = spool

    async def write(self, data: bytes) -> None:
        """Add bytes; OSError."""
        self.size = (self.size or 0) + len(data)
        if self._spool.size + len(data) <= IN_MEMORY:
            self.file.write(data)
        else:
            await asyncio.get_running_loop().run_in_executor(_disk, self.file.write, data)

    async def seek(self, offset: int) -> None:
        """Go to a place from the start."""
        self.file.seek(offset)

    async def close(self) -> None:
        """Close the spool of the whole form. Idempotent."""
        await asyncio.wrap_future(self._spool.close())
