"""A cluster of Ray: two nodes on this machine, with a core each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RayCluster:
    """A cluster that runs: its address, and the process that started it."""

    address: str
    pid: int

    def workers(self) -> list[int]:
        """The processes of the workers of Ray Data, on all nodes."""
        parents: dict[int, int] = {}
        titles: dict[int, str] = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                title = (process / "cmdline").read_text(errors="replace")
                status = (process / "stat").read_text()
            except OSError:  # it has just ended
                continue
            parents[int(process.name)] = int(status.rpartition(")")[2].split()[1])
            titles[int(process.name)] = title

        def ours(pid: int) -> bool:
            while pid > 1:
                if pid == self.pid:
                    return True
                pid = parents.get(pid, 0)
            return False

        return [pid for pid, title in titles.items() if title.startswith("ray::MapWorker") and ours(pid)]


@contextmanager
def ray_cluster(environment: Mapping[str, str]) -> Iterator[RayCluster]:
    """Run a cluster while the context lasts. Its workers have this environment besides that of the tests."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets have to be short
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    script = str(Path(__file__).with_name("ray_nodes_main.py"))
    process = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, script, folder],
        env={**os.environ, **quiet, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = (line.strip() for line in process.stdout)
        address = next((line.removeprefix("READY ") for line in lines if line.startswith("READY ")), None)
        assert address is not None, "The cluster of Ray did not start."
        yield RayCluster(address, process.pid)
    finally:
        process.communicate()  # the end of its standard input is its sign
        shutil.rmtree(folder, ignore_errors=True)
