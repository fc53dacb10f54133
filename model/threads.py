"""How many threads compute, and who goes first where there are more of them than cores: the one place that decides.

    VISEM_THREADS     the number of cores to use, for whoever wants another than what follows
    otherwise         the cores that this process may run on, and no more than its cgroup's share of them

ONNX Runtime and the decoders ask `available`. The libraries that read the environment once, when they are loaded, are
told by `limit_libraries`: FAISS's OpenMP gets as many, and OpenBLAS one. Its products are small here, and its threads
spin while they wait, which takes the cores from everybody else.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from pathlib import Path

VARIABLE = "VISEM_THREADS"
BACKGROUND = 10
"""How much lower the priority of background work is, as `nice` counts."""

_ROOT = Path("/")


def available(root: Path = _ROOT) -> int:
    """How many threads may compute at a time; at least 1. `root`: where /proc and /sys are."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(root))]))


def limit_libraries() -> None:
    """Tell libraries that are not loaded yet; what the environment says already stays."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(available()))


def give_way() -> None:
    """Lower the priority of the thread that calls, for good: what people wait for goes first. Linux alone can do it."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + BACKGROUND))


def _quotas(root: Path) -> list[float]:
    """Cores that the cgroups of this process grant: of its own and of all above it, in either version of cgroups."""
    found: list[float] = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text("ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
            # In a container the path is the host's, and the group itself is mounted on top.
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(top):
                    found += _quota(folder)
    return found


def _quota(folder: Path) -> list[float]:
    """The cores of one group, if it is limited: `cpu.max` of version 2, `cpu.cfs_*` of version 1."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return [float(quota) / float(period)] if quota != "max" else []
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return [float(quota) / float(period)] if float(quota) > 0 else []
    return []
