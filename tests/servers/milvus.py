"""A real Milvus server, started by the Python of an environment that has it."""

from __future__ import annotations

import os
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


@contextmanager
def milvus_server(python: Path, folder: Path) -> Iterator[str]:
    """Run a server, with its data in a folder, while the context lasts; its host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [python, "-P", _MAIN, folder]  # -P: what is beside the script is not what it imports
    with FileLock(_ONE_AT_A_TIME), (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            for line in server.stdout:
                if line.startswith(b"port "):
                    yield f"127.0.0.1:{int(line.split()[1])}"
                    break
            else:
                raise RuntimeError(f"Milvus did not start: {(folder / 'server.log').read_text()}")
        finally:
            server.stdin.close()
            server.wait(60)
            server.stdout.close()
