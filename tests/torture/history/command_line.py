"""A client that works with the command line, on the library itself."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from app.problems import PROBLEMS
from tests.app.helpers import picture
from tests.torture.history.operations import History, Kind, Operation

_SEEDS = 900_000_000


class CommandLine(threading.Thread):
    """Adds, finds and removes images by commands, one after the other, until `stop` is set."""

    def __init__(self, folder: Path, settings: dict[str, str], history: History) -> None:
        """Images are written to `folder`; `settings` are environment variables."""
        super().__init__(name="command line", daemon=True)
        self._folder = folder
        self._environment = {**os.environ, **settings}
        self._history = history
        self.stop = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        """Do one thing after the other."""
        try:
            for seed in range(_SEEDS, 2 * _SEEDS):
                if self.stop.is_set():
                    return
                self._one_image(seed)
        except Exception as error:
            self.failure = error

    def _one_image(self, seed: int) -> None:
        file = self._folder / f"{seed}.jpg"
        file.write_bytes(picture(seed))
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        added = self._run("add", sha256, "add", str(file), value=lambda told: told["results"][0]["image"]["id"])
        if not added.done:
            return
        find = ("search", "--image", str(file), "-k", "5")
        self._run("find", added.value, *find, value=lambda told: [hit["id"] for hit in told["hits"]])
        if seed % 2:
            self._run("delete", added.value, "remove", added.value)
            self._run("find", added.value, *find, value=lambda told: [hit["id"] for hit in told["hits"]])

    def _run(self, kind: Kind, subject: str, *arguments: str, value: Any = lambda told: None) -> Operation:
        visem = Path(sys.executable).with_name("visem")
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603
            [visem, *arguments, "--json"], capture_output=True, env=self._environment, check=False, timeout=120
        )
        completed = time.monotonic()
        told: Any = {}
        status, code, wrong = 200, "", ""
        try:
            told = json.loads(done.stdout)
        except ValueError:
            status, wrong = 500, f"no JSON: {done.stdout[:100]!r} {done.stderr[-300:]!r}"
        if done.returncode and not wrong:
            code = told["error"]["code"] if "error" in told else "record_not_found"
            status = PROBLEMS[code].status if code in PROBLEMS else 500
        one = Operation(
            self.name, kind, subject, started, completed, status, code, value(told) if status == 200 else None, wrong
        )
        self._history.note(one)
        return one
