"""File descriptors: how many this process may have, and what it means when there are none left."""

from __future__ import annotations

import errno
import resource

RESERVE = 128
"""Descriptors that no connection takes: for the library, the decoder processes, forms and logs."""

_ENOUGH = 65_536
_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})


def raise_limit() -> int:
    """Lift the soft limit of descriptors towards the hard one, as far as makes sense; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY:
        return _ENOUGH
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return soft


def connections_within(wanted: int, descriptors: int) -> int:
    """How many connections of `wanted` there is room for: each may need a second descriptor for a form or a file."""
    return max(1, min(wanted, (descriptors - RESERVE) // 2))


def are_exhausted(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that this process or the machine has no descriptor left."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # some libraries raise an error from itself
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _NONE_LEFT:
            return True
        error = error.__cause__
    return False
