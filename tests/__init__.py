"""Tests of Visem.

One thread each for numpy and torch, in workers and in processes that tests start: workers are enough for all cores, and
what is trained is the same to the last bit. It has to be said before numpy is imported.

What tests write lies in memory where there is room: they make thousands of libraries, and each waits for the disk.
"""

import os
import tempfile

_MEMORY = "/dev/shm"  # noqa: S108
_ROOM = 4_000_000_000
"""Bytes: a run writes a quarter of it."""


def _in_memory() -> bool:
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= _ROOM and not found.f_flag & os.ST_NOEXEC  # Milvus is started from there


os.environ.setdefault("OMP_NUM_THREADS", "1")
if _in_memory():
    os.environ.setdefault("TMPDIR", _MEMORY)
    tempfile.tempdir = None  # pytest has asked for it before
