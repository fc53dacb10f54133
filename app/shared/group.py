"""A group of workers, as one of them sees it: which one it is, whether it leads, and what it shares with the others."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

from app.shared.files import SharedFiles

MEBIBYTE = 1024 * 1024

HEARTBEAT = 1.0
"""Seconds between two signs of life of a worker."""

VECTOR_BYTES = 16 * MEBIBYTE
GUESS_BYTES = 8 * MEBIBYTE


class WorkerGroup:
    """The workers that serve one address, through a folder that the service makes for them and nobody else.

    One of them leads: it does what must be done once, such as following sources. It holds a lock on a file, of which
    the system lets go when it ends, however it ends; then another one leads. Thread-safe.
    """

    def __init__(self, folder: Path, beat: Callable[[], None] = lambda: None) -> None:
        """`beat` tells who started the worker that it goes on: to be called every `HEARTBEAT` seconds."""
        self.folder = folder
        self.beat = beat
        self._lock = threading.Lock()
        self._leads = False

    @property
    def vectors(self) -> SharedFiles:
        """Vectors of recent queries."""
        return SharedFiles(self.folder / "vectors", VECTOR_BYTES)

    @property
    def guesses(self) -> SharedFiles:
        """When which client offered a wrong key."""
        return SharedFiles(self.folder / "guesses", GUESS_BYTES)

    def images(self, max_bytes: int) -> SharedFiles:
        """Images that searches start from."""
        return SharedFiles(self.folder / "images", max_bytes)

    @property
    def metrics(self) -> Path:
        """Where prometheus_client keeps the figures of all workers."""
        return metrics_folder(self.folder)

    @property
    def sources(self) -> Path:
        """Where the leader says what it does about sources, and hears what it is asked to do."""
        return _made(self.folder, "sources")

    def leads(self) -> bool:
        """Whether this worker leads, from now on if nobody did."""
        with self._lock:
            if not self._leads:
                descriptor = os.open(self.folder / "leader", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends
                except BlockingIOError:
                    os.close(descriptor)
                else:
                    self._leads = True
            return self._leads


def metrics_folder(folder: Path) -> Path:
    """Where prometheus_client keeps the figures of all workers that share a folder."""
    return _made(folder, "metrics")


def _made(folder: Path, name: str) -> Path:
    """A folder below the one that workers share; both are made again where something removed them.

    PermissionError if somebody else was first: others may write where the shared folder is.
    """
    for path in (folder, folder / name):
        path.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to somebody else", str(folder))
    return folder / name
