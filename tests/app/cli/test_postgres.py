"""Commands on a library whose records are in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.cli.conftest import Run, write_pictures


@pytest.fixture
def on_postgres(postgres_url: str, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a library with its records elsewhere."""
    monkeypatch.setenv("VISEM_CATALOG", postgres_url)
    return library


def test_commands_work_as_in_a_folder(on_postgres: Path, run: Run, tmp_path: Path) -> None:
    assert run("list", "--json").document["error"]["code"] == "library_not_found"
    assert run("add", write_pictures(tmp_path / "photos", 3), "--metadata", "album=one", "--json").status == 0
    assert run("add", "--in-place", write_pictures(tmp_path / "elsewhere", 2, first=10)).status == 0
    run("sentences", "add", "a dog")
    images = run("list", "--json").document["items"]
    assert len(images) == 5
    assert len(run("list", "--filter", "album=one", "--json").document["items"]) == 3
    id = images[-1]["id"]
    assert run("captions", "add", id, "our dog").status == 0
    assert [one["text"] for one in run("captions", "list", id, "--json").document["captions"]] == ["our dog"]
    assert run("search", "a dog", "-k", "9", "--json").document["hits"][0]["kind"] == "image"
    assert run("remove", images[0]["id"]).status == 0
    assert run("info", "--check", "--deep").status == 0
    document = run("reindex", "--vectors", "--json").document
    assert {name: (one["kind"], one["size"]) for name, one in document["indexes"].items()} == {
        "images": ("exact", 4),
        "sentences": ("exact", 2),
    }
    assert run("backup", tmp_path / "file.tar", "--json").document["error"]["code"] == "engine_unsupported"
    assert run("export", tmp_path / "file.tar").status == 0
    assert not (on_postgres / "catalog.sqlite").exists()


def test_a_rate_is_for_vectors(run: Run) -> None:
    run("sentences", "add", "a dog")
    assert run("reindex", "--rate", "10").status == 2
    assert "searched exhaustively" in run("reindex", "--vectors", "--rate", "10").stdout
