"""How many threads compute, and who goes first where there are more of them than cores: the one place that decides.

    VISEM_THREADS     the number of cores to use, for whoever wants another than what follows; no more than there are
    otherwise         the cores that this process may run on, and no more than its cgroup's share of them

ONNX Runtime and the decoders ask `available`. The libraries that read the environment once, when they are loaded, are
told by `limit_libraries`: FAISS's OpenMP gets as many, and OpenBLAS one. Its products are small here, and its threads
spin while they wait, which takes the cores from everybody else.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from model import cgroups, time_slices

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")

VARIABLE = "VISEM_THREADS"
BACKGROUND = 10
"""How much lower the priority of background work is, as `nice` counts."""
LOWEST = 19
"""That of decoders, which have a process each: Linux has a thread of `BACKGROUND` wait for the end of their slices."""

LARGE = 1024 * 1024
"""Bytes from which on it pays to have them copied or hashed by another thread (`aside`), and kept outside of heaps."""

_ASIDE = 8  # at a time; some of them wait for a decoder
_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1
_KEPT = 16 * 1024 * 1024  # bytes at the end of a heap that are free


def available(root: Path = cgroups.ROOT) -> int:
    """How many threads may compute at a time; at least 1. `root`: where /proc and /sys are."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(ValueError):
        if (wanted := float(os.environ.get(VARIABLE, ""))) >= 1:  # `4.0` and ` 4` are settings, too
            return int(min(wanted, cores))  # a thousand threads on two cores, in workers, answer nobody
    return max(1, min([cores, *(math.ceil(quota) for quota in cgroups.cores(root))]))


def limit_libraries() -> None:
    """Tell libraries that are not loaded yet; what the environment says already stays."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(available()))


def share_heaps(count: int) -> None:
    """Let all threads share so many heaps of glibc, without what is large; other C libraries have none.

    The system takes that back when it is freed. By itself glibc soon has files and pictures of up to 32 MB in its
    heaps, and whatever small is allocated behind them keeps the room they had.
    """
    with contextlib.suppress(AttributeError, OSError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_M_ARENA_MAX, count)
        allocator.mallopt(_M_MMAP_THRESHOLD, LARGE)
        allocator.mallopt(_M_TRIM_THRESHOLD, _KEPT)


def trim_heap() -> None:
    """Have the system take back what is free: glibc keeps it. Other C libraries cannot do it."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def answer_soon() -> None:
    """Have the thread that calls, and those that it starts after that, run as soon as they can go on.

    For the main thread of a process that answers requests, before it starts others.
    """
    time_slices.ask_for(time_slices.SHORT)


def give_way(by: int = BACKGROUND) -> None:
    """Lower the priority of the thread that calls, for good: what people wait for goes first. Linux alone can do it.

    For threads that rarely hold the interpreter's lock: one that has it, and does not get a core, stops all others.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        time_slices.ask_for(time_slices.LONG)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + by))


class _Helper(threading.local):
    thread: ThreadPoolExecutor | None = None


_helper = _Helper()


@contextmanager
def in_background() -> Iterator[None]:
    """While the context lasts, what the calling thread has done by `compute` has the priority of background work.

    The thread itself keeps its own, as it holds the interpreter's lock most of the time (`give_way`).
    """
    with ThreadPoolExecutor(1, "visem-background", initializer=give_way) as _helper.thread:
        try:
            yield
        finally:
            _helper.thread = None


def compute(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that computes without the interpreter's lock, with the priority of the work that wants it."""
    if _helper.thread is None:
        return function(*args, **kwargs)
    return _helper.thread.submit(function, *args, **kwargs).result()


def ahead(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What a function makes of items, in order; of each by another thread while the caller uses the one before.

    For functions that compute without the interpreter's lock. A single item is not worth a thread.
    """
    remaining = iter(items)
    first = list(islice(remaining, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    with ThreadPoolExecutor(1, "visem-ahead") as thread:
        following = thread.submit(function, first[0])
        for item in chain(first[1:], remaining):
            current, following = following, thread.submit(function, item)
            yield current.result()
        yield following.result()


def aside(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that copies or hashes `size` bytes without the interpreter's lock, where searches go first.

    What is large is done by a thread with the priority of background work: it takes a core for tens of milliseconds.
    """
    if size < LARGE:
        return function(*args, **kwargs)
    return _aside().submit(function, *args, **kwargs).result()


@cache
def _aside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_ASIDE, "visem-aside", initializer=give_way)
