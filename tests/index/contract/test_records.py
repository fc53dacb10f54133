"""Images and sentences of a library: what is added stays as it was, once, until it is changed or deleted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

import index
from index import (
    Library,
    LibraryError,
    NewImage,
    NewSentence,
)
from tests.index.contract.conftest import wherever_files_are

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


def test_strings_come_back_unchanged(library: Library, image: Image, sentence: Sentence) -> None:
    for number, text in enumerate(AWKWARD):
        metadata = {text: text, "nested": {text: [text]}}
        one = library.add_images([image(number, filename=text, metadata=metadata)])[0].record
        two = library.add_sentences([sentence(number, text=f"{text}.", metadata=metadata)])[0].record
        assert library.get_image(one.id) == one
        assert (one.filename, one.metadata) == (text, metadata)
        assert library.get_sentence(two.id) == two
        assert (two.text, two.metadata) == (f"{text}.", metadata)
        assert library.list_images(filters={text: text}).items == [one]
        assert library.list_sentences(filters={text: text}).items == [two]
        assert library.update_image(one.id, lambda _, text=text: {"then": text}).metadata == {"then": text}
    assert library.check() == []


def test_a_file_name_of_undecodable_bytes_is_kept_readable(library: Library, image: Image) -> None:
    record = library.add_images([image(1, filename="caf\udce9.png")])[0].record
    assert library.get_image(record.id).filename == "caf?.png"


@wherever_files_are
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


def test_equal_text_is_one_sentence(library: Library, sentence: Sentence) -> None:
    one, two, three = library.add_sentences(
        [sentence(1, text="a dog"), sentence(2, text="  a dog\n"), sentence(3, text="A dog")]
    )
    assert [one.created, two.created, three.created] == [True, False, True]
    assert two.record == one.record
    assert library.get_sentence(one.record.id).text == "a dog"


@wherever_files_are
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


@wherever_files_are
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


def test_what_is_unknown_is_not_found(library: Library) -> None:
    for kind, method, *more in (
        ("image", "get_image"),
        ("image", "delete_image"),
        ("image", "open_file", "content"),
        ("sentence", "get_sentence"),
        ("sentence", "delete_sentence"),
    ):
        with pytest.raises(index.RecordNotFound, match="nowhere") as caught:
            getattr(library, method)("nowhere", *more)
        assert caught.value.kind == kind


def test_sentences_are_listed_and_deleted(library: Library, sentence: Sentence) -> None:
    records = [one.record for one in library.add_sentences([sentence(n) for n in range(3)])]
    library.delete_sentence(records[0].id)
    page = library.list_sentences(limit=1)
    assert page.items == [records[2]]
    assert library.list_sentences(page.next_cursor, 1).items == [records[1]]
    assert library.list_sentences(filters={"number": "1"}).items == [records[1]]


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


def test_a_sentence_without_a_storable_text_is_refused(library: Library, sentence: Sentence) -> None:
    for text in ("", " \n", "x" * 70_000, "\ud800"):
        with pytest.raises(LibraryError) as caught:
            library.add_sentences([sentence(1), sentence(2, text=text)])
        assert caught.value.code == "invalid_text"
        assert library.count("sentences") == 0
