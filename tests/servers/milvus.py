"""A real Milvus server, started by the Python of an environment that has it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from tests.repository import ROOT

_MAIN = Path(__file__).with_name("milvus_main.py")
_ONE_AT_A_TIME = Path(tempfile.gettempdir()) / "visem-test-milvus.lock"  # the etcd in it has a fixed port


def milvus_python() -> Path | None:
    """The Python that has the server: VISEM_TEST_MILVUS_PYTHON, or that of the environment .venv-milvus; or None."""
    named = os.environ.get("VISEM_TEST_MILVUS_PYTHON")
    python = Path(named) if named else ROOT / ".venv-milvus" / "bin" / "python"
    return python if python.exists() else None


class MilvusServer:
    """A server with its data in a folder, which can be killed and started again on the same port."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self._lock = FileLock(_ONE_AT_A_TIME)
        self._main: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self.port = 0

    def __enter__(self) -> MilvusServer:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._lock.release()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        log = self._folder / "server.log"
        command = [self._python, "-P", _MAIN, self._folder]  # -P: what is beside the script is not what it imports
        if self.port:
            command.append(str(self.port))
        with log.open("ab") as errors:
            main = self._main = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        assert main.stdout is not None
        told = dict(line.decode().split() for line in (main.stdout.readline(), main.stdout.readline()) if line)
        if "port" not in told:
            self.stop()
            raise RuntimeError(f"Milvus did not start: {log.read_text()}")
        self._pid, self.port = int(told["pid"]), int(told["port"])

    def kill(self) -> None:
        """End the server at once."""
        os.kill(self._pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """End the server, if it runs."""
        main, self._main = self._main, None
        if main is not None:
            assert main.stdin is not None
            assert main.stdout is not None
            main.stdin.close()
            main.wait(60)
            main.stdout.close()


@contextmanager
def milvus_server(python: Path, folder: Path) -> Iterator[str]:
    """Run a server, with its data in a folder, while the context lasts; its host and port."""
    with MilvusServer(python, folder) as server:
        yield f"127.0.0.1:{server.port}"
