"""A folder in place, and passes over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.ingest.sources.passes import SourcePass
from app.ingest.sources.progress import PassOptions, PassProgress
from app.ingest.sources.registering import register_source
from app.service import Service
from index import Source
from tests.app.helpers import picture

Go = Callable[..., PassProgress]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(6):
        path = folder / ("2023" if number < 3 else "2024") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return folder


@pytest.fixture
def source(service: Service, photos: Path) -> Source:
    return register_source(service.library, photos, service.settings.library)


@pytest.fixture
def go(service: Service, source: Source) -> Go:
    """Goes over the source, checks that the numbers add up and that the library is whole, and says what was found."""

    def one(**options: object) -> PassProgress:
        now = service.library.sources.get(source.id)
        this = SourcePass(service.library, service.ingest, service.settings, now, PassOptions(**options))  # type: ignore[arg-type]
        progress = this.run()
        assert progress.seen == (
            progress.unchanged + progress.created + progress.changed + progress.recognised + progress.refused
            + progress.ignored + progress.skipped + progress.deferred
        )  # fmt: skip
        assert progress.phase == "done"
        if not progress.away and not progress.kept and not progress.refused:
            assert service.library.check() == []
        return progress

    return one
