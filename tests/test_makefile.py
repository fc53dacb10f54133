"""The Makefile, with a Python that only pretends to install: what is run when, and what is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repository import ROOT

PRETENDER = """#!/bin/sh
# python -m venv DIR makes another pretender in DIR/bin; everything is logged, pip installs nothing.
case "$*" in
    "-m venv "*)
        echo "venv" >> "$LOG"
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        printf '#!%s/%s/bin/python\\n' "$PWD" "$3" > "$3/bin/pip"
        printf '#!/bin/sh\\necho "visem $*" >> "$LOG"\\n' > "$3/bin/visem"
        chmod +x "$3/bin/visem" ;;
    "-m pip "*)
        echo "pip $*" >> "$LOG" ;;
    -V)
        echo "Python 3.9.2" ;;
    *version_info*)
        exit "$TOO_OLD" ;;
esac
"""


class Checkout:
    """A folder with the Makefile and what it reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        self.python = folder / "pretender"
        self.python.write_text(PRETENDER)
        self.python.chmod(0o755)

    def make(self, *arguments: str, too_old: bool = False) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "ARGS"))}
        environment = {**inherited, "LOG": str(self.log), "TOO_OLD": str(int(too_old)), "TORCH_INDEX": ""}
        command = ["make", *arguments, f"PYTHON={self.python}"]
        self.log.write_text("")
        return subprocess.run(  # noqa: S603
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )

    def logged(self) -> list[str]:
        return self.log.read_text().splitlines()

    def touch(self, name: str) -> None:
        """Make a file newer than everything else."""
        newest = max(path.stat().st_mtime for path in (self.folder / ".venv").iterdir())
        os.utime(self.folder / name, (newest + 1, newest + 1))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    return Checkout(tmp_path)


def test_serve_installs_once_and_then_starts_at_once(checkout: Checkout) -> None:
    first = checkout.make("serve")
    assert first.returncode == 0, first.stderr
    logged = checkout.logged()
    assert logged[0] == "venv"
    assert logged[-1] == "visem serve"
    installs = [line for line in logged if line.startswith("pip")]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert installs[-1].endswith("--editable .")

    checkout.make("serve", "ARGS=--port 9000")
    assert checkout.logged() == ["visem serve --port 9000"]


def test_changed_dependencies_are_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.make("serve")
    checkout.touch("pyproject.toml")
    checkout.make("serve")

    logged = checkout.logged()
    assert "venv" not in logged
    assert [line for line in logged if line.startswith("pip")]
    assert logged[-1] == "visem serve"


def test_a_moved_environment_is_made_anew(checkout: Checkout) -> None:
    checkout.make("serve")
    (checkout.folder / ".venv/bin/pip").write_text("#!/somewhere/else/.venv/bin/python\n")
    checkout.make("serve")

    assert checkout.logged()[0] == "venv"


def test_torch_comes_from_the_index_that_is_given(checkout: Checkout) -> None:
    checkout.make("serve", "DEVICE=cuda", "TORCH_INDEX=file:///wheels")
    with_index = [line for line in checkout.logged() if "--index-url" in line]
    assert len(with_index) == 1
    assert with_index[0].endswith("--no-deps --index-url file:///wheels torch torchvision")

    checkout.touch("pyproject.toml")
    checkout.make("serve", "DEVICE=cuda")
    assert not [line for line in checkout.logged() if "--index-url" in line]


def test_only_a_gpu_needs_torch(checkout: Checkout) -> None:
    checkout.make("serve", "TORCH_INDEX=file:///wheels")
    assert not [line for line in checkout.logged() if "torch" in line or "[" in line]

    checkout.make("serve", "DEVICE=cuda")
    assert [line for line in checkout.logged() if line.endswith("--editable .[gpu]")]


def test_targets_at_the_same_time_install_one_after_the_other(checkout: Checkout) -> None:
    result = checkout.make("-j2", "train", "serve", "bench")

    assert result.returncode == 0, result.stderr
    assert sum("--editable .[train]" in line for line in checkout.logged()) == 1
    assert sum(line.endswith("--editable .") for line in checkout.logged()) == 1
    assert {"visem serve", "visem train bundle", "visem bench"} <= set(checkout.logged())


def test_an_old_python_is_told_so(checkout: Checkout) -> None:
    result = checkout.make("serve", too_old=True)

    assert result.returncode != 0
    assert "Visem needs Python 3.11 or newer" in result.stderr
    assert "Python 3.9.2" in result.stderr
    assert "make PYTHON=" in result.stderr
    assert checkout.logged() == []
