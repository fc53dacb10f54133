"""How many threads compute, and who goes first where there are more of them than cores: the one place that decides.

    VISEM_THREADS     the number of cores to use, for whoever wants another than what follows
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
from pathlib import Path

from model import cgroups

VARIABLE = "VISEM_THREADS"
BACKGROUND = 10
"""How much lower the priority of background work is, as `nice` counts."""

_M_ARENA_MAX = -8


def available(root: Path = cgroups.ROOT) -> int:
    """How many threads may compute at a time; at least 1. `root`: where /proc and /sys are."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in cgroups.cores(root))]))


def limit_libraries() -> None:
    """Tell libraries that are not loaded yet; what the environment says already stays."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(available()))


def share_heaps(count: int) -> None:
    """Let all threads share so many heaps of glibc; other C libraries have none."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)


def give_way() -> None:
    """Lower the priority of the thread that calls, for good: what people wait for goes first. Linux alone can do it."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + BACKGROUND))
