from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import index
from index import (
    Library,
    LibraryConfig,
    LibraryError,
    NewImage,
    NewSentence,
    Space,
    open_library,
)

PathOf = Callable[..., Path]

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]

AWKWARD = [
    'it\'s "quoted" `here`; DROP TABLE images; --',
    "<script>alert(1)</script>",
    "\u202eright to left\u202c שלום",
    "a NUL \x00 inside",
    "🏳️‍🌈 e\u0301",
    "%s {0} \\ \n\t line",
]


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


@pytest.mark.parametrize("text", AWKWARD)
def test_strings_come_back_unchanged(library: Library, image: Image, sentence: Sentence, text: str) -> None:
    metadata = {text: text, "nested": {text: [text]}}
    one = library.add_images([image(1, filename=text, metadata=metadata)])[0].record
    two = library.add_sentences([sentence(1, text=f"{text}.", metadata=metadata)])[0].record
    assert library.get_image(one.id) == one
    assert (one.filename, one.metadata) == (text, metadata)
    assert library.get_sentence(two.id) == two
    assert (two.text, two.metadata) == (f"{text}.", metadata)
    assert library.list_images(filters={text: text}).items == [one]
    assert library.list_sentences(filters={text: text}).items == [two]
    assert library.update_image(one.id, lambda _: {"then": text}).metadata == {"then": text}
    assert library.check() == []


def test_a_file_name_of_undecodable_bytes_is_kept_readable(library: Library, image: Image) -> None:
    record = library.add_images([image(1, filename="caf\udce9.png")])[0].record
    assert library.get_image(record.id).filename == "caf?.png"


def test_equal_content_is_one_image_and_the_first_stays(library: Library, image: Image) -> None:
    first, again, other = library.add_images(
        [image(1, metadata={"first": True}), image(1, metadata={"first": False}), image(2)]
    )
    assert [first.created, again.created, other.created] == [True, False, True]
    assert first.record == again.record
    later = library.add_images([image(1, filename="later.png", vector=image(3).vector)])[0]
    assert later == index.Added(first.record, created=False)
    assert later.record.metadata == {"first": True}
    assert library.count("images") == 2


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


def test_equal_text_is_one_sentence(library: Library, sentence: Sentence) -> None:
    one, two, three = library.add_sentences(
        [sentence(1, text="a dog"), sentence(2, text="  a dog\n"), sentence(3, text="A dog")]
    )
    assert [one.created, two.created, three.created] == [True, False, True]
    assert two.record == one.record
    assert library.get_sentence(one.record.id).text == "a dog"


def test_threads_that_add_the_same_image_agree(library: Library, image: Image) -> None:
    barrier = threading.Barrier(8)

    def add(_: int) -> list[index.Added[index.ImageRecord]]:
        barrier.wait()
        return library.add_images([image(number) for number in range(5)])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(add, range(8)))
    assert len({tuple(one.record.id for one in answer) for answer in answers}) == 1
    assert sum(one.created for answer in answers for one in answer) == 5
    assert library.count("images") == 5
    assert library.check() == []


def test_adding_and_deleting_the_same_image_at_once_never_loses_its_file(library: Library, image: Image) -> None:
    def add(_: int) -> None:
        library.add_images([image(1)])

    def delete(_: int) -> None:
        for record in library.list_images().items:
            with suppress(index.RecordNotFound):  # another thread was faster
                library.delete_image(record.id)

    with ThreadPoolExecutor(4) as pool:
        for work in [pool.map(add, range(30)), pool.map(delete, range(30))]:
            list(work)
    library.add_images([image(1)])
    assert library.check(deep=True) == []


def test_order_of_adding_is_order_of_listing(library: Library, image: Image) -> None:
    added = library.add_images([image(number) for number in range(7)])
    library.add_images([image(7)])
    listed = library.list_images(limit=50)
    assert [record.filename for record in listed.items] == [f"{number}.png" for number in range(7, -1, -1)]
    assert [one.record.filename for one in added] == [f"{number}.png" for number in range(7)]
    assert (listed.next_cursor, listed.total) == (None, 8)


def test_pages_of_a_list_neither_skip_nor_repeat(library: Library, image: Image) -> None:
    records = [one.record for one in library.add_images([image(number) for number in range(10)])]
    first = library.list_images(limit=4)
    library.delete_images([records[9].id, records[6].id, records[5].id])  # the cursor's own record among them
    library.add_images([image(10)])
    second = library.list_images(limit=4, cursor=first.next_cursor)
    third = library.list_images(limit=4, cursor=second.next_cursor)
    assert [record.filename for record in first.items] == ["9.png", "8.png", "7.png", "6.png"]
    assert [record.filename for record in second.items] == ["4.png", "3.png", "2.png", "1.png"]
    assert [record.filename for record in third.items] == ["0.png"]
    assert third.next_cursor is None


def test_lists_are_filtered_by_the_text_of_a_value(library: Library, image: Image) -> None:
    metadata = [
        {"n": 3, "s": "holiday", "b": True, "z": None},
        {"n": "3", "s": "holiday", "b": "true", "a.b": "dotted"},
        {"n": 30, "s": "Holiday", "a": {"b": "dotted"}, "l": [1, "x"]},
    ]
    library.add_images([image(number, metadata=value) for number, value in enumerate(metadata)])

    def found(**filters: str) -> list[str | None]:
        page = library.list_images(filters=filters)
        assert page.total == len(page.items)
        return [record.filename for record in page.items]

    assert found(n="3") == ["1.png", "0.png"]
    assert found(b="true", s="holiday") == ["1.png", "0.png"]
    assert found(s="Holiday", n="30") == ["2.png"]
    assert found(z="null") == ["0.png"]
    assert found(l='[1,"x"]') == ["2.png"]
    assert found(**{"a.b": "dotted"}) == ["1.png"]
    assert found(n="3", s="Holiday") == []


def test_filters_follow_an_update_and_a_deletion(library: Library, image: Image) -> None:
    one, two = (added.record for added in library.add_images([image(1), image(2)]))
    library.update_image(one.id, lambda _: {"colour": "blue"})
    assert library.list_images(filters={"number": "1"}).items == []
    assert [record.id for record in library.list_images(filters={"colour": "blue"}).items] == [one.id]
    library.delete_image(two.id)
    assert library.list_images(filters={"number": "2"}).total == 0
    assert library.check() == []


def test_pages_of_a_filtered_list(library: Library, image: Image) -> None:
    library.add_images([image(n, metadata={"even": n % 2 == 0, "kind": "x"}) for n in range(12)])
    names, cursor = [], None
    while True:
        page = library.list_images(cursor, 2, {"even": "true", "kind": "x"})
        names += [record.filename for record in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == [f"{number}.png" for number in (10, 8, 6, 4, 2, 0)]


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


@pytest.mark.parametrize("arguments", [("get_image",), ("delete_image",), ("open_file", "content")])
def test_an_unknown_image_is_not_found(library: Library, arguments: tuple[str, ...]) -> None:
    method, *more = arguments
    with pytest.raises(index.RecordNotFound, match="nowhere"):
        getattr(library, method)("nowhere", *more)


@pytest.mark.parametrize("method", ["get_sentence", "delete_sentence"])
def test_an_unknown_sentence_is_not_found(library: Library, method: str) -> None:
    with pytest.raises(index.RecordNotFound) as caught:
        getattr(library, method)("nowhere")
    assert caught.value.kind == "sentence"


def test_sentences_are_listed_changed_and_deleted(library: Library, sentence: Sentence) -> None:
    records = [one.record for one in library.add_sentences([sentence(n) for n in range(3)])]
    changed = library.update_sentence(records[1].id, lambda _: {"new": True})
    library.delete_sentence(records[0].id)
    page = library.list_sentences(limit=1)
    assert page.items == [records[2]]
    assert library.list_sentences(page.next_cursor, 1).items == [changed]
    assert library.list_sentences(filters={"new": "true"}).items == [changed]
    with pytest.raises(index.RecordNotFound):
        library.update_sentence(records[0].id, lambda _: {})


def test_vectors_come_back_at_unit_length_in_the_order_asked_for(library: Library, image: Image) -> None:
    records = [one.record for one in library.add_images([image(n) for n in range(4)])]
    ids = [records[2].id, records[0].id, records[2].id]
    vectors = library.image_vectors(ids)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, library.space.dimension))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for row, number in zip(vectors, (2, 0, 2), strict=True):
        expected = image(number).vector / np.linalg.norm(image(number).vector)
        np.testing.assert_allclose(row, expected, atol=5e-4)
    assert library.image_vectors([]).shape == (0, library.space.dimension)
    with pytest.raises(index.RecordNotFound, match="nowhere"):
        library.image_vectors(["nowhere"])
    with pytest.raises(index.RecordNotFound):
        library.sentence_vectors([records[0].id])


def test_nothing_to_add_is_fine(library: Library) -> None:
    assert library.add_images([]) == []
    assert library.add_sentences([]) == []
    assert library.find_images([]) == {}


@pytest.mark.parametrize("text", ["", " \n", "x" * 70_000, "\ud800"])
def test_a_sentence_without_a_storable_text_is_refused(library: Library, sentence: Sentence, text: str) -> None:
    with pytest.raises(LibraryError) as caught:
        library.add_sentences([sentence(1), sentence(2, text=text)])
    assert caught.value.code == "invalid_text"
    assert library.count("sentences") == 0


def test_a_closed_library_says_so(root: Path, space: Space, image: Image) -> None:
    library = open_library(LibraryConfig(root), space)
    record = library.add_images([image(1)])[0].record
    library.close()
    library.close()
    for call in (
        lambda: library.get_image(record.id),
        lambda: library.add_images([image(2)]),
        lambda: library.search(image(1).vector, 1, "images"),
        lambda: library.delete_image(record.id),
        library.stats,
        library.check,
    ):
        with pytest.raises(index.LibraryClosed):
            call()


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
    assert (stats.space, stats.generation, stats.schema_version) == (space, 1, 4)
    assert stats.image_index == index.IndexStats("exact", 3, 1.0)
    assert stats.sentence_index.size == 1
    assert stats.catalog_bytes > 0


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_at_least_one_item(library: Library, limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        library.list_images(limit=limit)
    with pytest.raises(ValueError, match="at least 1"):
        library.search(np.ones(library.space.dimension), limit, "images")


def test_a_directory_with_odd_characters(tmp_path: Path, space: Space, image: Image) -> None:
    root = tmp_path / "what? 100% #1 & ü"
    with open_library(LibraryConfig(root), space) as library:
        library.add_images([image(1)])
        assert (root / "catalog.sqlite").exists()
        assert library.check() == []
