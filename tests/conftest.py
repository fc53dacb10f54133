"""Fixtures for all tests: the shipped bundle, loaded once, and fixture photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.space import JointSpace
from tests.captioning import write_captioner

PHOTOS = Path(__file__).parent / "fixtures" / "photos"


@pytest.fixture(scope="session")
def space() -> JointSpace:
    """The joint space of the shipped bundle, on the CPU."""
    return JointSpace.load(device="cpu")


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Photographs by name without ending: `photos["cat"]` are the bytes of cat.jpg."""
    return {path.stem: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))}


@pytest.fixture(scope="session")
def captioner_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with a captioner, trained in seconds. For tests that do not change it."""
    return write_captioner(tmp_path_factory.mktemp("captioner") / "bundle")
