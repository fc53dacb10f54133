"""How many workers there are unless somebody says so, and what each of them may take of what the service may."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from app.settings import JSON_SHARE, MEBIBYTE, Settings
from model import cgroups, threads
from model.runtime.gpu import may_have_gpu

FROM_CORES = 4
"""With fewer cores there is one process by default: a second one takes as much memory again, and pays only where many
clients search at a time (docs/performance.md)."""

MEMORY_EACH = 1024 * MEBIBYTE
"""Bytes of memory that the machine has for each worker by default: twice what one takes."""

_FEWEST_SEARCHES = 8
_FEWEST_JOBS = 4
_FEWEST_CONNECTIONS = 64
_FEWEST_OF_A_CLIENT = 32  # more than a browser opens: connections are not spread evenly over workers


def default_workers(device: str, root: Path = cgroups.ROOT) -> int:
    """How many workers serve if nothing else is wanted: one for each core, as far as there is memory for them.

    One on a machine with few cores, or where the model may run on a GPU. `root`: where /proc and /sys are.
    """
    cores = threads.available(root)
    if cores < FROM_CORES or device.startswith("cuda"):
        return 1
    if device == "auto" and may_have_gpu() and importlib.util.find_spec("torch"):
        return 1
    return max(1, min([cores, *(memory // MEMORY_EACH for memory in (_installed(), *cgroups.memory(root)))]))


def share_of(settings: Settings, workers: int) -> Settings:
    """The settings of one of several workers: what is bounded for the whole service is divided among them.

    Each gets enough to do something at all, so that all together may take more than one process where they are many.
    """

    def part(whole: int, least: int) -> int:
        return min(whole, max(-(-whole // workers), least))

    return settings.model_copy(
        update={
            "workers": 1,
            "threads": max(1, threads.available() // workers),
            "decode_threads": None if settings.decode_threads is None else part(settings.decode_threads, 1),
            "max_searches": part(settings.max_searches, _FEWEST_SEARCHES),
            "max_jobs": part(settings.max_jobs, _FEWEST_JOBS),
            "memory_budget": part(settings.memory_budget, JSON_SHARE * settings.max_json_bytes),
            "upload_budget": part(settings.upload_budget, settings.max_upload_bytes),
            "max_connections": part(settings.max_connections, _FEWEST_CONNECTIONS),
            "max_client_connections": part(settings.max_client_connections, _FEWEST_OF_A_CLIENT),
        }
    )


def _installed() -> int:
    """Bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
