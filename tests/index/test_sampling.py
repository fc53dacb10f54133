"""A sample of the images is spread evenly, and does not read the whole library."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from index import Library, NewImage
from index.catalog.collection import SqlCollection

Image = Callable[..., NewImage]


def ids(library: Library) -> list[str]:
    """All images, newest first."""
    return [record.id for record in library.list_images(limit=1000).items]


def test_all_are_in_a_sample_of_as_many(library: Library, image: Image) -> None:
    assert library.sample_images(10) == {}
    library.add_images([image(n) for n in range(5)])
    for limit in (5, 6, 1000):
        sample = list(library.sample_images(limit).items())
        assert sample == [(record.id, record.filename) for record in library.list_images().items]
    with pytest.raises(ValueError, match="limit"):
        library.sample_images(0)


@pytest.mark.parametrize("kept", [1, 2, 5, 40])
def test_a_sample_has_its_size_whatever_was_deleted(library: Library, image: Image, kept: int) -> None:
    library.add_images([image(n) for n in range(200)])
    everything = ids(library)
    library.delete_images([id for place, id in enumerate(everything) if place % kept])
    left = ids(library)
    for limit in (1, 4, len(left) - 1):
        sample = list(library.sample_images(limit))
        assert len(sample) == limit
        assert sample == [id for id in left if id in set(sample)]  # newest first, nothing twice
        assert sample == list(library.sample_images(limit))


def test_a_sample_of_many_reads_no_list_of_keys(
    library: Library, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add_images([image(n) for n in range(100)])
    monkeypatch.delattr(SqlCollection, "keys")
    assert len(library.sample_images(10)) == 10


def test_a_sample_is_spread_evenly(library: Library, image: Image) -> None:
    library.add_images([image(n) for n in range(400)])
    everything = ids(library)
    library.delete_images(everything[100:200])
    left = ids(library)
    quarters = Counter(3 * left.index(id) // len(left) for id in library.sample_images(120))
    assert all(25 <= quarters[part] <= 55 for part in range(3)), quarters


@pytest.mark.parametrize("kept", [1, 40])
def test_what_is_hidden_is_in_no_sample(library: Library, root: Path, image: Image, kept: int) -> None:
    library.add_images([image(n) for n in range(80)])
    everything = ids(library)
    library.delete_images([id for place, id in enumerate(everything) if place % kept])
    with closing(sqlite3.connect(root / "catalog.sqlite")) as connection, connection:
        connection.execute("INSERT INTO images_in_place SELECT key, 1 FROM images WHERE key % 80 = 0 OR key % 3 = 0")
    left = ids(library)
    assert 0 < len(left) < len(everything)
    for limit in (1, len(left) - 1 or 1, len(left), 500):
        assert set(library.sample_images(limit)) <= set(left)
        assert len(library.sample_images(limit)) == min(limit, len(left))
