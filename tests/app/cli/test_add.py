"""`visem add`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.service import Service
from index import (
    Library,
    LibraryConfig,
    open_library,
)
from tests.app.cli.conftest import Run, write_pictures
from tests.app.helpers import huge_png, picture


def stored(library: Path) -> int:
    with open_library(LibraryConfig(library)) as opened:
        assert opened.check(deep=True) == []
        return opened.count("images")


def test_a_folder(run: Run, tmp_path: Path, library: Path) -> None:
    write_pictures(tmp_path / "photos" / "deeper", 20)
    write_pictures(tmp_path / "photos", 3, first=50)
    outcome = run("add", tmp_path / "photos")
    assert outcome.status == 0
    assert outcome.stdout.startswith("Added 23 images (")
    assert stored(library) == 23


def test_what_is_there_is_not_embedded_again(
    run: Run, tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_pictures(tmp_path / "photos", 5)
    run("add", photos)
    write_pictures(photos, 2, first=5)
    batches: list[tuple[str, int]] = []
    opening = Service.open

    def observed(*arguments: object, **options: object) -> Service:
        service = opening(*arguments, **options)  # type: ignore[arg-type]
        service.observe_batches(lambda kind, size, seconds: batches.append((kind, size)))
        return service

    monkeypatch.setattr(Service, "open", observed)
    outcome = run("add", photos)
    assert outcome.stdout.startswith("Added 2 images; 5 were already there (")
    assert sum(size for _, size in batches) == 2
    assert stored(library) == 7


def test_bad_files_are_listed_and_fail_alone(run: Run, tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 3)
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "huge.png").write_bytes(huge_png())
    (photos / "half.jpg").write_bytes(picture(9)[:900])
    (photos / "nowhere.jpg").symlink_to("gone")
    os.mkfifo(photos / "pipe.jpg")
    notes = tmp_path / "notes.txt"
    notes.write_text("not a picture")
    outcome = run("add", photos, notes)
    assert outcome.status == 1
    assert outcome.stdout.startswith("Added 3 images; 6 were rejected")
    for name in ("empty.jpg", "huge.png", "half.jpg", "nowhere.jpg", "pipe.jpg", "notes.txt"):
        assert sum(name in line for line in outcome.stderr.splitlines()) == 1, name
    assert stored(library) == 3


def test_json(run: Run, tmp_path: Path, library: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 18)
    (photos / "bad.jpg").write_bytes(b"junk")
    (photos / "pipe.jpg").symlink_to("gone")
    (photos / "same.jpg").write_bytes(picture(0))
    document = run("add", photos, "--json", "--metadata", "album=x", "--metadata", "year=2024").document
    assert {key: document[key] for key in ("created", "duplicates", "rejected", "interrupted")} == {
        "created": 18,
        "duplicates": 1,
        "rejected": 2,
        "interrupted": False,
    }
    by_path = {result["path"]: result for result in document["results"]}
    assert len(by_path) == 21
    assert by_path[str(photos / "bad.jpg")]["code"] == "image_unreadable"
    assert by_path[str(photos / "pipe.jpg")]["code"] == "file_unreadable"
    first = by_path[str(photos / "0000.jpg")]
    assert first["status"] == "created"
    assert first["image"]["filename"] == "0000.jpg"
    assert first["image"]["metadata"] == {"album": "x", "year": 2024}
    same = by_path[str(photos / "same.jpg")]
    assert (same["status"], same["image"]["id"]) == ("duplicate", first["image"]["id"])


def test_nothing_to_add(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("add", tmp_path / "empty", "--json").document["results"] == []


def test_names_that_are_no_text(run: Run, tmp_path: Path, library: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(picture(1))
    document = run("add", f"{tmp_path}/{name}", "--json").document
    assert document["results"][0]["path"] == f"{tmp_path}/caf\\xe9.jpg"
    assert document["created"] == 1
    (tmp_path / name).write_bytes(b"junk")
    outcome = run("add", tmp_path)
    assert "caf\\xe9.jpg" in outcome.stderr


def test_the_library_within_the_folder_is_left_alone(run: Run, tmp_path: Path, library: Path) -> None:
    write_pictures(tmp_path, 2)
    assert library.parent == tmp_path
    assert run("add", tmp_path).status == 0
    assert run("add", tmp_path, "--json").document["duplicates"] == 2
    assert stored(library) == 2


def test_options_override_settings(run: Run, tmp_path: Path, library: Path, bundles: list[Path]) -> None:
    photos = write_pictures(tmp_path / "photos", 1)
    run("add", photos, "--library", tmp_path / "other", "--bundle", bundles[1])
    assert not library.exists()
    with open_library(LibraryConfig(tmp_path / "other")) as opened:
        assert opened.space.name == "tiny-1"


def test_settings_limit_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEM_MAX_IMAGE_BYTES", "1024")
    path = tmp_path / "large.jpg"
    path.write_bytes(picture(1, 640, 480))
    (result,) = run("add", path, "--json").document["results"]
    assert (result["status"], result["code"]) == ("rejected", "image_too_large")


def test_an_error_on_the_way_is_the_end_of_the_document(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Library, images: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Library, "add_images", failing)
    outcome = run("add", write_pictures(tmp_path / "photos", 3), "--json")
    assert outcome.status == 1
    assert outcome.document["created"] == 0
    assert outcome.document["error"] == {"code": "system_error", "message": "No space left on device."}
    assert outcome.stderr.splitlines()[-1] == "visem: No space left on device."
