"""A group of workers, as one of them sees it: which one it is, whether it leads, and what it shares with the others."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from app.shared.files import SharedFiles, made

logger = logging.getLogger(__name__)

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

    def __init__(self, folder: Path, beat: Callable[[], None] = lambda: None, leader: int | None = None) -> None:
        """`beat` tells who started the worker that it goes on: to be called every `HEARTBEAT` seconds.

        `leader`: a descriptor of the file which the leader locks, that of the folder unless all are given one.
        """
        self.folder = folder
        self.beat = beat
        self._lock = threading.Lock()
        self._leads = False
        self._warned = False
        opened = Path(f"/proc/self/fd/{leader}")
        self._leader = opened if leader is not None and opened.exists() else folder / "leader"  # without /proc on macOS

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
        return made(self.folder / "sources")

    def leads(self) -> bool:
        """Whether this worker leads, from now on if nobody did."""
        with self._lock:
            if not self._leads:
                try:
                    self._leads = self._locks()
                except OSError as error:  # such as no descriptors for a moment
                    if not self._warned:
                        logger.warning("it is unknown who leads the workers, and this one does not: %s", error)
                    self._warned = True
            return self._leads

    def _locks(self) -> bool:
        # The same file for all workers, even if something has removed it: or one of another file would lead as well.
        descriptor = os.open(self._leader, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        return True


def metrics_folder(folder: Path) -> Path:
    """Where prometheus_client keeps the figures of all workers that share a folder."""
    return made(folder / "metrics")
