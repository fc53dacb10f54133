"""A real server process: it starts, answers, stops when told to, and leaves the library in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from app.service import library_space
from index import (
    LibraryConfig,
    open_library,
)
from model.space import JointSpace

PROGRAM = """
from app.main import serve
from app.service import Service
from app.settings import Settings

with Service.open(Settings()) as service:
    serve(service)
print("closed")
"""


def test_a_server_stops_gracefully(space: JointSpace, tmp_path: Path) -> None:
    log = tmp_path / "log"
    library = tmp_path / "library"
    settings = {"LIBRARY": str(library), "BUNDLE": str(space.bundle.path), "PORT": "0", "DEVICE": "cpu"}
    environment = {**os.environ, **{f"VISEM_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-c", PROGRAM]
    with (
        log.open("w") as stderr,
        subprocess.Popen(  # noqa: S603  # our own program
            command, env=environment, stderr=stderr, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            address = _wait_for_address(log, process)
            with urllib.request.urlopen(f"{address}/readyz", timeout=30) as response:  # noqa: S310  # our own
                assert json.load(response) == {"status": "ok"}
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert output == "closed\n"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(entry.get("route") == "/readyz" for entry in entries)
    with open_library(LibraryConfig(library), library_space(space)) as reopened:
        assert reopened.check() == []


def _wait_for_address(log: Path, process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            message = json.loads(line)["message"] if line.endswith("}") else ""
            if message.startswith("Uvicorn running on "):
                return str(message.split()[3])
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")
