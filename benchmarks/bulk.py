"""Bulk embedding on Ray: images a second with 1 and 2 workers on this machine, and how well two share the work.

    python benchmarks/bulk.py FOLDER --count 600     # images of a folder, which are copied first; needs the extra ray

It starts two nodes, each bound to a core of its own, adds the images to a new library with each number of workers, in
turns, and prints the rate while images come in: starting Ray, workers and models is not part of it. The command itself
runs on both cores, beside the workers.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

VISEM = [sys.executable, "-c", "from app.cli import main; main()"]


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory(dir="/tmp") as work:  # Ray's sockets need short names
        photos = Path(work, "photos")
        photos.mkdir()
        for path in sorted(chosen.folder.glob("*.jpg"))[: chosen.count]:
            shutil.copy(path, photos)
        Path("/tmp/ray").mkdir(exist_ok=True)  # noqa: S108
        cores = sorted(os.sched_getaffinity(0))
        cluster = Cluster()
        for number, core in enumerate(cores[:2]):
            os.sched_setaffinity(0, {core})
            head = {} if number else {"temp_dir": f"{work}/ray", "include_dashboard": False}
            cluster.add_node(num_cpus=1, object_store_memory=200_000_000, **head)
        os.sched_setaffinity(0, cores)
        rates: dict[int, list[float]] = {1: [], 2: []}
        try:
            for number in range(chosen.rounds):
                for workers, found in rates.items():
                    found.append(measure(cluster.address, photos, workers, Path(work, f"library-{number}-{workers}")))
                    print(f"{workers} workers: {found[-1]:.1f} images/s", flush=True)  # noqa: T201
        finally:
            cluster.shutdown()
        one, two = (statistics.median(rates[workers]) for workers in (1, 2))
        print(f"medians: {one:.1f} and {two:.1f} images/s, efficiency {two / one / 2:.0%}")  # noqa: T201


def measure(address: str, photos: Path, workers: int, library: Path) -> float:
    """Images a second from the first quarter of the images to the last tenth."""
    command = [*VISEM, "add", "--ray", address, "--workers", str(workers), "--library", str(library), str(photos)]
    count = sum(1 for _ in photos.iterdir())
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    times: dict[int, float] = {}
    while process.poll() is None:
        stored = sum(1 for _ in library.glob("content/*/*"))
        times.setdefault(stored, time.monotonic())
        time.sleep(0.05)
    output = process.communicate()[0]
    if not re.match(rf"Added {count:,} images", output):
        raise SystemExit(f"It went wrong: {output}")
    inside = [(stored, at) for stored, at in times.items() if count * 0.25 <= stored <= count * 0.9]
    (first, begun), (last, ended) = inside[0], inside[-1]
    return (last - first) / (ended - begun)


if __name__ == "__main__":
    main()
