"""`visem export` and `visem import library`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.app.cli.conftest import LARGE, Outcome, Run, write_pictures


def test_there_and_back(run: Run, library: Path, tmp_path: Path) -> None:
    run("add", write_pictures(tmp_path / "photos", 3), "--metadata", "album=one")
    run("add", "--in-place", write_pictures(tmp_path / "elsewhere", 2, first=10))
    run("sentences", "add", "a dog")
    file, new = tmp_path / "photos.tar", tmp_path / "new"
    document = run("export", file, "--json").document
    assert {name: document[name] for name in ("images", "sentences", "contents", "in_place", "problems")} == {
        "images": 5,
        "sentences": 1,
        "contents": 3,
        "in_place": 2,
        "problems": [],
    }
    assert document["size"] == file.stat().st_size
    again = run("export", file)
    assert (again.status, "not overwritten" in again.stderr) == (1, True)

    outcome = run("import", "library", file, "--library", new)
    assert outcome.status == 0
    assert "5 images: 5 imported." in outcome.stderr
    assert "visem sources resume" in outcome.stderr
    assert run("info", "--deep", "--library", new).status == 0
    arguments = ("search", "a dog", "-k", "5", "--json")
    hits = [run(*arguments, "--library", where).document["hits"] for where in (library, new)]
    assert [{**hit, "path": ""} for hit in hits[0]] == [{**hit, "path": ""} for hit in hits[1]]
    document = run("import", "library", file, "--library", new, "--json").document
    assert document["images"] == {"new": 0, "known": 5, "refused": 0}
    assert document["sources"] == [str(tmp_path / "elsewhere")]

    copies = tmp_path / "copies.tar"
    assert run("export", copies, "--copies", "--json").document["contents"] == 5
    shutil.rmtree(tmp_path / "elsewhere")
    assert run("import", "library", copies, "--library", tmp_path / "copied").status == 0
    assert run("info", "--deep", "--library", tmp_path / "copied").status == 0
    lost = run("export", tmp_path / "lost.tar", "--copies")
    assert lost.status == 1
    assert lost.stderr.count("was left out") == 2


def test_an_interrupted_export_says_how_to_go_on(run: Run, tmp_path: Path) -> None:
    run("add", write_pictures(tmp_path / "photos", 2))
    run("sentences", "add", "a dog")
    outcome = export_on_a_full_disk(run, tmp_path / "file.tar")
    assert outcome.status == 1
    assert "file.tar.unfinished-records" in outcome.stderr
    run("sentences", "add", "a cat")
    outcome = run("export", tmp_path / "file.tar")
    assert (outcome.status, "Continuing the export" in outcome.stderr) == (0, True)
    assert "3 records of these" in outcome.stderr
    (tmp_path / "file.tar").unlink()
    assert export_on_a_full_disk(run, tmp_path / "file.tar").status == 1
    document = run("export", tmp_path / "file.tar", "--restart", "--json").document
    assert (document["resumed"], document["sentences"]) == (0, 2)
    assert [path.name for path in tmp_path.glob("file.tar*")] == ["file.tar"]


def export_on_a_full_disk(run: Run, file: Path) -> Outcome:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index.moving.files.publish", full)
        return run("export", file)


def test_thumbnails_that_are_missing_are_made(run: Run, library: Path, tmp_path: Path) -> None:
    run("add", write_pictures(tmp_path / "photos", 2, size=LARGE))
    shutil.rmtree(library / "thumbnails")
    (library / "thumbnails").mkdir()
    assert run("export", tmp_path / "file.tar").status == 0
    assert run("import", "library", tmp_path / "file.tar", "--library", tmp_path / "new").status == 0
    assert run("info", "--deep", "--library", tmp_path / "new").status == 0


def test_what_cannot_be_moved(run: Run, tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"something else")
    outcome = run("import", "library", tmp_path / "no.tar", "--library", tmp_path / "new", "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (1, "archive_damaged")
    assert run("import", "library", tmp_path / "nowhere.tar", "--library", tmp_path / "new").status == 1
    assert not (tmp_path / "new").exists()
    outcome = run("export", tmp_path / "file.tar", "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (1, "library_not_found")
    assert run("import", "library").status == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no.tar"]


def test_backups_and_exports_are_told_apart(run: Run, tmp_path: Path) -> None:
    run("sentences", "add", "a dog")
    run("backup", tmp_path / "backup.tar")
    run("export", tmp_path / "export.tar")
    outcome = run("import", "library", tmp_path / "backup.tar", "--library", tmp_path / "new")
    assert (outcome.status, "visem restore" in outcome.stderr) == (1, True)
    outcome = run("restore", tmp_path / "export.tar", tmp_path / "new")
    assert (outcome.status, "visem import library" in outcome.stderr) == (1, True)


def test_a_library_of_another_bundle_is_refused(run: Run, bundles: list[Path], tmp_path: Path) -> None:
    run("sentences", "add", "a dog")
    run("export", tmp_path / "file.tar")
    new = tmp_path / "new"
    run("sentences", "add", "a dog", "--library", new, "--bundle", bundles[1])
    outcome = run("import", "library", tmp_path / "file.tar", "--library", new, "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (1, "space_mismatch")
