"""Who leads a group of workers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from app.shared.group import WorkerGroup
from tests.repository import ROOT

_LEAD = """
import sys
from pathlib import Path
from app.shared.group import WorkerGroup
print(WorkerGroup(Path(sys.argv[1])).leads(), flush=True)
sys.stdin.read()
"""


def test_one_leads_until_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LEAD, str(tmp_path)]
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        group = WorkerGroup(tmp_path)
        assert not group.leads()
        process.kill()
        process.wait()
        assert group.leads()
        assert group.leads()


def test_without_the_folder_nobody_begins_to_lead(tmp_path: Path) -> None:
    group = WorkerGroup(tmp_path / "missing")
    assert not group.leads()
    group.folder.mkdir()
    assert group.leads()


def test_one_leads_although_the_folder_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    with (folder / "leader").open("wb") as file:
        first, second = (WorkerGroup(folder, leader=file.fileno()) for _ in range(2))
        assert first.leads()
        shutil.rmtree(folder)
        assert first.metrics.is_dir()
        assert not second.leads()
        assert first.leads()
