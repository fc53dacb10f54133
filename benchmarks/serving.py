"""A service for a benchmark: one worker on a port of the system's choice, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Served(NamedTuple):
    """A service that listens: its process, its port, and the seconds that it took."""

    process: subprocess.Popen[bytes]
    port: int
    seconds: float


@contextmanager
def serving(library: Path) -> Iterator[Served]:
    """Serve a library while the context lasts. SystemExit, with what the service said, if it does not start."""
    environment = {**os.environ, "VISEM_LIBRARY": str(library), "VISEM_PORT": "0"}
    command = [str(Path(sys.executable).with_name("visem")), "serve", "--workers", "1"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as errors:
            begun = time.perf_counter()
            service = subprocess.Popen(command, env=environment, stderr=errors)  # noqa: S603  # our own program
        try:
            while not (listening := re.search(r"127\.0\.0\.1:(\d+)", log.read_text())):
                if service.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.05)
            yield Served(service, int(listening[1]), time.perf_counter() - begun)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()
