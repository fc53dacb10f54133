"""Starts a cluster of Ray, says where, and ends it at the end of standard input. Argument: a folder for its files."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ray.cluster_utils import Cluster

STORE = 120_000_000
"""Bytes of memory for what travels."""


def main(folder: str) -> None:
    """Run it."""
    # Ray writes the last address there, wherever its files are.
    Path(tempfile.gettempdir(), "ray").mkdir(exist_ok=True)
    node = {"num_cpus": 1, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "temp_dir": folder, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        print(f"READY {cluster.address}", flush=True)  # noqa: T201
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
