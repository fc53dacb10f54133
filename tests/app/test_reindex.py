"""Embedding a library anew with another bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.reindex import reindex
from app.results import CaptionOptions
from app.service import Service
from app.settings import Settings
from index import (
    LibraryConfig,
    LibraryNotFound,
    NewImage,
    NewSentence,
    Space,
    SpaceMismatch,
    open_library,
    render_thumbnail,
)
from model.images.decoding import decode_image
from model.space import JointSpace
from tests.app.helpers import picture


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a library which another bundle made."""
    old = Space(id="0" * 64, name="old-bundle", dimension=8)
    rng = np.random.default_rng(0)
    with open_library(LibraryConfig(tmp_path / "library"), old) as library:
        images = [
            NewImage(picture(seed), rng.normal(size=8), render_thumbnail(decoded.image), "image/jpeg", 64, 48)
            for seed in range(5)
            for decoded in [decode_image(picture(seed))]
        ]
        library.add_images(images)
        library.add_sentences([NewSentence(text, rng.normal(size=8)) for text in ("a dog", "xqztw qqqzz", "a red car")])
    return Settings(library=tmp_path / "library")


def test_a_library_moves_to_another_bundle(settings: Settings, space: JointSpace) -> None:
    with pytest.raises(SpaceMismatch):
        Service.open(settings, space=space)
    steps: list[tuple[int, int]] = []
    reindex(settings, lambda done, total: steps.append((done, total)), space=space)
    assert steps[-1] == (8, 8)
    with Service.open(settings, space=space) as service:
        assert service.stats().images == 5
        hit = service.search(image=picture(3)).hits[0]
        assert hit.score == pytest.approx(1, abs=1e-3)
        assert service.list_sentences().total == 3, "nobody loses a sentence"
        texts = [
            one.record.text for one in service.captions(CaptionOptions(mode="retrieve"), image=picture(1)).captions
        ]
        assert set(texts) == {"a dog", "a red car", "xqztw qqqzz"}
        assert service.library.check() == []


def test_there_has_to_be_a_library(space: JointSpace, tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound):
        reindex(Settings(library=tmp_path / "nothing"), space=space)
