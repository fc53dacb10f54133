"""A service in a process of its own, as people run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.space import JointSpace

PROGRAM = """
from app.main import serve
from app.service import Service
from app.settings import Settings

with Service.open(Settings()) as service:
    serve(service)
print("closed")
"""


TWO_WORKERS = """
from app.settings import Settings
from app.workers.supervisor import supervise

supervise(Settings(), 2, lambda host, port: None)
print("closed")
"""


@contextmanager
def serving(
    space: JointSpace, folder: Path, program: str = PROGRAM, **settings: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address; its log is FOLDER/log, its library FOLDER/library."""
    log = folder / "log"
    settings = {"LIBRARY": str(folder / "library"), "BUNDLE": str(space.bundle.path), "PORT": "0", **settings}
    environment = {**os.environ, "VISEM_DEVICE": "cpu", **{f"VISEM_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-c", program]
    with (
        log.open("w") as stderr,
        subprocess.Popen(  # noqa: S603  # our own program
            command, env=environment, stderr=stderr, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            yield process, _wait_for_address(log, process)
        finally:
            process.kill()


def _wait_for_address(log: Path, process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            message = json.loads(line)["message"] if line.endswith("}") else ""
            if message.startswith("Uvicorn running on "):
                return str(message.split()[3])
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")
