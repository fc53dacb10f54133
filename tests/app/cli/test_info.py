"""`visem info` and `visem reindex`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.app.cli.conftest import Run, write_pictures


@pytest.fixture
def stocked(run: Run, tmp_path: Path) -> None:
    """Puts something into the library."""
    run("add", write_pictures(tmp_path / "photos", 4))
    run("sentences", "add", "a dog", "a cat")


def test_before_there_is_a_library(run: Run, library: Path) -> None:
    document = run("info", "--json").document
    assert document["library"] is None
    assert document["bundle"]["name"] == "tiny-0"
    assert not library.exists()
    assert run("info", "--check").status == 1


@pytest.mark.usefixtures("stocked")
def test_what_there_is(run: Run, library: Path, bundles: list[Path]) -> None:
    document = run("info", "--json").document
    assert document["bundle"]["path"] == str(bundles[0])
    assert document["library"]["path"] == str(library)
    assert (document["library"]["images"], document["library"]["sentences"]) == (4, 2)
    assert document["library"]["space"]["id"] == document["bundle"]["id"]
    assert document["matching"] is True
    outcome = run("info")
    assert "4 images" in outcome.stdout
    assert "2 sentences" in outcome.stdout


@pytest.mark.usefixtures("stocked")
def test_a_check_finds_what_is_wrong(run: Run, library: Path, bundles: list[Path], tmp_path: Path) -> None:
    assert run("info", "--check", "--deep", "--json").document["problems"] == []
    content, *_ = (path for path in (library / "content").rglob("*") if path.is_file())
    data = bytearray(content.read_bytes())
    data[-1] ^= 1
    content.write_bytes(data)
    assert run("info", "--check").status == 0, "a quick check does not read the files"
    outcome = run("info", "--deep", "--json")
    assert outcome.status == 1
    assert len(outcome.document["problems"]) == 1
    content.unlink()
    assert run("info", "--check").status == 1
    damaged = tmp_path / "damaged"
    shutil.copytree(bundles[0], damaged)
    (damaged / "vocabulary.txt").write_text("other\n")
    outcome = run("info", "--bundle", damaged)
    assert outcome.status == 1
    assert str(damaged / "vocabulary.txt") in outcome.stderr
    assert "4 images" in outcome.stdout


@pytest.mark.usefixtures("stocked")
def test_another_bundle(run: Run, bundles: list[Path]) -> None:
    document = run("info", "--bundle", bundles[1], "--json").document
    assert document["matching"] is False
    outcome = run("search", "dog", "--bundle", bundles[1])
    assert outcome.status == 1
    assert "visem reindex" in outcome.stderr
    document = run("reindex", "--bundle", bundles[1], "--json").document
    assert (document["images"], document["sentences"], document["space"]["name"]) == (4, 2, "tiny-1")
    assert run("search", "dog", "--bundle", bundles[1]).status == 0
    assert run("info", "--bundle", bundles[1], "--check", "--json").document["matching"] is True
    outcome = run("reindex")
    assert outcome.stdout == "Embedded 4 images and 2 sentences with tiny-0.\n"


def test_nothing_to_reindex(run: Run, library: Path) -> None:
    outcome = run("reindex", "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "library_not_found"
    assert not library.exists()
