"""`visem info` and `visem reindex`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.app.cli.conftest import LARGE, Run, write_pictures


@pytest.fixture
def stocked(run: Run, tmp_path: Path) -> None:
    """Puts something into the library."""
    run("add", write_pictures(tmp_path / "photos", 4, size=LARGE))
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
    assert "4 images (" in outcome.stdout
    assert "2 sentences (" in outcome.stdout
    run("sentences", "remove", run("sentences", "list", "--json").document["items"][0]["id"])
    assert "1 sentence (" in run("info").stdout


@pytest.mark.usefixtures("stocked")
def test_a_check_finds_what_is_wrong(run: Run, library: Path, bundles: list[Path], tmp_path: Path) -> None:
    assert run("info", "--check", "--deep", "--json").document["problems"] == []
    assert run("info", "--check", "--deep").stdout.endswith("\ncheck    bundle and library are intact\n")
    assert run("info", "--check").stdout.endswith(
        "\ncheck    bundle and library are intact; --deep also reads every image file\n"
    )
    assert "\ncheck  " not in run("info").stdout
    content, *_ = (path for path in (library / "content").rglob("*") if path.is_file())
    data = bytearray(content.read_bytes())
    data[-1] ^= 1
    content.write_bytes(data)
    assert run("info", "--check").status == 0, "a quick check does not read the files"
    outcome = run("info", "--deep", "--json")
    assert outcome.status == 1
    assert len(outcome.document["problems"]) == 1
    content.unlink()
    outcome = run("info", "--check")
    assert outcome.status == 1
    assert "intact" not in outcome.stdout
    damaged = tmp_path / "damaged"
    shutil.copytree(bundles[0], damaged)
    (damaged / "vocabulary.txt").write_text("other\n")
    outcome = run("info", "--bundle", damaged)
    assert outcome.status == 1
    assert str(damaged / "vocabulary.txt") in outcome.stderr
    assert "4 images" in outcome.stdout


@pytest.mark.usefixtures("stocked")
def test_a_repair_mends_what_can_be_mended(run: Run, library: Path, tmp_path: Path) -> None:
    empty, flipped, gone, sound = sorted((library / "thumbnails").rglob("*.jpg"))
    was = sound.read_bytes()
    empty.write_bytes(b"")
    flipped.write_bytes(flipped.read_bytes()[:100] + b"x" * (flipped.stat().st_size - 100))
    gone.unlink()
    orphan = library / "content" / "ab" / ("ab" * 32)
    unfinished = library / "incoming" / "1.unfinished"
    orphan.parent.mkdir(exist_ok=True)
    for path in (orphan, unfinished):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - 1800,) * 2)  # a sweep comes after an hour
    assert len(run("info", "--deep", "--json").document["problems"]) == 4
    outcome = run("info", "--repair", "--json")
    assert (outcome.status, outcome.document["problems"]) == (0, [])
    assert len(outcome.document["repaired"]) == 5
    assert not orphan.exists()
    assert not unfinished.exists()
    assert sound.read_bytes() == was
    for path in (empty, flipped, gone):
        with Image.open(path) as image:
            image.load()
    again = run("info", "--repair", "--json")
    assert (again.status, again.document["repaired"]) == (0, [])


@pytest.mark.usefixtures("stocked")
def test_a_repair_moves_damaged_content_aside_so_that_adding_restores_it(
    run: Run, library: Path, tmp_path: Path
) -> None:
    content, *_ = (path for path in (library / "content").rglob("*") if path.is_file())
    data = content.read_bytes()
    content.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert run("add", tmp_path / "photos").status == 0
    assert content.read_bytes() != data, "of the right size: only a repair reads it"
    outcome = run("info", "--repair", "--json")
    assert outcome.status == 1
    assert "Add the image again" in outcome.document["repaired"][0]
    assert (library / "damaged" / content.name).read_bytes() != data
    assert run("add", tmp_path / "photos").status == 0
    assert content.read_bytes() == data
    assert run("info", "--deep").status == 0


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
