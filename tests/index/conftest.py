"""Small libraries with made-up vectors; no picture is ever decoded here."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index import (
    ContentKind,
    Library,
    LibraryConfig,
    NewImage,
    NewSentence,
    Space,
    open_library,
)

DIMENSION = 32
REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


def thumbnail_of(content: bytes) -> bytes:
    """A real JPEG, as small as can be, that belongs to a content."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, format="JPEG", comment=content)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def space() -> Space:
    return Space(id="a" * 64, name="first-bundle", dimension=DIMENSION)


@pytest.fixture(scope="session")
def other_space() -> Space:
    return Space(id="b" * 64, name="second-bundle", dimension=DIMENSION // 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def library(root: Path, space: Space) -> Iterator[Library]:
    with open_library(LibraryConfig(root), space) as opened:
        yield opened


@pytest.fixture(scope="session")
def vector() -> Callable[[int], np.ndarray]:
    """A direction that belongs to a number."""

    def make(number: int) -> np.ndarray:
        return np.random.default_rng(number).normal(size=DIMENSION)

    return make


@pytest.fixture(scope="session")
def image(vector: Callable[[int], np.ndarray]) -> Callable[..., NewImage]:
    """An image that belongs to a number; keywords replace its fields."""

    def make(number: int, **fields: Any) -> NewImage:
        content = f"content {number}".encode()
        defaults = {"vector": vector(number), "filename": f"{number}.png", "metadata": {"number": number}}
        return NewImage(
            content=content,
            thumbnail=thumbnail_of(content),
            media_type="image/png",
            width=640,
            height=480,
            **{**defaults, **fields},
        )

    return make


@pytest.fixture(scope="session")
def sentence(vector: Callable[[int], np.ndarray]) -> Callable[..., NewSentence]:
    """A sentence that belongs to a number; keywords replace its fields."""

    def make(number: int, **fields: Any) -> NewSentence:
        defaults = {"text": f"sentence {number}", "vector": vector(number), "metadata": {"number": number}}
        return NewSentence(**{**defaults, **fields})

    return make


@pytest.fixture(scope="session")
def path_of() -> Callable[[Library, str, ContentKind], Path]:
    """Where a library in a folder keeps one of the two files of an image."""

    def find(library: Library, id: str, kind: ContentKind = "content") -> Path:
        with library.open_file(id, kind) as file:
            assert file.content.path is not None
            return file.content.path

    return find


@pytest.fixture(scope="session")
def copy_of(tmp_path_factory: pytest.TempPathFactory, space: Space) -> Callable[..., None]:
    """Make a library at a path as `fill` fills it; it is filled once for each name, and then copied."""
    templates: dict[str, Path] = {}

    def copy(name: str, fill: Callable[[Library], object], root: Path) -> None:
        if name not in templates:
            templates[name] = tmp_path_factory.mktemp("templates") / name
            with open_library(LibraryConfig(templates[name]), space) as library:
                fill(library)
        shutil.copytree(templates[name], root)

    return copy


@pytest.fixture
def start_worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start worker.py in a process of its own; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(WORKER), *map(str, arguments)]
        worker = subprocess.Popen(  # noqa: S603 (our own script)
            command, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, text=True
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait()
        if worker.stdout:
            worker.stdout.close()


@pytest.fixture
def run_worker(start_worker: Callable[..., subprocess.Popen[str]]) -> Callable[..., list[str]]:
    """Run worker.py to its end and return the lines that it printed."""

    def run(*arguments: object) -> list[str]:
        worker = start_worker(*arguments)
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        return output.splitlines()

    return run
