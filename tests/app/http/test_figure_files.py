"""Files of figures, on a disk with room and on one without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from app.http.figure_files import AllocatedDict
from tests.repository import ROOT

_COUNT = """
import sys
from pathlib import Path
from app.http.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
for number in range(2000):
    metrics.observe_request("GET", f"/{number}", 200, 0.1)
text = metrics.render()
print("counted", flush=True)
"""


def test_no_page_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    figures = AllocatedDict(str(path))
    for number in range(2000):
        figures.write_value(f"{number:>50}", number, 0.0)
        status = path.stat()
        assert status.st_blocks * 512 >= status.st_size
    assert status.st_size > 1 << 16
    figures.close()
    read = {key: value for key, value, *_ in MmapedDict.read_all_values_from_file(str(path))}
    assert read == {f"{number:>50}": number for number in range(2000)}


@pytest.mark.parametrize("size", ["4k", "64k", "256k"])
def test_figures_stay_in_the_process_where_the_disk_is_full(tmp_path: Path, size: str) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0  # noqa: S603
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount")
    try:
        metrics = folder / "metrics"
        metrics.mkdir()
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _COUNT, str(metrics)],
            cwd=ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607
    assert (ended.returncode, ended.stdout) == (0, "counted\n"), ended.stderr
    assert "figures are not shared with other workers, " in ended.stderr
