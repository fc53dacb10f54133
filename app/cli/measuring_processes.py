"""The measurements of `visem bench` that take processes: cold starts, and what a service keeps in memory."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

from app.settings import Settings

STARTS = 3
READY_SECONDS = 120.0
_VISEM = [sys.executable, "-c", "from app.cli import main; main()"]


def cold_start_milliseconds(settings: Settings, picture: Path | None) -> dict[str, float]:
    """Median time of whole commands: the version, a search, and a caption of `picture` where one can be written."""
    commands = {"version": ["--version"], "search": ["search", "a dog runs on the beach"]}
    if picture is not None:
        commands["caption"] = ["caption", str(picture)]
    return {name: _milliseconds(settings, arguments) for name, arguments in commands.items()}


def service_megabytes(settings: Settings, picture: bytes, *, captions: bool) -> dict[str, float] | None:
    """What a service of the library keeps in memory: when it is ready, and when it has written captions.

    Its decoders are not counted: they come and go, 35 MB each. None where the system does not tell (/proc).
    """
    if not Path("/proc/self/status").exists():
        return None
    with _service(settings) as (process, port):
        taken = {"idle": _resident(process.pid)}
        if captions:
            _post_picture(port, "/v1/captions", picture)
            taken["after_captions"] = _resident(process.pid)
    return taken


def _milliseconds(settings: Settings, arguments: list[str]) -> float:
    taken: list[float] = []
    for _ in range(STARTS):
        started = time.perf_counter()
        subprocess.run([*_VISEM, *arguments], env=_environment(settings), check=True, capture_output=True)  # noqa: S603
        taken.append(1000 * (time.perf_counter() - started))
    return median(taken)


@contextmanager
def _service(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A service that is ready, and its port; TimeoutError."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = int(any_port.getsockname()[1])
    command = [*_VISEM, "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=_environment(settings), stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError("The service did not start.")
            time.sleep(0.05)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _post_picture(port: int, path: str, picture: bytes) -> None:
    head = b'--part\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    connection = HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS)
    try:
        body = head + picture + b"\r\n--part--\r\n"
        connection.request("POST", path, body, {"Content-Type": "multipart/form-data; boundary=part"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {answer.read()[:200]!r}")
        answer.read()
    finally:
        connection.close()


def _resident(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _environment(settings: Settings) -> dict[str, str]:
    """That of this process without its settings, but for library, bundle and device; a service is one process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("VISEM_")}
    own |= {"VISEM_LIBRARY": str(settings.library), "VISEM_DEVICE": settings.device, "VISEM_WORKERS": "1"}
    return own if settings.bundle is None else own | {"VISEM_BUNDLE": str(settings.bundle.absolute())}
