"""`visem map`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from app.maps.drawing import SIZE
from tests.app.cli.conftest import Run, write_pictures


@pytest.fixture
def photos(run: Run, tmp_path: Path) -> Path:
    """A folder of which all is in the library."""
    folder = write_pictures(tmp_path / "photos", 6)
    assert run("add", folder).status == 0
    return folder


def test_a_picture_with_thumbnails_and_words(run: Run, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "map.png"
    outcome = run("map", "--words", "dog,cat", "-o", output)
    assert outcome.status == 0, outcome.stderr
    assert "6 of 6 images and 2 words" in outcome.stdout
    with Image.open(output) as picture:
        assert picture.size == SIZE
        assert len(set(picture.resize((80, 60)).get_flattened_data())) > 20
    before = output.read_bytes()
    assert run("map", "--words", "dog,cat", "-o", output).status == 0
    assert output.read_bytes() == before, "the same library gives the same map"


def test_the_places_as_json(run: Run, photos: Path) -> None:
    document = run("map", "--words", "dog", "--words", "a red car", "--limit", "4", "--json").document
    assert [point["word"] for point in document["points"][:2]] == ["dog", "a red car"]
    assert len(document["points"]) == 6
    assert document["total_images"] == 6


def test_it_has_to_know_where_to(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("map", "--words", "dog").status == 2
    assert run("map", "-o", tmp_path / "map.txt").status == 2
    outcome = run("map", "--words", "zyzzyva", "--json")
    assert outcome.document["error"]["code"] == "no_known_words"
