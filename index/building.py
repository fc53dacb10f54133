"""Building vector indexes in a process of its own, at a low priority: `python -m index.building`.

It reads a request, a line of JSON, and works until nothing has been due for a while, or until its standard input ends
with whoever started it. At last it merges small segments. It may be killed at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from index.catalog import open_catalog
from index.interfaces import Collection
from index.types import Target
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.options import BuildOptions

_IDLE = 10.0  # seconds without work after which the process ends
_PAUSE = 0.25  # seconds between two looks for work
_NICE = 5  # below whoever answers or adds, yet never starved by them
_START_EVERY = 15.0  # seconds between two starts: a process that fails is not to be started all the time


@dataclass(frozen=True)
class BuildRequest:
    """What to build: the catalog's URL, the folder of the indexes, and when to seal."""

    catalog: str
    folder: Path
    options: BuildOptions

    def encode(self) -> bytes:
        """Return the request as a line."""
        return (
            json.dumps({"catalog": self.catalog, "folder": str(self.folder), **asdict(self.options)}).encode() + b"\n"
        )

    @classmethod
    def decode(cls, line: bytes) -> BuildRequest:
        """Read what `encode` wrote."""
        fields = json.loads(line)
        catalog, folder = fields.pop("catalog"), Path(fields.pop("folder"))
        return cls(catalog, folder, BuildOptions(**fields))

    def folders(self) -> list[Path]:
        """Return the folder of each collection."""
        return [self.folder / target for target in get_args(Target)]

    def is_being_built(self) -> bool:
        """Tell whether somebody is building all of them now."""
        with ExitStack() as opened:
            return not any(opened.enter_context(IndexFolder(folder).lock()) for folder in self.folders())


class BackgroundBuilder:
    """Starts the process when there is work, one at a time, and stops it in the end. Thread-safe."""

    def __init__(self, request: BuildRequest) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -_START_EVERY
        self._closed = False

    def wake(self) -> None:
        """See to it that a process looks for work; returns at once."""
        with self._lock:
            running = self._process is not None and self._process.poll() is None
            if self._closed or running or time.monotonic() < self._started + _START_EVERY:
                return
            if self._request.is_being_built():  # by another process: one more would end at once
                return
            self._drop()
            self._started = time.monotonic()
            self._process = _start(self._request)

    def close(self) -> None:
        """Stop the process, whatever it does: it leaves the index from before or after a step. Idempotent."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _start(request: BuildRequest) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).parents[1])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "index.building"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C is not for it
    )
    assert process.stdin is not None  # noqa: S101 (narrows the type)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(request.encode())
        process.stdin.flush()
    return process


def work(request: BuildRequest, idle: float = _IDLE) -> None:
    """Build what is due in both collections until nothing has been for so many seconds, or somebody else builds."""
    from index.vectors.faiss.building import Builder  # in this process alone, and FAISS with it

    with ExitStack() as opened:
        catalog = opened.enter_context(closing(open_catalog(request.catalog, None, lambda: False)))
        builders: list[Builder] = []
        for collection in cast(tuple[Collection[Any], ...], (catalog.images, catalog.sentences)):
            folder = request.folder / collection.target
            if opened.enter_context(IndexFolder(folder).lock()):
                builders.append(opened.enter_context(closing(Builder(catalog, collection, folder, request.options))))
        worked = time.monotonic()
        while builders and time.monotonic() < worked + idle:
            if sum(builder.step() or builder.is_training for builder in builders):  # each of them has its turn
                worked = time.monotonic()
            time.sleep(_PAUSE)
        for builder in builders:
            builder.tidy()


def _end_with_parent() -> None:
    while os.read(0, 1):  # not through `sys.stdin`, on which the interpreter would wait when it ends
        pass
    os._exit(0)


def main() -> None:
    """Do what standard input asks for."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    os.nice(_NICE)
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or b"\n"
    if not line.strip():  # whoever started it is gone
        return
    request = BuildRequest.decode(line)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(request)


if __name__ == "__main__":
    main()
