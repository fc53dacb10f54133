"""What the cgroups of this process grant, of its own group and of all above it, in either version of cgroups."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
"""Where /proc and /sys are."""


def cores(root: Path = ROOT) -> list[float]:
    """Every limit of cores: `cpu.max` of version 2, `cpu.cfs_*` of version 1."""
    return [quota for folder in _groups("cpu", root) for quota in _cores(folder)]


def memory(root: Path = ROOT) -> list[int]:
    """Every limit of memory in bytes: `memory.max` of version 2, `memory.limit_in_bytes` of version 1."""
    limits: list[int] = []
    for folder in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                limits.append(int((folder / name).read_text("ascii")))
    return limits


def _groups(controller: str, root: Path) -> Iterator[Path]:
    try:
        lines = (root / "proc/self/cgroup").read_text("ascii").splitlines()
        entries = [line.split(":", 2) for line in lines]
        for _, controllers, path in entries:
            if controllers and controller not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / (controller if controllers else "")
            # In a container the path is the host's, and the group itself is mounted on top.
            group = top / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))
    except (OSError, ValueError):
        return


def _cores(folder: Path) -> list[float]:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return [int(quota) / int(period)] if quota != "max" else []
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return [int(quota) / int(period)] if int(quota) > 0 else []
    return []
