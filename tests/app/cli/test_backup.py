"""`visem backup` and `visem restore`."""

from __future__ import annotations

from pathlib import Path

from tests.app.cli.conftest import Run, write_pictures


def test_there_and_back(run: Run, tmp_path: Path) -> None:
    run("add", write_pictures(tmp_path / "photos", 3))
    run("key", "add", "phone")
    file, new = tmp_path / "photos.tar", tmp_path / "new"
    document = run("backup", file, "--json").document
    assert (document["images"], document["problems"]) == (3, [])
    again = run("backup", file)
    assert again.status == 1
    assert "not overwritten" in again.stderr
    assert run("restore", file, new).status == 0
    assert run("info", "--deep", "--library", new).status == 0
    assert run("search", "dog", "--library", new, "--json").document["hits"]
    assert not (new / "keys.json").exists(), "a backup lets nobody in"
    assert run("restore", file, new).status == 1


def test_what_cannot_be_restored(run: Run, tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"something else")
    outcome = run("restore", tmp_path / "no.tar", tmp_path / "new", "--json")
    assert (outcome.status, outcome.document["error"]["code"]) == (1, "backup_damaged")
    assert run("restore", tmp_path / "nowhere.tar", tmp_path / "new").status == 1
    assert not (tmp_path / "new").exists()
    outcome = run("backup", tmp_path / "file.tar", "--json")
    assert outcome.document["error"]["code"] == "library_not_found"
