"""Fixtures for all tests: joint spaces, loaded once, and fixture photographs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

from model.space import JointSpace

TESTS = Path(__file__).parent
MODEL = TESTS.parent / "model"
PHOTOS = TESTS / "fixtures" / "photos"


def pytest_configure() -> None:
    """One thread each for torch, in workers and in processes that tests start: workers are enough for all cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class Together(LoadFileScheduling):
    """One worker runs all tests of a file, and all that share what is slow to start: the browser, and training."""

    TOGETHER = ("tests/e2e/", ("tests/model/training/", "tests/app/cli/test_train.py", "tests/model/captioner/"))

    def _split_scope(self, nodeid: str) -> str:
        for prefixes in self.TOGETHER:
            if nodeid.startswith(prefixes):
                return str(prefixes)
        return str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """How tests are handed out where there are several workers."""
    return Together(config, log)


@pytest.fixture(scope="session")
def space(captioner_bundle: Path) -> JointSpace:
    """A tiny joint space whose bundle has a captioner. What it finds means nothing."""
    return JointSpace.load(captioner_bundle, device="cpu")


@pytest.fixture(scope="session")
def shipped_space() -> JointSpace:
    """The joint space of the shipped bundle, on the CPU: slow, for tests of quality alone."""
    return JointSpace.load(device="cpu")


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Photographs by name without ending: `photos["cat"]` are the bytes of cat.jpg."""
    return {path.stem: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))}


@pytest.fixture(scope="session")
def captioner_bundle(request: pytest.FixtureRequest) -> Path:
    """A tiny bundle with a captioner, trained in seconds. For tests that do not change it.

    It is kept until the code that made it changes, so that most runs neither train nor import torch.
    """
    state = hashlib.sha256()
    for path in sorted([*MODEL.rglob("*.py"), *TESTS.glob("*.py")]):
        state.update(path.read_bytes())
    folder = request.config.cache.mkdir("bundles")  # type: ignore[union-attr]  # None only with `-p no:cacheprovider`
    bundle = folder / state.hexdigest()[:16]
    with FileLock(folder / "lock"):  # one training for all workers: the first trains, the others wait
        if not bundle.exists():
            from tests.captioning import write_captioner  # slow to import

            with tempfile.TemporaryDirectory(dir=folder) as unfinished:
                write_captioner(Path(unfinished) / "bundle").rename(bundle)
    return bundle
