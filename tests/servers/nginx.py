"""nginx, with a configuration of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_FOREGROUND = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")  # others may not read temporary folders
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin"


def nginx() -> str | None:
    """The program, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path=_PLACES)


def complaints(configuration: Path, folder: Path) -> str:
    """What `nginx -t` has against a configuration; nothing if it is good."""
    program = nginx()
    assert program is not None
    command = [program, "-t", "-q", "-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603
    return done.stderr if done.returncode or done.stderr else ""


@contextmanager
def serving(configuration: Path, folder: Path, address: tuple[str, int], before: Sequence[str] = ()) -> Iterator[None]:
    """Run nginx while the context lasts; it listens at `address`. `before` is put before the command."""
    program = nginx()
    assert program is not None
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    command = [*before, program, "-e", "stderr", "-p", str(folder), "-c", str(configuration), "-g", _FOREGROUND]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)  # noqa: S603
    try:
        deadline = time.monotonic() + 30
        while True:
            assert server.poll() is None, (folder / "log").read_text()
            try:
                socket.create_connection(address, timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "nginx does not listen"
                time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(30)
