"""A library in a folder: its files, opening and closing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import index
from index import (
    Library,
    LibraryConfig,
    NewImage,
    NewSentence,
    Space,
    open_library,
)

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]


PathOf = Callable[..., Path]


def test_what_is_added_is_kept(root: Path, space: Space, image: Image, path_of: PathOf) -> None:
    with open_library(LibraryConfig(root), space) as library:
        (added,) = library.add_images([image(1, metadata={"tags": ["a", {"b": None}], "n": 1.5})])
    record = added.record
    assert added.created
    assert record.sha256 == hashlib.sha256(b"content 1").hexdigest()
    assert (record.filename, record.media_type, record.size) == ("1.png", "image/png", 9)
    assert (record.width, record.height) == (640, 480)
    assert record.metadata == {"tags": ["a", {"b": None}], "n": 1.5}
    assert record.created_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - record.created_at) < timedelta(minutes=1)
    with open_library(LibraryConfig(root), space) as library:
        assert library.get_image(record.id) == record
        assert library.find_images([record.sha256, "0" * 64]) == {record.sha256: record}
        assert path_of(library, record.id).read_bytes() == b"content 1"
        assert path_of(library, record.id, "thumbnail").read_bytes() == image(1).thumbnail
        assert library.thumbnail(record.sha256) == image(1).thumbnail


def test_adding_an_image_again_brings_lost_files_back(library: Library, image: Image, path_of: PathOf) -> None:
    record = library.add_images([image(1)])[0].record
    for path in (path_of(library, record.id), path_of(library, record.id, "thumbnail")):
        path.unlink()
    assert len(library.check()) == 1
    assert library.add_images([image(1)]) == [index.Added(record, created=False)]
    assert library.check(deep=True) == []


@pytest.mark.parametrize(
    ("kind", "damage", "quick", "repaired"),
    [
        ("content", lambda data: b"", "lacks its content", True),
        ("content", lambda data: data[:-1], "bytes of content", True),
        ("content", lambda data: data[:-1] + b"?", None, False),
        ("thumbnail", lambda data: b"", "lacks its thumbnail", True),
        ("thumbnail", lambda data: data[: len(data) // 2], None, False),
        ("thumbnail", lambda data: b"?" * len(data), None, False),
    ],
)
def test_damaged_files_are_found(
    library: Library,
    image: Image,
    path_of: PathOf,
    kind: index.ContentKind,
    damage: Callable[[bytes], bytes],
    quick: str | None,
    repaired: bool,
) -> None:
    """The sizes show some damage; what does not show in them is found by a deep check."""
    record = library.add_images([image(1)])[0].record
    path = path_of(library, record.id, kind)
    path.write_bytes(damage(path.read_bytes()))
    found = library.check()
    assert [quick in problem for problem in found] == [True] if quick else found == []
    assert len(library.check(deep=True)) == 1
    assert library.has_files(record) is not repaired
    library.add_images([image(1)])
    assert (library.check(deep=True) == []) is repaired


def test_deleting_is_all_or_nothing_and_takes_the_files(library: Library, image: Image, path_of: PathOf) -> None:
    one, two = (added.record for added in library.add_images([image(1), image(2)]))
    paths = [path_of(library, one.id), path_of(library, one.id, "thumbnail")]
    with pytest.raises(index.RecordNotFound) as caught:
        library.delete_images([one.id, "missing"])
    assert (caught.value.kind, caught.value.id, caught.value.code) == ("image", "missing", "record_not_found")
    assert all(path.exists() for path in paths)
    library.delete_images([one.id, one.id])
    assert not any(path.exists() for path in paths)
    assert library.thumbnail(one.sha256) is None
    assert library.list_images().items == [two]
    assert library.add_images([image(1)])[0].record.id != one.id


def test_closing_waits_for_the_calls_under_way(root: Path, space: Space, image: Image) -> None:
    library = open_library(LibraryConfig(root), space)
    outcomes: list[str] = []

    def add(start: int) -> None:
        for number in range(start, start + 50):
            try:
                outcomes.append(library.add_images([image(number)])[0].record.id)
            except index.LibraryClosed:
                return

    threads = [threading.Thread(target=add, args=(1000 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 5:
        pass
    library.close()
    for thread in threads:
        thread.join()
    with open_library(LibraryConfig(root), space) as again:
        assert again.count("images") == len(outcomes)
        assert again.check() == []


def test_another_bundle_is_refused_by_name(root: Path, space: Space, other_space: Space) -> None:
    open_library(LibraryConfig(root), space).close()
    with pytest.raises(index.SpaceMismatch, match=r"first-bundle.*second-bundle.*visem reindex") as caught:
        open_library(LibraryConfig(root), other_space)
    assert (caught.value.library, caught.value.given) == (space, other_space)


def test_a_renamed_bundle_is_the_same_bundle(root: Path, space: Space) -> None:
    open_library(LibraryConfig(root), space).close()
    open_library(LibraryConfig(root), Space(space.id, "renamed", space.dimension)).close()


def test_a_library_that_does_not_exist_is_not_made_by_looking(root: Path) -> None:
    with pytest.raises(index.LibraryNotFound):
        open_library(LibraryConfig(root))
    assert not root.exists()


def test_statistics(root: Path, space: Space, image: Image, sentence: Sentence) -> None:
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(n) for n in range(3)])
        library.add_sentences([sentence(1)])
        stats = library.stats()
    assert (stats.images, stats.sentences, stats.content_bytes) == (3, 1, 27)
    assert (stats.space, stats.generation, stats.schema_version) == (space, 1, 6)
    assert stats.image_index == index.IndexStats("exact", 3, 1.0)
    assert stats.sentence_index.size == 1
    assert stats.catalog_bytes > 0


def test_a_directory_with_odd_characters(tmp_path: Path, space: Space, image: Image) -> None:
    root = tmp_path / "what? 100% #1 & ü"
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
        assert (root / "catalog.sqlite").exists()
        assert library.check() == []
