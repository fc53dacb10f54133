"""Concepts of images: kept with their record, found by filters, filled in where they are missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import index
from index import (
    Concept,
    Library,
    LibraryConfig,
    NewImage,
    Space,
    open_library,
)

Image = Callable[..., NewImage]
BEACH = (("dog", 0.5), ("beach", 0.25))


def names(vectors: np.ndarray) -> list[list[tuple[str, float]]]:
    """Two words that belong to a vector."""
    return [[(f"w{int(row.argmax())}", 0.5), ("thing", 0.1)] for row in vectors]


def found(library: Library, *words: str) -> list[str | None]:
    page = library.list_images(concepts=words, limit=100)
    assert page.total == len(page.items)
    return [record.filename for record in page.items]


def test_they_come_with_the_record(library: Library, image: Image) -> None:
    (added,) = library.add_images([image(1, concepts=[*BEACH, ("dog", 0.1)])])
    assert added.record.concepts == (Concept("dog", 0.5), Concept("beach", 0.25))
    assert library.get_image(added.record.id) == added.record
    assert library.search(image(1).vector, 1, "images").items[0].record == added.record
    assert library.update_image(added.record.id, lambda _: {"new": 1}).concepts == added.record.concepts


def test_they_filter_lists_and_searches(library: Library, image: Image) -> None:
    library.add_images([image(1, concepts=BEACH), image(2, concepts=BEACH[:1]), image(3, concepts=[("cat", 0.4)])])
    assert found(library, "dog") == ["2.png", "1.png"]
    assert found(library, "dog", "beach", "dog") == ["1.png"]
    assert found(library, "dog", "cat") == []
    assert found(library, "Dog") == []
    both = library.list_images(concepts=["dog"], filters={"number": "2"})
    assert [record.filename for record in both.items] == ["2.png"]
    hits = library.search(image(3).vector, 10, "images", concepts=["dog"]).items
    assert {hit.record.filename for hit in hits} == {"1.png", "2.png"}


def test_pages_and_cursors_know_their_concepts(library: Library, image: Image) -> None:
    library.add_images([image(n, concepts=BEACH) for n in range(5)])
    page = library.list_images(concepts=["dog"], limit=2)
    rest = library.list_images(concepts=["dog"], limit=10, cursor=page.next_cursor)
    assert [record.filename for record in (*page.items, *rest.items)] == [f"{n}.png" for n in (4, 3, 2, 1, 0)]
    with pytest.raises(index.InvalidCursor):
        library.list_images(concepts=["beach"], cursor=page.next_cursor)
    hits = library.search(image(1).vector, 1, "images", concepts=["dog"])
    with pytest.raises(index.InvalidCursor):
        library.search(image(1).vector, 1, "images", concepts=["beach"], cursor=hits.next_cursor)
    with pytest.raises(index.InvalidFilter):
        library.list_images(concepts=[f"w{n}" for n in range(9)])


def test_they_go_with_the_image(library: Library, image: Image) -> None:
    (added,) = library.add_images([image(1, concepts=BEACH)])
    library.delete_image(added.record.id)
    assert found(library, "dog") == []
    assert library.check() == []


def test_missing_ones_are_filled_in_once(library: Library, image: Image) -> None:
    library.add_images([image(1), image(2), image(3, concepts=BEACH)])
    assert library.backfill.describe(names) == 2
    assert library.backfill.describe(names) == 0
    assert found(library, "thing") == ["2.png", "1.png"]
    assert found(library, "beach") == ["3.png"]
    assert library.check() == []


def test_a_reindex_takes_the_old_words_away(library: Library, image: Image, other_space: Space) -> None:
    library.add_images([image(n, concepts=BEACH) for n in range(3)])
    library.reindex(
        other_space,
        lambda contents: np.eye(other_space.dimension)[: len(contents)],
        lambda texts: np.empty((0, other_space.dimension)),
    )
    assert found(library, "dog") == []
    assert library.backfill.describe(names) == 3
    assert found(library, "w1") == ["1.png"]


def test_filters_that_contradict_the_record_are_told(root: Path, space: Space, image: Image) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1, concepts=BEACH)])
        with sqlite3.connect(root / "catalog.sqlite") as connection:
            connection.execute("DELETE FROM images_concepts WHERE word = 'dog'")
        connection.close()
        (problem,) = library.check()
        assert "concept filters" in problem
