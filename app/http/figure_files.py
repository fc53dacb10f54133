"""Files of figures whose room is taken beforehand.

prometheus_client maps sparse files. Where the disk is full, or the memory that files are in, the first write to a page
of such a file kills the process.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from app.shared.files import made

logger = logging.getLogger(__name__)

_FIRST = 1 << 16  # bytes, as prometheus_client begins
_USED = struct.Struct("i")  # how much of a file is used: it begins with that


class AllocatedDict(MmapedDict):
    """Figures in a file, of which no page is missing; or in this process alone, where there is no room for a file."""

    _f: Any  # None: in this process alone

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            if not read_mode:
                _allocate(filename)
            super().__init__(filename, read_mode)
        except OSError as error:
            if read_mode:
                raise
            _warn(filename, error)
            self._f, self._fname = None, filename
            self._capacity, self._used = _FIRST, _USED.size * 2
            self._m = mmap.mmap(-1, self._capacity)
            self._m[: _USED.size] = _USED.pack(self._used)
            self._positions: dict[str, int] = {}

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + 64  # beside the key: its length, padding, and two numbers
        while needed > self._capacity:
            self._grow()
        super()._init_value(key)

    def _grow(self) -> None:
        capacity = self._capacity * 2
        try:
            if self._f is None:
                mapped = mmap.mmap(-1, capacity)
            else:
                os.posix_fallocate(self._f.fileno(), 0, capacity)
                mapped = mmap.mmap(self._f.fileno(), capacity)
        except OSError as error:
            _warn(self._fname, error)
            mapped = mmap.mmap(-1, capacity)  # what others read stays as it is
            self._f.close()
            self._f = None
        if self._f is None:
            mapped[: self._used] = self._m[: self._used]
        self._m.close()
        self._m, self._capacity = mapped, capacity

    def close(self) -> None:
        """Let go of the file, if there is one."""
        if self._f is not None:
            super().close()


def use_allocated_files() -> None:
    """Have prometheus_client keep its figures in such files, of this process from now on; where the system can."""
    if hasattr(os, "posix_fallocate"):  # not macOS
        values.MmapedDict = AllocatedDict  # type: ignore[attr-defined]


def _allocate(filename: str) -> None:
    path = Path(filename)
    made(path.parent)
    with path.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(_FIRST, os.fstat(file.fileno()).st_size))
        except OSError:
            path.unlink()  # nobody can read an empty one
            raise


def _warn(filename: str, error: OSError) -> None:
    logger.warning("figures are not shared with other workers, %s: %s", Path(filename).name, error.strerror)
