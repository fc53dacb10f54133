"""Who leads a group of workers."""

from __future__ import annotations

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
