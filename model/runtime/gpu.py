"""Whether there may be a GPU: quickly, without torch."""

from __future__ import annotations

import sys
from ctypes.util import find_library
from pathlib import Path

_DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What the drivers of GPUs leave in a Linux system: NVIDIA's, AMD's, and that of Windows below it."""


def may_have_gpu() -> bool:
    """Whether a driver of a GPU is there; False where there is none for sure."""
    if sys.platform == "win32":
        return find_library("nvcuda") is not None  # elsewhere this would run a compiler and a linker
    return any(Path(file).exists() for file in _DRIVERS)
