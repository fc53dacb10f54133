"""A service of several workers, seen from outside: which process is at the other end of a connection."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from model.space import JointSpace
from tests.app.serving import TWO_WORKERS, serving

Answer = tuple[int, bytes]


@dataclass
class Worker:
    """A connection that one worker has taken."""

    pid: int
    connection: http.client.HTTPConnection
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Status and body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, {**self.headers, **named})
        response = self.connection.getresponse()
        return response.status, response.read()

    def get(self, path: str, **parameters: Any) -> Any:
        """The document at a path."""
        status, body = self.ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        assert status == 200, body
        return json.loads(body)

    def send(self, path: str, name: str, files: dict[str, bytes]) -> Answer:
        """Status and body for a form with files."""
        parts = [
            f'--X\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'.encode() + data + b"\r\n"
            for file, data in files.items()
        ]
        return self.ask("POST", path, b"".join(parts) + b"--X--\r\n", Content_Type="multipart/form-data; boundary=X")


class Group:
    """A service of several workers in processes of their own; its log is FOLDER/log, its library FOLDER/library."""

    def __init__(self, process: subprocess.Popen[str], address: str, folder: Path, opened: ExitStack) -> None:
        self.process = process
        self.address = urlsplit(address)
        self.folder = folder
        self.headers: dict[str, str] = {}
        self._opened = opened

    def pids(self) -> set[int]:
        """The workers that there are."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid) for pid in children}

    def connect(self) -> Worker:
        """A connection, which any worker may take."""
        connection = http.client.HTTPConnection(self.address.netloc, timeout=60)
        self._opened.callback(connection.close)
        worker = Worker(0, connection, self.headers)
        worker.ask("GET", "/healthz")
        worker.pid = self._owner(connection.sock.getsockname()[1])
        return worker

    def workers(self, number: int = 2, but: int = 0) -> list[Worker]:
        """A connection to each of so many workers, by their process ids; none to the process `but`."""
        found: dict[int, Worker] = {}
        deadline = time.monotonic() + 60
        while len(found) < number:
            assert time.monotonic() < deadline, self.log()
            worker = self.connect()
            if worker.pid != but and worker.pid not in found:
                found[worker.pid] = worker
            else:
                worker.connection.close()
                time.sleep(0.02)
        return [found[pid] for pid in sorted(found)]

    def leader(self) -> int:
        """The worker that watches folders."""
        until(lambda: any(map(_watches, self.pids())), self)  # it begins to, once it serves
        [leader] = [pid for pid in self.pids() if _watches(pid)]
        return leader

    def log(self) -> str:
        """What the service has logged."""
        return (self.folder / "log").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Stop the service as it should be; return how long that took."""
        started = time.monotonic()
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=60)
        assert (self.process.returncode, output) == (0, "closed\n"), self.log()
        return time.monotonic() - started

    def _owner(self, port: int) -> int:
        """The process at the other end of a connection from a port of this machine."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            ours, theirs = (int(end.partition(":")[2], 16) for end in fields[1:3])
            if (ours, theirs) == (self.address.port, port):
                for pid in self.pids():
                    if f"socket:[{fields[9]}]" in _descriptors(pid):
                        return pid
        raise AssertionError("the connection is gone")


@contextmanager
def group(space: JointSpace, folder: Path, program: str = TWO_WORKERS, **settings: str) -> Iterator[Group]:
    """A service of two workers."""
    settings = {"IDLE_TIMEOUT": "600", **settings}
    with serving(space, folder, program, **settings) as (process, address), ExitStack() as opened:
        yield Group(process, address, folder, opened)


def until(true: Callable[[], bool], group: Group, seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, group.log()[-4000:]
        time.sleep(0.1)


def is_there(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descriptors(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(path.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found


def _watches(pid: int) -> bool:
    return "anon_inode:inotify" in _descriptors(pid)
