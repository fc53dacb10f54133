"""Passes over folders in place: what is read, what it becomes, and what is kept through changes."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.ingest.sources import passes
from app.ingest.sources.passes import SourcePass
from app.ingest.sources.progress import FileOutcome, PassProgress
from app.ingest.sources.registering import SourceRefused, register_source
from app.service import Service
from index import ContentMissing, RecordNotFound, Source
from tests.app.helpers import picture
from tests.app.ingest.sources.helpers import did, ids

Go = Callable[..., PassProgress]


def test_nothing_is_copied_and_an_unchanged_file_is_not_opened(
    service: Service, photos: Path, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert did(go()) == {"created": 6}
    library = service.settings.library
    assert [path for path in (library / "content").rglob("*") if path.is_file()] == []
    assert list((library / "thumbnails").rglob("*.jpg")) == []  # they are small
    assert service.stats().content_bytes == 0
    for name, id in ids(service).items():
        with service.image_content(id) as file:
            assert file.content.read() == picture(int(name[0]))
            assert file.content.path is not None
            assert file.content.path.name == name
    monkeypatch.setattr(passes, "open_below", lambda root, path: pytest.fail(f"{path} was opened"))
    assert did(go()) == {"unchanged": 6}


def test_a_moved_file_keeps_its_image_with_all_that_was_said_about_it(service: Service, photos: Path, go: Go) -> None:
    go()
    before = ids(service)
    service.patch_image(before["1.jpg"], {"album": "mine"})
    service.set_captions(before["1.jpg"], ["a dog on the beach"])
    (photos / "elsewhere").mkdir()
    for name in ("0.jpg", "1.jpg"):
        (photos / "2023" / name).rename(photos / "elsewhere" / f"new-{name}")
    assert did(go()) == {"unchanged": 4, "recognised": 2}
    assert ids(service) == before
    assert service.get_image(before["1.jpg"]).metadata == {"album": "mine"}
    assert [one.sentence.text for one in service.image_captions(before["1.jpg"])] == ["a dog on the beach"]
    assert service.library.sources.of([before["1.jpg"]])[before["1.jpg"]][0].path == "elsewhere/new-1.jpg"
    with service.image_content(before["1.jpg"]) as file:
        assert file.content.read() == picture(1)


def test_a_changed_file_is_embedded_again_under_its_id(service: Service, photos: Path, go: Go) -> None:
    go()
    before = ids(service)
    digest = service.get_image(before["0.jpg"]).sha256
    service.patch_image(before["0.jpg"], {"album": "mine"})
    old = service.library.image_vectors([before["0.jpg"]])
    (photos / "2023" / "0.jpg").write_bytes(picture(100))
    with pytest.raises(ContentMissing):  # rather than another content under the old name
        service.image_content(before["0.jpg"])
    assert did(go()) == {"unchanged": 5, "changed": 1}
    assert service.thumbnail_of(digest) is None  # it belongs to no image any more
    assert service.thumbnail_of(service.get_image(before["0.jpg"]).sha256)
    assert ids(service) == before
    assert service.get_image(before["0.jpg"]).metadata == {"album": "mine"}
    new = service.library.image_vectors([before["0.jpg"]])
    assert float(old[0] @ new[0]) < 0.999
    hits = service.library.search(new[0], 1, "images").items
    assert [hit.record.id for hit in hits] == [before["0.jpg"]]
    assert hits[0].score > 0.999
    with service.image_content(before["0.jpg"]) as file:
        assert file.content.read() == picture(100)


def test_files_that_are_renamed_in_a_row_keep_their_images(service: Service, photos: Path, go: Go) -> None:
    go()
    before = {record.sha256: record.id for record in service.list_images(limit=100).items}
    folder = photos / "2023"
    for number in (2, 1, 0):
        (folder / f"{number}.jpg").rename(folder / f"{number + 1}.jpg")
    (folder / "0.jpg").write_bytes(picture(50))  # and a new one comes first
    assert did(go()) == {"unchanged": 3, "created": 1, "recognised": 3}
    after = {record.sha256: record.id for record in service.list_images(limit=100).items}
    assert len(after) == 7
    assert before.items() <= after.items()


def test_a_vanished_file_is_missing_and_back_with_its_id(service: Service, photos: Path, go: Go) -> None:
    go()
    before = ids(service)
    (photos / "2023" / "0.jpg").rename(photos.parent / "0.jpg")
    assert did(go()) == {"unchanged": 5, "missing": 1}
    assert ids(service) == {name: id for name, id in before.items() if name != "0.jpg"}
    assert service.get_image(before["0.jpg"]).filename == "0.jpg"
    vector = service.library.image_vectors([before["0.jpg"]])[0]
    page = service.library.search(vector, 10, "images")
    assert (before["0.jpg"] in {hit.record.id for hit in page.items}, page.total) == (False, 5)
    assert did(go()) == {"unchanged": 5}
    (photos.parent / "0.jpg").rename(photos / "2023" / "0.jpg")
    assert did(go()) == {"unchanged": 6, "returned": 1}
    assert ids(service) == before


def test_what_is_missing_goes_when_it_is_told_to_or_in_time(service: Service, photos: Path, go: Go) -> None:
    for number in range(3):
        (photos / "2023" / f"{number}.jpg").write_bytes(picture(number, 400, 300))
    go()
    before = ids(service)
    (photos / "2023" / "0.jpg").unlink()
    go()
    assert did(go(prune=True)) == {"unchanged": 5, "pruned": 1}
    with pytest.raises(RecordNotFound):
        service.get_image(before["0.jpg"])
    service.settings.__dict__["missing_days"] = 0.0
    (photos / "2023" / "1.jpg").unlink()
    assert did(go()) == {"unchanged": 4, "missing": 1, "pruned": 1}
    assert len(list((service.settings.library / "thumbnails").rglob("*.jpg"))) == 1  # of the one that is left


def test_files_that_cannot_be_used_are_told_and_tried_again_when_they_change(
    service: Service, photos: Path, source: Source, go: Go
) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture")
    (photos / "empty.png").touch()
    (photos / "notes").write_text("a file without an ending")
    assert did(go()) == {"created": 6, "refused": 2, "skipped": 1}
    refused = {file.path: file.code for file in service.library.sources.files(source.id, "refused")}
    assert refused == {"bad.jpg": "image_unreadable", "empty.png": "image_empty"}
    assert did(go()) == {"unchanged": 8, "skipped": 1}
    assert did(go(retry=True)) == {"unchanged": 6, "refused": 2, "skipped": 1}
    (photos / "bad.jpg").write_bytes(picture(77))
    (photos / "empty.png").unlink()
    assert did(go()) == {"unchanged": 6, "created": 1, "skipped": 1}
    assert service.library.sources.files(source.id, "refused") == []


def test_what_is_deleted_in_visem_stays_deleted(service: Service, photos: Path, go: Go) -> None:
    go()
    service.delete_image(ids(service)["0.jpg"])
    assert (photos / "2023" / "0.jpg").exists()
    assert did(go()) == {"unchanged": 5, "ignored": 1}
    (photos / "2023" / "0.jpg").rename(photos / "0.jpg")
    assert did(go()) == {"unchanged": 5, "ignored": 1}
    (photos / "0.jpg").write_bytes(picture(200))
    assert did(go()) == {"unchanged": 5, "created": 1}


def test_a_file_that_is_being_written_is_left_for_the_next_pass(service: Service, photos: Path, go: Go) -> None:
    path = photos / "2024" / "copying.jpg"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    copied = threading.Event()

    def copy() -> None:
        with path.open("r+b") as file:
            while not copied.wait(0.001):
                os.pwrite(file.fileno(), b"x", 0)

    copying = threading.Thread(target=copy)
    copying.start()
    try:
        assert did(go()) == {"created": 6, "refused": 1}
    finally:
        copied.set()
        copying.join()
    path.write_bytes(picture(60))
    assert did(go()) == {"unchanged": 6, "created": 1}


def test_links_are_not_followed(service: Service, photos: Path, tmp_path: Path, go: Go) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.jpg").write_bytes(picture(300))
    (photos / "file.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (photos / "folder").symlink_to(tmp_path / "outside")
    (photos / "loop").symlink_to(photos)
    os.mkfifo(photos / "pipe.jpg")
    progress = go()
    assert (did(progress), progress.links) == ({"created": 6}, 3)


def test_equal_files_and_copies(service: Service, photos: Path, go: Go) -> None:
    from app.ingest.pipeline import IncomingFile

    (own,) = service.ingest([IncomingFile("mine.jpg", picture(0))])
    assert own.record is not None
    shutil.copy(photos / "2024" / "5.jpg", photos / "2023" / "again.jpg")
    assert did(go()) == {"created": 5, "recognised": 2}
    assert len(ids(service)) == 6
    (uploaded,) = service.ingest([IncomingFile("one.jpg", picture(1))])
    assert uploaded.status == "duplicate"
    shutil.rmtree(photos / "2023")
    assert did(go()) == {"unchanged": 3, "missing": 1}
    assert set(ids(service)) == {"mine.jpg", "1.jpg", "3.jpg", "4.jpg", "again.jpg"}
    with service.image_content(ids(service)["1.jpg"]) as file:
        assert file.content.read() == picture(1)


def test_a_pass_that_is_stopped_goes_on_where_it_was(service: Service, source: Source, photos: Path, go: Go) -> None:
    told: list[FileOutcome] = []
    this = SourcePass(
        service.library, service.ingest, service.settings, source, stop=lambda: bool(told), tell=told.append
    )
    for number in range(100, 200):
        (photos / f"{number}.jpg").write_bytes(picture(number))
    assert this.run().phase == "stopped"
    assert 0 < len(told) < 106
    assert service.library.sources.get(source.id).state == "new"
    assert did(go()) == {"unchanged": len(told), "created": 106 - len(told)}


def test_files_that_are_being_written_are_left_for_later(service: Service, photos: Path, go: Go) -> None:
    for path in photos.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9))
    (photos / "now.jpg").write_bytes(picture(9)[:500])
    assert did(go(settle_seconds=60)) == {"created": 6, "deferred": 1}
    (photos / "now.jpg").write_bytes(picture(9))
    assert did(go()) == {"unchanged": 6, "created": 1}


def test_what_cannot_be_a_source(service: Service, photos: Path, source: Source, tmp_path: Path) -> None:
    library = service.settings.library
    for folder, reason in (
        (photos / "2023", "part of"),
        (tmp_path, "contains"),
        (library / "content", "library's own"),
        (photos / "2023" / "0.jpg", "no folder"),
    ):
        with pytest.raises(SourceRefused, match=reason):
            register_source(service.library, folder, library)
    assert register_source(service.library, photos / "2023" / "..", library) == source
    assert register_source(service.library, tmp_path / "not-there-yet", library).root.endswith("not-there-yet")


def test_a_library_within_a_source_is_left_out(service: Service, photos: Path, go: Go) -> None:
    go()
    shutil.copytree(service.settings.library, photos / "library")
    assert did(go()) == {"unchanged": 6}


def test_names_that_are_no_text(service: Service, photos: Path, go: Go) -> None:
    odd = os.fsencode(photos) + b"/caf\xe9 \n.jpg"
    Path(os.fsdecode(odd)).write_bytes(picture(9))
    assert did(go()) == {"created": 7}
    assert did(go()) == {"unchanged": 7}
    Path(os.fsdecode(odd)).unlink()
    assert did(go()) == {"unchanged": 6, "missing": 1}
