"""`visem remove`."""

from __future__ import annotations

from pathlib import Path

from tests.app.cli.conftest import Run, write_pictures


def test_images_are_removed_with_their_files(run: Run, tmp_path: Path, library: Path) -> None:
    added = run("add", write_pictures(tmp_path / "photos", 3), "--json").document["results"]
    ids = [result["image"]["id"] for result in added]
    outcome = run("remove", ids[0], f"image:{ids[1]}", ids[0])
    assert (outcome.status, outcome.stdout) == (0, "Removed 2 images.\n")
    assert [hit["id"] for hit in run("search", "dog", "--json").document["hits"]] == [ids[2]]
    assert len([path for path in (library / "content").rglob("*") if path.is_file()]) == 1


def test_what_is_missing_does_not_keep_the_rest(run: Run, tmp_path: Path) -> None:
    (added,) = run("add", write_pictures(tmp_path / "photos", 1), "--json").document["results"]
    outcome = run("remove", "gone", added["image"]["id"], "--json")
    assert outcome.status == 1
    assert outcome.document == {"removed": [added["image"]["id"]], "not_found": ["gone"]}
    assert "'gone'" in outcome.stderr


def test_no_library(run: Run, library: Path) -> None:
    assert run("remove", "gone").status == 1
    assert not library.exists()
