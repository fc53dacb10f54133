"""Fixtures for the tests of the command line: tiny bundles, folders of pictures, and running commands."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app import cli
from app.cli import application, sessions
from tests.app.helpers import picture
from tests.conftest import KeptBundle
from tests.tiny import write_bundle

CAPTIONS = Path(__file__).parents[2] / "fixtures" / "captions"
COMMANDS = Path(str(cli.__file__)).parent


@dataclass
class Outcome:
    """What a command printed, and its exit status."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """All of standard output as the one JSON document that it has to be."""
        return json.loads(self.stdout)


Run = Callable[..., Outcome]
KeptRun = Callable[..., tuple[Path, Outcome]]


@pytest.fixture(scope="session")
def bundles(kept_bundle: KeptBundle) -> list[Path]:
    """Two bundles that make different vectors."""
    captions = (CAPTIONS / "Flickr8k.token.txt").read_text()
    return [kept_bundle(f"words-{seed}", write_bundle, captions, seed) for seed in range(2)]


@pytest.fixture
def environment(bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of commands: a library that is not there yet, and the first bundle."""
    values = {"VISEM_LIBRARY": str(tmp_path / "library"), "VISEM_BUNDLE": str(bundles[0]), "VISEM_DEVICE": "cpu"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def library(environment: dict[str, str]) -> Path:
    """Where the library of the commands is, or will be."""
    return Path(environment["VISEM_LIBRARY"])


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, which keeps its priority: a lower one would be that of all later tests."""
    monkeypatch.setattr(os, "nice", lambda increment: 0)
    monkeypatch.setattr(sessions, "AUTOGROUP", tmp_path / "no-autogroup")

    def run_one(*arguments: str | Path, stdin: str | None = None) -> Outcome:
        result = CliRunner().invoke(application, [str(argument) for argument in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run_one


@pytest.fixture
def kept_run(run: Run, kept_bundle: KeptBundle) -> KeptRun:
    """Returns a folder and what a command printed that trained into it: `kept_run(name, arguments of the folder)`.

    Both are kept as `kept_bundle` keeps them, and only until commands or their tests change, too.
    """
    state = hashlib.sha256()
    for path in sorted([*COMMANDS.glob("*.py"), *Path(__file__).parent.glob("*.py")]):
        state.update(path.read_bytes())

    def write(folder: Path, arguments: Callable[[Path], Sequence[str | Path]]) -> Path:
        folder.mkdir()
        outcome = run(*arguments(folder))
        assert outcome.status == 0, outcome.stderr
        (folder / "outcome.json").write_text(json.dumps(asdict(outcome)))
        return folder

    def keep(name: str, arguments: Callable[[Path], Sequence[str | Path]]) -> tuple[Path, Outcome]:
        folder = kept_bundle(f"{name}-{state.hexdigest()[:16]}", write, arguments)
        return folder, Outcome(**json.loads((folder / "outcome.json").read_text()))

    return keep


def start(
    environment: dict[str, str], *arguments: str | bytes | Path, first: str = "", **options: Any
) -> subprocess.Popen[str]:
    """Start a command in a process of its own, which has run some code `first`."""
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}\n{first}\nfrom app.cli import main; main()", *arguments]
    options.setdefault("start_new_session", True)  # of which it may lower the priority
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, **options)  # noqa: S603


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a process."""
    stdout, stderr = process.communicate(timeout=300)
    return Outcome(process.returncode, stdout, stderr)


LARGE = (400, 300)
"""Pixels of a picture whose thumbnail is kept."""


def write_pictures(folder: Path, count: int, first: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    """A folder with pictures, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"{seed:04}.jpg").write_bytes(picture(seed, *size))
    return folder


def leave_some(folder: Path, count: int) -> None:
    """Remove pictures but for the first ones, which commands take first: more would only take time."""
    for path in sorted(folder.iterdir())[count:]:
        path.unlink()
