"""Finding and reading picture files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli.files import FileRejected, find_pictures, read_file


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_folders_are_searched_at_any_depth_in_order(tmp_path: Path) -> None:
    expected = [touch(tmp_path / name) for name in ("a.jpg", "b.PNG", "x/c.webp", "x/y/d.HEIC", "z/e.tiff")]
    for name in ("notes.txt", "jpg", "x/archive.zip", ".hidden.jpg", ".cache/f.jpg", "x/.g/h.jpg"):
        touch(tmp_path / name)
    assert list(find_pictures([tmp_path])) == expected


def test_named_files_are_taken_whatever_they_are_called(tmp_path: Path) -> None:
    names = [touch(tmp_path / name) for name in ("notes.txt", ".hidden.jpg", "picture")]
    assert list(find_pictures(names)) == names


def test_loops_of_links_end_and_no_folder_comes_twice(tmp_path: Path) -> None:
    picture = touch(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "up").symlink_to(tmp_path)
    (tmp_path / "photos" / "self").symlink_to("self")
    assert list(find_pictures([tmp_path / "photos", tmp_path / "photos"])) == [picture]


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.jpg")
    touch(tmp_path / "b.bin")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "c.jpg").symlink_to(tmp_path / "b.bin")
    assert list(find_pictures([photos])) == [photos / "c.jpg", photos / "linked" / "a.jpg"]


def test_the_library_is_not_searched(tmp_path: Path) -> None:
    picture = touch(tmp_path / "a.jpg")
    touch(tmp_path / "library" / "thumbnails" / "b.jpg")
    assert list(find_pictures([tmp_path], without=tmp_path / "library")) == [picture]
    assert next(find_pictures([tmp_path], without=tmp_path / "nothing")) == picture


def test_names_need_not_be_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(b"x")
    (found,) = find_pictures([tmp_path])
    assert os.fsencode(found) == path
    assert read_file(found, 10) == b"x"


def test_very_deep_folders(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(300):
        folder /= "d"
    touch(folder / "a.jpg")
    assert len(list(find_pictures([tmp_path]))) == 1


def test_folders_that_cannot_be_read_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The test may run as root, whom no permission keeps out: a folder that vanishes is the same.
    kept = touch(tmp_path / "a.jpg")
    (tmp_path / "gone").mkdir()
    touch(tmp_path / "z" / "b.jpg")
    failed: list[Path] = []
    found = find_pictures([tmp_path], on_error=lambda path, error: failed.append(path))
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


def test_what_is_no_file_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("gone")
    for path in find_pictures([tmp_path]):
        with pytest.raises(FileRejected) as caught:
            read_file(path, 100)
        assert caught.value.code == "file_unreadable"
    assert len(list(find_pictures([tmp_path]))) == 2
