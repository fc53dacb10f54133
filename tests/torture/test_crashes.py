"""Every write of a scenario, killed or refused: nothing that was acknowledged is lost, and nothing is half there.

`make torture` kills at each write and refuses every third one; `make test` takes some of them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT

STRIDES = (
    {0: 1, errno.ENOSPC: 3, errno.EIO: 3} if os.environ.get("TORTURE") else {0: 29, errno.ENOSPC: 29, errno.EIO: 29}
)
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
    command = [sys.executable, SEED / "driver.py", shim, tmp_path, str(STRIDES[error]), str(error)]
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)  # noqa: S603
    found = re.search(r"^(\d+) points, (\d+) findings$", done.stdout, re.MULTILINE)
    assert found is not None, done.stderr[-4000:]
    assert int(found[1]) >= {1: 100, 3: 33, 29: 3}[STRIDES[error]]
    assert found[2] == "0", f"{done.stdout}\n{done.stderr[-4000:]}"
