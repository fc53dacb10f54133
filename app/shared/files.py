"""Values that all workers of a service can read: small files, which no worker waits for."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

_SWEPT = 8  # times a process looks for what is too old while as much is written as may be kept
_OVERHEAD = 512  # bytes that a file takes beside its value


class SharedFiles:
    """Values by key in a folder, for any number of threads and processes.

    Where there is no room for more than `max_bytes`, the values that were read or written longest ago go. Nothing here
    is durable: a disk that takes nothing costs what somebody wanted to remember, and no request fails.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = made(folder)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._written = 0

    def get(self, key: str) -> bytes | None:
        """The value of a key; None if there is none any more."""
        path = self._path(key)
        try:
            value = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return value

    def keep(self, key: str, value: bytes) -> bytes:
        """Keep a value, and return it; if another process was first, its value stays, and is returned."""
        path, unfinished = self._path(key), self._folder / f".{secrets.token_hex(8)}"
        try:
            unfinished.write_bytes(value)
            try:
                os.link(unfinished, path)
            except FileExistsError:
                return self.get(key) or value
        except OSError as error:
            self._warn(error)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        self._count(len(value))
        return value

    def append(self, key: str, value: bytes, most: int) -> None:
        """Add bytes to the value of a key, of which the last `most` stay at least."""
        path = self._path(key)
        try:
            with path.open("ab", buffering=0) as file:
                file.write(value)
                long = file.tell() > 4 * most
            if long:
                path.write_bytes(path.read_bytes()[-most:])
        except OSError as error:
            self._warn(error)
        self._count(len(value))

    def _warn(self, error: OSError) -> None:
        logger.warning("%s are not shared with other workers: %s", self._folder.name, error.strerror)
        if isinstance(error, FileNotFoundError):  # what comes next is shared again
            with contextlib.suppress(OSError):
                made(self._folder)

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()

    def _count(self, size: int) -> None:
        with self._lock:
            self._written += size + _OVERHEAD
            full = self._written > self._max_bytes // _SWEPT
            if full:
                self._written = 0
        if full:
            with contextlib.suppress(FileNotFoundError):  # the folder is gone
                self._sweep()

    def _sweep(self) -> None:
        """Remove what was used longest ago until a quarter of the room is free."""
        found = []
        for entry in os.scandir(self._folder):
            try:
                status = entry.stat()
            except OSError:  # another process was here
                continue
            found.append((status.st_mtime, status.st_size + _OVERHEAD, entry.path))
        total = sum(size for _, size, _ in found)
        if total <= self._max_bytes:
            return
        for _, size, path in sorted(found):
            Path(path).unlink(missing_ok=True)
            total -= size
            if total <= self._max_bytes * 3 // 4:
                return


def made(folder: Path) -> Path:
    """A folder in the one that workers share; both are made again where something removed them.

    PermissionError if somebody else was first: others may write where the shared folder is.
    """
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, exist_ok=True)
    if folder.parent.lstat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to somebody else", str(folder.parent))
    return folder
