"""A scenario is killed, refused or cut off from power at its writes: what was acknowledged is there, and nothing half.

`make torture` kills at each write, refuses every third one and cuts the power at every second; `make test` takes some.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repository import ROOT

STRIDES = (
    {0: 1, errno.ENOSPC: 3, errno.EIO: 3} if os.environ.get("TORTURE") else {0: 29, errno.ENOSPC: 29, errno.EIO: 29}
)
POWER_STRIDE = 2 if os.environ.get("TORTURE") else 89
SEED = Path(__file__).parent


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(SEED / "shim.c"), "-ldl"]
    subprocess.run(command, check=True)  # noqa: S603
    return built


@pytest.mark.parametrize("error", list(STRIDES), ids=["kill", "ENOSPC", "EIO"])
def test_no_write_is_the_wrong_one_to_stop_at(shim: Path, tmp_path: Path, error: int) -> None:
    found = run(shim, ["driver.py", shim, tmp_path, str(STRIDES[error]), str(error)], r"(\d+) points")
    assert found >= {1: 100, 3: 33, 29: 3}[STRIDES[error]]


def test_a_power_cut_takes_nothing_that_was_acknowledged(shim: Path, tmp_path: Path) -> None:
    assert run(shim, ["power.py", shim, tmp_path, str(POWER_STRIDE)], r"(\d+) states") >= 1000 / POWER_STRIDE


def run(shim: Path, command: list[Any], counted: str) -> int:
    """Run a program of this folder with the shim; it has to have no findings. How many points or states it took."""
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, SEED / command[0], *command[1:]]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)  # noqa: S603
    found = re.search(rf"^{counted}, (\d+) findings$", done.stdout, re.MULTILINE)
    assert found is not None, done.stderr[-4000:]
    assert found[2] == "0", f"{done.stdout}\n{done.stderr[-4000:]}"
    return int(found[1])
