"""A library that cannot be written, folder and catalog: it is searched all the same, and refuses to be changed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.service import library_space
from index import LibraryConfig, open_library
from model.space import JointSpace
from tests.app.cli.conftest import write_pictures
from tests.app.serving import PROGRAM, serving

COMMAND = "from app.cli import main; main()"


def heeding_modes(program: str) -> str:
    """A program that becomes `program`, without the right of root to write what the modes of files forbid."""
    if os.geteuid() != 0:
        return program
    lose = "ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0 or sys.exit('CAP_DAC_OVERRIDE stays')"
    return (
        f"import ctypes, os, sys; {lose}\nos.execv(sys.executable, [sys.executable, '-c', {program!r}, *sys.argv[1:]])"
    )


def set_writable(folder: Path, writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o700 if path.is_dir() else 0o600) if writable else (0o500 if path.is_dir() else 0o400))


@pytest.fixture(scope="module")
def filled(space: JointSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library with three pictures, two of them in no need of a stored thumbnail."""
    folder = tmp_path_factory.mktemp("filled")
    pictures = write_pictures(folder / "pictures", 2)
    write_pictures(pictures, 1, first=2, size=(400, 300))
    assert visem(space, folder / "library", "add", pictures, program=COMMAND).returncode == 0
    return folder / "library"


@pytest.fixture
def library(filled: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, read-only."""
    folder = shutil.copytree(filled, tmp_path / "library")
    set_writable(folder, False)
    yield folder
    set_writable(folder, True)


def visem(space: JointSpace, library: Path, *arguments: str | Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "VISEM_LIBRARY": str(library),
        "VISEM_BUNDLE": str(space.bundle.path),
        "VISEM_DEVICE": "cpu",
    }
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def fetch(address: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # our own
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_commands_read_it(space: JointSpace, library: Path) -> None:
    program = heeding_modes(COMMAND)
    found = visem(space, library, "search", "dog", "--json", program=program)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["hits"]) == 3
    told = visem(space, library, "info", program=program)
    assert (told.returncode, "3 images" in told.stdout) == (0, True), told.stderr
    refused = visem(space, library, "sentences", "add", "a dog", program=program)
    assert refused.returncode == 1
    assert "readonly" in refused.stderr
    assert not {path.name for path in library.iterdir()} & {"catalog.sqlite-wal", "catalog.sqlite-shm"}


def test_a_service_reads_it(space: JointSpace, library: Path, tmp_path: Path) -> None:
    with serving(space, tmp_path, heeding_modes(PROGRAM)) as (_, address):
        hits = json.loads(fetch(address, "/v1/search?q=dog")[1])["hits"]
        assert len(hits) == 3
        for hit in hits:
            status, thumbnail = fetch(address, hit["thumbnail_url"])
            assert (status, Image.open(io.BytesIO(thumbnail)).format) == (200, "JPEG")
        for path in ("/", "/?q=dog", "/timeline", "/sources", f"/photos/{hits[0]['id']}", "/readyz"):
            assert fetch(address, path)[0] == 200, path
        status, problem = fetch(address, "/v1/sentences", {"text": "a dog"})
        assert (status, json.loads(problem)["code"]) == (507, "storage_failed")


def test_a_deletion_that_is_due_does_not_keep_a_service_from_starting(
    space: JointSpace, library: Path, tmp_path: Path
) -> None:
    set_writable(library, True)
    with open_library(LibraryConfig(library), library_space(space)) as opened:
        opened.deletions.schedule(opened.list_images().items[0].id, datetime.now(UTC))
    set_writable(library, False)
    with serving(space, tmp_path, heeding_modes(PROGRAM)) as (_, address):
        assert fetch(address, "/v1/search?q=dog")[0] == 200
    assert "pending deletions have to wait" in (tmp_path / "log").read_text()


def test_once_somebody_else_writes_it_the_answer_is_an_error_and_not_a_stale_one(
    space: JointSpace, library: Path, tmp_path: Path
) -> None:
    with serving(space, tmp_path, heeding_modes(PROGRAM)) as (_, address):
        assert fetch(address, "/v1/images")[0] == 200
        set_writable(library, True)
        assert visem(space, library, "sentences", "add", "a dog", program=COMMAND).returncode == 0
        status, problem = fetch(address, "/v1/images")
        assert (status, json.loads(problem)["code"]) == (507, "storage_failed")
    assert "has to be opened again" in (tmp_path / "log").read_text()
