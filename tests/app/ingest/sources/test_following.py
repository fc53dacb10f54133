"""A service that follows folders: changes as they happen, pauses, folders that go and come back."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ingest.sources.following import SourceFollower
from app.ingest.sources.passes import SourcePass
from app.ingest.sources.progress import FileOutcome, PassProgress
from app.ingest.sources.registering import register_source
from app.service import Service
from index import ContentMissing, LibraryConfig, Source, SourceNotFound, open_library
from tests.app.helpers import picture, until


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    return folder


@pytest.fixture
def source(service: Service, photos: Path) -> Source:
    return register_source(service.library, photos, service.settings.library)


@pytest.fixture
def passes() -> list[PassProgress]:
    """The passes that have ended."""
    return []


@pytest.fixture
def follower(service: Service, source: Source, passes: list[PassProgress]) -> Iterator[SourceFollower]:
    one = SourceFollower(
        service.library, service.ingest, service.settings, finished=lambda source, progress: passes.append(progress)
    )
    one.start()
    until(lambda: service.library.count("images") == 3)
    yield one
    one.close()


def test_changes_are_followed_as_they_happen(service: Service, photos: Path, follower: SourceFollower) -> None:
    before = {record.filename: record.id for record in service.list_images().items}
    (photos / "deep").mkdir()
    (photos / "0.jpg").rename(photos / "deep" / "moved.jpg")
    (photos / "1.jpg").write_bytes(picture(50))
    (photos / "2.jpg").unlink()
    (photos / "new.jpg").write_bytes(picture(51))

    def agrees() -> bool:
        now = {record.id for record in service.list_images().items}
        return len(now) == 3 and {before["0.jpg"], before["1.jpg"]} < now and before["2.jpg"] not in now

    def changed() -> bool:
        try:
            with service.image_content(before["1.jpg"]) as file:
                return file.content.read() == picture(50)
        except ContentMissing:  # the file has another content, and was not looked at yet
            return False

    until(agrees)
    until(changed)


def test_files_whose_names_are_no_text_do_not_end_the_watch(
    service: Service, photos: Path, source: Source, follower: SourceFollower
) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")  # Latin-1, as on old disks; watchfiles cannot say that it was read or changed
    (photos / name).write_bytes(picture(90))
    until(lambda: service.library.count("images") == 4)
    (photos / "new.jpg").write_bytes(picture(91))
    until(lambda: service.library.count("images") == 5)
    before = {record.id for record in service.list_images().items}
    (photos / name).write_bytes(picture(92))
    until(lambda: service.library.sources.locate(hashlib.sha256(picture(92)).hexdigest()))
    assert {record.id for record in service.list_images().items} == before
    assert follower.get(source.id).watch_problem is None


def test_a_paused_source_is_left_alone(
    service: Service, photos: Path, source: Source, follower: SourceFollower, passes: list[PassProgress]
) -> None:
    assert follower.pause(source.id, True).source.paused
    until(lambda: not follower.get(source.id).at_work)
    (photos / "new.jpg").write_bytes(picture(60))
    time.sleep(3)
    assert service.library.count("images") == 3
    follower.pause(source.id, False)
    until(lambda: service.library.count("images") == 4)


def test_a_folder_that_goes_and_comes_back(
    service: Service, photos: Path, source: Source, follower: SourceFollower
) -> None:
    photos.rename(photos.with_name("elsewhere"))
    until(lambda: follower.get(source.id).source.state == "away")
    assert service.library.count("images") == 3
    photos.with_name("elsewhere").rename(photos)
    until(lambda: follower.get(source.id).source.state == "ready")
    (photos / "new.jpg").write_bytes(picture(70))  # it is watched again
    until(lambda: service.library.count("images") == 4)


def test_refused_files_are_tried_again_when_somebody_asks(
    service: Service, photos: Path, source: Source, follower: SourceFollower, passes: list[PassProgress]
) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture")
    until(lambda: follower.get(source.id).files.get("refused") == 1)
    until(lambda: not follower.get(source.id).at_work)
    passes.clear()
    follower.rescan(source.id)
    until(lambda: any(one.refused == 1 and one.unchanged == 3 for one in passes))


def test_forgetting_while_a_pass_is_under_way(
    service: Service, photos: Path, source: Source, follower: SourceFollower
) -> None:
    for number in range(100, 140):
        (photos / f"{number}.jpg").write_bytes(picture(number))
    follower.rescan(source.id)
    until(lambda: follower.get(source.id).at_work)
    follower.forget(source.id)
    time.sleep(1.5)  # whatever was under way, or due, would be seen by now
    assert service.library.count("images") == 0
    assert follower.statuses() == []
    assert service.library.check(deep=True) == []


def test_a_pass_under_a_source_that_another_process_forgets_adds_nothing_more(
    service: Service, photos: Path, source: Source
) -> None:
    """`visem sources forget` while a service is at work: images of no source would never be seen as gone."""
    told: list[str] = []

    def forget(outcome: FileOutcome) -> None:
        told.append(outcome.path)
        if len(told) == 1:
            with open_library(LibraryConfig(service.settings.library), service.library.space) as other:
                other.sources.forget(source.id)

    for number in range(100, 140):
        (photos / f"{number}.jpg").write_bytes(picture(number))
    this = SourcePass(service.library, service.ingest, service.settings, source, tell=forget)
    with pytest.raises(SourceNotFound):
        this.run()
    assert this.progress.phase == "stopped"
    assert service.library.count("images") == 0
    assert service.library.check(deep=True) == []


def test_forgetting(service: Service, photos: Path, source: Source, follower: SourceFollower) -> None:
    assert follower.forget(source.id) == 3
    assert service.library.count("images") == 0
    assert sorted(path.name for path in photos.iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(SourceNotFound):
        follower.rescan(source.id)
