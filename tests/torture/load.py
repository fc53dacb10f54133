"""Loads of many clients against a real service, and what a search of somebody else takes meanwhile.

    python -m tests.torture.load --library LIBRARY [--seconds 10]

The service runs as a process of its own, on the library given (it is copied, and never changed). For each load the
script prints the 99th percentile of searches of another client, as milliseconds and as a ratio to those without any
load, the slowest refusal, the most memory, and all status codes. A finding is a 5xx other than 503, a search that
fails, memory beyond 1.5 times that of the idle service and its budget, or a service that does not end in time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.app.helpers import picture

SHUTDOWN_TIMEOUT = 5
MEBIBYTE = 1024 * 1024
BUDGET = 256 * MEBIBYTE
ADDRESS = "127.0.0.2"
"""Of those who make the load; who searches meanwhile has 127.0.0.1."""


@dataclass
class Outcome:
    """What became of the requests of a load: status codes, and the seconds until those that were refused were told."""

    statuses: Counter[str] = field(default_factory=Counter)
    refusals: list[float] = field(default_factory=list)


class Server:
    """`visem serve` on a copy of a library."""

    def __init__(self, library: Path, folder: Path, descriptors: int = 1024) -> None:
        shutil.copytree(library, folder / "library", copy_function=_copied)
        settings = {"VISEM_LIBRARY": str(folder / "library"), "VISEM_PORT": "0", "VISEM_MEMORY_BUDGET": str(BUDGET)}
        settings["VISEM_SHUTDOWN_TIMEOUT"] = str(SHUTDOWN_TIMEOUT)
        self.log = folder / "log"
        command = f"ulimit -n {descriptors}; exec {Path(sys.executable).with_name('visem')} serve"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                ["/bin/bash", "-c", command], env={**os.environ, **settings}, stderr=log
            )
        self.port = self._wait()

    def request(
        self, method: str, path: str, body: bytes = b"", kind: str = "", source: str = "127.0.0.1"
    ) -> tuple[int, bytes]:
        """Status and body of a request in a connection of its own; 0 when the connection broke."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120, source_address=(source, 0))
        try:
            connection.request(method, path, body or None, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def memory(self) -> int:
        """Resident bytes of the service, without its decoder processes."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1024

    def stop(self) -> tuple[int, float]:
        """End it; its exit code, and the seconds that it took."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._process.wait(), time.monotonic() - started

    def _wait(self) -> int:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self.log.read_text().splitlines():
                message = json.loads(line)["message"] if line.startswith("{") and line.endswith("}") else ""
                if message.startswith("Uvicorn running on "):
                    return int(message.split()[3].rpartition(":")[2])
            time.sleep(0.1)
        raise RuntimeError(f"the service did not start: {self.log.read_text()}")


def _copied(source: str, target: str) -> None:
    """Content never changes, so a link will do; the catalog does."""
    if "content" in Path(source).parts or "thumbnails" in Path(source).parts:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def say(line: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def form(*files: bytes, **fields: str) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for number, data in enumerate(files):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{number}.jpg"\r\n\r\n'
        parts += [head.encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _texts(number: int) -> tuple[str, bytes, str]:
    text = "a brown dog runs over the wet beach behind a ball and another one follows it " * 6
    texts = [f"{text} {number} {n}" for n in range(256)]
    return "/v1/embeddings", json.dumps({"texts": texts}).encode(), "application/json"


def _large_files(number: int) -> tuple[str, bytes, str]:
    noise = np.random.default_rng(number).integers(0, 256, 45 * MEBIBYTE, dtype=np.uint8).tobytes()
    return "/v1/images", *form(picture(number) + noise)


def _many_files(number: int) -> tuple[str, bytes, str]:
    return "/v1/images", *form(*(picture(100_000 + 64 * number + n, 640, 480) for n in range(64)))


def _one_file(number: int) -> tuple[str, bytes, str]:
    return "/v1/images", *form(picture(10_000_000 + number, 1600, 1200))


def _captions(number: int) -> tuple[str, bytes, str]:
    body, kind = form(picture(20_000_000 + number))
    return "/v1/captions", body.replace(b'name="files"', b'name="image"'), kind


LOADS: dict[str, tuple[int, Callable[[int], tuple[str, bytes, str]]]] = {
    "500 uploads": (500, _one_file),
    "20 files of 45 MB": (20, _large_files),
    "60 forms of 64 files": (60, _many_files),
    "50 captions": (50, _captions),
    "50 times 256 texts": (50, _texts),
}


def press(server: Server, names: list[str], stopped: threading.Event) -> tuple[list[threading.Thread], Outcome]:
    """Begin loads, each client in a thread, over and over until `stopped`; each waits as long as it is told to."""
    outcome = Outcome()

    def ask(make: Callable[[int], tuple[str, bytes, str]], number: int) -> None:
        path, body, kind = make(number)
        while not stopped.is_set():
            started = time.monotonic()
            status, _ = server.request("POST", path, body, kind, ADDRESS)
            outcome.statuses[str(status or "broken")] += 1
            if status == 503:
                outcome.refusals.append(time.monotonic() - started)
                stopped.wait(1)

    threads = [
        threading.Thread(target=ask, args=(make, number), daemon=True)
        for name in names
        for clients, make in [LOADS[name]]
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    return threads, outcome


def searches(server: Server, seconds: float, seen: list[int]) -> tuple[float, int]:
    """The 99th percentile of new searches, in seconds, and how many failed; memory is added to `seen`."""
    taken: list[float] = []
    failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        status, _ = server.request("GET", f"/v1/search?q=a+dog+and+{uuid.uuid4().hex[:6]}+cats")
        taken.append(time.monotonic() - started)
        failed += status != 200
        seen.append(server.memory())
        time.sleep(0.02)
    return float(np.percentile(taken, 99)), failed


def run(library: Path, seconds: float) -> list[str]:
    """Every load, then all at once with SIGTERM in the middle; return what was found."""
    findings: list[str] = []
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        server = Server(library, Path(folder))
        seen: list[int] = []
        searches(server, 2, seen)
        quiet, _ = searches(server, seconds, seen)
        idle = server.memory()
        say(f"quiet: p99 {quiet * 1000:.0f} ms, {idle / MEBIBYTE:.0f} MB")
        for names in [*([name] for name in LOADS), list(LOADS)]:
            stopped, seen = threading.Event(), []
            threads, outcome = press(server, names, stopped)
            p99, failed = searches(server, seconds, seen)
            together = len(names) > 1
            code, ended = server.stop() if together else (0, 0.0)
            stopped.set()
            for thread in threads:
                thread.join(120)
            name = "all at once" if together else names[0]
            refused = f"{1000 * float(np.percentile(outcome.refusals, 95)):.0f} ms" if outcome.refusals else "none"
            say(
                f"{name}: p99 {p99 * 1000:.0f} ms ({p99 / quiet:.1f} x quiet), refused within {refused} (p95), "
                f"most memory {max(seen) / MEBIBYTE:.0f} MB, {dict(outcome.statuses)}"
            )
            bad = [status for status in outcome.statuses if status.startswith("5") and status != "503"]
            findings += [f"{name}: {outcome.statuses[status]} x {status}" for status in bad]
            findings += [f"{name}: {failed} searches failed"] if failed else []
            if max(seen) > 1.5 * idle + BUDGET:
                findings.append(f"{name}: {max(seen) / MEBIBYTE:.0f} MB of memory")
            if together:
                say(f"SIGTERM: exit {code} after {ended:.1f} s")
                if code or ended > SHUTDOWN_TIMEOUT + 2:
                    findings.append(f"SIGTERM: exit {code} after {ended:.1f} s")
    return findings


def main() -> None:
    """Run it, and exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    arguments: Any = parser.parse_args()
    findings = run(arguments.library, arguments.seconds)
    say("\n".join(findings) or "no finding")
    raise SystemExit(bool(findings))


if __name__ == "__main__":
    main()
