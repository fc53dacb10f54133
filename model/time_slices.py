"""How long a thread may compute before it is another one's turn, as Linux can be told since 6.12.

Of the threads that want a core the scheduler (EEVDF) prefers the one whose slice would end first, and a thread that
wakes with a short slice does not wait for the end of a long one. It gets no more of the processor for that. So threads
that people wait for, and that pass the interpreter's lock to each other hundreds of times a second, ask for short
slices, and those that compute in the background for long ones.

The C library has no function for it (glibc before 2.41), nor has the interpreter: `sched_setattr(2)`.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

SHORT = 100_000
"""Nanoseconds; the system knows nothing shorter."""
LONG = 5_000_000
"""The default depends on the number of cores: 1.4 ms for two."""

_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Numbers of sched_setattr and sched_getattr."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period
_POLICY, _RUNTIME = 1, 5
_NORMAL = 0


def ask_for(nanoseconds: int) -> bool:
    """Have the calling thread, and the threads and processes that it starts after that, run in slices of this length.

    False where the system has no such slices, or does not allow it: then nothing changes.
    """
    attributes = _attributes()
    if attributes is None or attributes[_POLICY] != _NORMAL or not attributes[_RUNTIME]:
        return False
    attributes[_RUNTIME] = nanoseconds
    wanted = ctypes.create_string_buffer(_ATTRIBUTES.pack(*attributes), _ATTRIBUTES.size)
    return bool(ctypes.CDLL(None).syscall(_CALLS[platform.machine()][0], 0, wanted, 0) == 0)


def current() -> int | None:
    """Nanoseconds of the calling thread's slices; None where the system does not say."""
    attributes = _attributes()
    return None if attributes is None else attributes[_RUNTIME] or None


def _attributes() -> list[int] | None:
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return None
    found = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if ctypes.CDLL(None).syscall(_CALLS[platform.machine()][1], 0, found, _ATTRIBUTES.size, 0) != 0:
        return None
    return list(_ATTRIBUTES.unpack(found.raw))
