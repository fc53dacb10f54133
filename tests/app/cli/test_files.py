"""Finding and reading picture files."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from app.cli.files import FileRejected, read_file
from app.ingest.folders import Folders, describe_skipped


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_folders_are_searched_at_any_depth_in_order(tmp_path: Path) -> None:
    expected = [touch(tmp_path / name) for name in ("a.jpg", "b.PNG", "x/c.webp", "x/y/d.HEIC", "z/e.tiff")]
    for name in ("notes.txt", "jpg", "x/archive.zip", ".hidden.jpg", ".cache/f.jpg", "x/.g/h.jpg"):
        touch(tmp_path / name)
    assert list(Folders([tmp_path])) == expected


def test_named_files_are_taken_whatever_they_are_called(tmp_path: Path) -> None:
    names = [touch(tmp_path / name) for name in ("notes.txt", ".hidden.jpg", "picture")]
    assert list(Folders(names)) == names


def test_loops_of_links_end_and_no_folder_comes_twice(tmp_path: Path) -> None:
    picture = touch(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "up").symlink_to(tmp_path)
    (tmp_path / "photos" / "self").symlink_to("self")
    assert list(Folders([tmp_path / "photos", tmp_path / "photos"])) == [picture]


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.jpg")
    touch(tmp_path / "b.bin")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "c.jpg").symlink_to(tmp_path / "b.bin")
    assert list(Folders([photos])) == [photos / "c.jpg", photos / "linked" / "a.jpg"]


def test_the_library_is_not_searched(tmp_path: Path) -> None:
    picture = touch(tmp_path / "a.jpg")
    touch(tmp_path / "library" / "thumbnails" / "b.jpg")
    assert list(Folders([tmp_path], without=tmp_path / "library")) == [picture]
    assert next(iter(Folders([tmp_path], without=tmp_path / "nothing"))) == picture


def test_names_need_not_be_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(b"x")
    (found,) = Folders([tmp_path])
    assert os.fsencode(found) == path
    assert read_file(found, 10) == b"x"


def test_very_deep_folders(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(300):
        folder /= "d"
    touch(folder / "a.jpg")
    assert len(list(Folders([tmp_path]))) == 1


def test_folders_that_cannot_be_read_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The test may run as root, whom no permission keeps out: a folder that vanishes is the same.
    kept = touch(tmp_path / "a.jpg")
    (tmp_path / "gone").mkdir()
    touch(tmp_path / "z" / "b.jpg")
    failed: list[Path] = []
    found = iter(Folders([tmp_path], on_error=lambda path, error: failed.append(path)))
    assert next(found) == kept
    (tmp_path / "gone").rmdir()
    assert list(found) == [tmp_path / "z" / "b.jpg"]
    assert failed == [tmp_path / "gone"]


def test_too_large_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(FileRejected, match="limit is 100") as caught:
        read_file(path, 100)
    assert caught.value.code == "image_too_large"


def test_a_file_that_is_being_written_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "copying.jpg"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    copied = threading.Event()

    def copy() -> None:
        with path.open("r+b") as file:
            for at in itertools.cycle(range(1000)):
                os.pwrite(file.fileno(), b"x", at)
                if copied.is_set():
                    return
                time.sleep(0.001)

    copying = threading.Thread(target=copy)
    copying.start()
    try:
        with pytest.raises(FileRejected, match="changed while it was read") as caught:
            read_file(path, 100_000_000)
    finally:
        copied.set()
        copying.join()
    assert caught.value.code == "file_unreadable"
    assert len(read_file(path, 100_000_000)) == 50_000_000


def test_what_is_no_file_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("gone")
    for path in Folders([tmp_path]):
        with pytest.raises(FileRejected) as caught:
            read_file(path, 100)
        assert caught.value.code == "file_unreadable"
    assert len(list(Folders([tmp_path]))) == 2


def test_every_ending_of_a_picture_counts_and_none_at_all_by_content(tmp_path: Path) -> None:
    names = ("a.HIF", "b.apng", "c.mpo", "d.CR2", "e.nef", "f.jxl", "g.heics")
    expected = [touch(tmp_path / name) for name in names]
    expected.append(touch(tmp_path / "h"))
    expected[-1].write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    for name in ("notes.txt", "film.mov", "more.TXT", "README", "archive.tar.gz"):
        touch(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    folders = Folders([tmp_path])
    assert list(folders) == expected
    assert folders.skipped == {".txt": 2, ".mov": 1, "": 2, ".gz": 1}
    assert describe_skipped(folders.skipped) == "2 without ending, 2 .txt, 1 .gz, 1 .mov"


def test_of_many_kinds_of_files_that_are_skipped_the_most_frequent_are_named() -> None:
    skipped = Counter({f".{number}": number for number in range(1, 31)})
    told = describe_skipped(skipped)
    assert told.startswith("30 .30, 29 .29, ")
    assert told.endswith(f"19 .19, {sum(range(1, 19))} others")


def test_what_others_keep_in_folders_is_left_out_and_said(tmp_path: Path) -> None:
    picture = touch(tmp_path / "a.jpg")
    others = ("@eaDir", "#recycle", "$RECYCLE.BIN", "Catalog Previews.lrdata", "old library")
    for name in others:
        touch(tmp_path / "x" / name / "b.jpg")
    touch(tmp_path / "x" / "old library" / "catalog.sqlite")
    touch(tmp_path / "x" / "old library" / "content" / "ab" / "c.jpg")
    told: dict[str, str] = {}
    assert list(Folders([tmp_path], on_left_out=lambda path, why: told.update({path.name: why}))) == [picture]
    assert told.keys() == set(others)
    assert told["old library"] == "a library of Visem"
    assert list(Folders([tmp_path / "x" / "@eaDir"])) == [tmp_path / "x" / "@eaDir" / "b.jpg"], "it is named itself"
