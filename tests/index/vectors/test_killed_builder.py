"""A kill while the vector index is built leaves it from before or after a step, wherever it comes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("killed_builder.py")
REPOSITORY = SCRIPT.parents[3]
STEP = "1" if os.environ.get("TORTURE") else "2"


def test_a_kill_at_any_write_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, str(SCRIPT), str(tmp_path), STEP],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert set(counts) == {
        f"{stage}, {when}" for stage in ("train", "seal", "merge", "purge") for when in ("before", "after")
    }
    assert min(counts.values()) >= 4  # the last write at which it was killed
