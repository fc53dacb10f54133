"""Folders as people have them: odd names, what other programs put there, and what cannot be taken."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from tests.app.cli.conftest import Run
from tests.app.helpers import picture

NAMES = (
    "Screenshot 2024-01-05 at 9.41.00\u202fAM.jpg",
    "写真\u3000一.jpg",
    "family 👨\u200d👩\u200d👧.jpg",
    "line\nbreak.jpg",
    '=HYPERLINK("http:x","y").jpg',
    "+1.jpg",
    "@home.jpg",
)
NO_UTF8 = os.fsdecode(b"caf\xe9.jpg")
TOO_LONG = "n" * 247 + ".jpg"  # with .alt.txt it has more than 255 bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate((*NAMES, NO_UTF8, f"long/{TOO_LONG}", "long/z.jpg", "noending", "raw.CR2", "x.HIF")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    for name in ("@eaDir/a.jpg/THUMB.jpg", "#recycle/old.jpg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(picture(99))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_paths_in_json_name_the_files(run: Run, folder: Path, library: Path) -> None:
    outcome = run("add", folder, "--json")
    assert outcome.status == 0, outcome.stderr
    document = outcome.document
    assert (document["created"], document["rejected"], document["skipped"]) == (13, 0, {".txt": 1})
    assert {Path(one["path"]).name for one in document["left_out"]} == {"@eaDir", "#recycle"}
    paths = [one["path"] for one in document["results"]]
    assert str(folder / "caf\\xe9.jpg") in paths, "the one escape: bytes that are no UTF-8"
    assert all(Path(path).is_file() for path in paths if "\\xe9" not in path)
    text = run("add", folder)
    assert "1 .txt" in text.stderr
    assert "#recycle" in text.stderr


def test_tables_and_sidecars_of_odd_names(
    run: Run, folder: Path, captioner_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    table = tmp_path / "captions.csv"
    names = sorted(path.name for path in folder.iterdir() if path.name not in ("@eaDir", "#recycle", "long"))
    outcome = run(
        "caption", *names, "long", "--bundle", captioner_bundle, "-n", "1", "--csv", table, "--sidecar", "--json"
    )
    assert outcome.status == 1
    document = outcome.document
    assert (document["captioned"], document["rejected"]) == (12, 2)
    refused = {Path(one["path"]).name: one["code"] for one in document["results"] if one["code"]}
    assert refused == {TOO_LONG: "sidecar_unwritable", "notes.txt": "image_unreadable"}
    assert (folder / "long" / "z.jpg.alt.txt").exists()
    with table.open(newline="", encoding="utf-8") as file:
        cells = [row["path"] for row in csv.DictReader(file)]
    assert len(cells) == 12
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert all(Path(cell).is_file() for cell in cells if "\\xe9" not in cell)


def test_texts_of_people_are_kept(run: Run, tmp_path: Path, captioner_bundle: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(picture(1))
    sidecar = tmp_path / "cat.jpg.alt.txt"
    sidecar.write_text("Our Minka.\n")
    base = ("caption", tmp_path, "--bundle", captioner_bundle, "-n", "1", "--sidecar")
    outcome = run(*base, "--json")
    assert (outcome.status, outcome.document["captioned"], outcome.document["kept"]) == (0, 1, 1)
    assert sidecar.read_text() == "Our Minka.\n"
    assert run(*base, "--overwrite").status == 0
    assert sidecar.read_text() != "Our Minka.\n"


def test_a_folder_of_which_nothing_was_taken_is_no_success(run: Run, tmp_path: Path, captioner_bundle: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "@eaDir").mkdir(parents=True)
    (folder / "film.mov").write_bytes(b"x")
    for command in (("add", folder), ("caption", folder, "--bundle", captioner_bundle)):
        outcome = run(*command, "--json")
        assert (outcome.status, outcome.document["skipped"]) == (1, {".mov": 1})
    (tmp_path / "empty").mkdir()
    assert run("add", tmp_path / "empty").status == 0


def test_folders_that_cannot_be_listed_are_rejected(
    run: Run, tmp_path: Path, captioner_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    (folder / "closed").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(picture(1))
    listing = os.scandir

    def refuse(path: object) -> object:  # the tests may run as root, whom no permission keeps out
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return listing(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    for command in (("add", folder), ("caption", folder, "--bundle", captioner_bundle)):
        outcome = run(*command, "--json")
        assert (outcome.status, outcome.document["rejected"]) == (1, 1)
        codes = {Path(one["path"]).name: one["code"] for one in outcome.document["results"]}
        assert codes == {"a.jpg": None, "closed": "folder_unreadable"}
