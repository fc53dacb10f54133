"""What a library keeps whatever its parts are made of."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

import index
from index import Hit, Library, NewImage, NewSentence, Page, Space
from tests.index.contract.conftest import in_every_combination, wherever_files_are
from tests.index.contract.meanwhile import look_while

Image = Callable[..., NewImage]
OpenLibrary = Callable[..., Library]

COUNT = 40


@pytest.fixture
def filled(library: Library, image: Image) -> Library:
    library.add_images([image(n, metadata={"even": n % 2 == 0}) for n in range(COUNT)])
    return library


def ids(page: Page[Hit]) -> list[str]:
    return [hit.record.id for hit in page.items]


@in_every_combination
def test_all_parts_work_together(
    library: Library,
    open_parts: OpenLibrary,
    space: Space,
    image: Image,
    sentence: Callable[..., NewSentence],
    vector: Callable[[int], np.ndarray],
) -> None:
    """A whole library, as two processes use it. Nothing that it answers tells which engines it is on."""
    other = open_parts(space)
    added = library.add_images([image(n, metadata={"even": n % 2 == 0}) for n in range(COUNT)])
    (text,) = library.add_sentences([sentence(2)])
    deadline = time.monotonic() + 30
    while library.search(vector(3), 1, "images").items and library.lag()["images"] >= 5:
        assert time.monotonic() < deadline, "Milvus does not get the vectors"
        time.sleep(0.05)
    nearest = sorted(range(COUNT), key=lambda n: -vector(3) @ vector(n) / np.linalg.norm(vector(n)))
    for one in (library, other):
        assert ids(one.search(vector(3), COUNT // 2, "images")) == [added[n].record.id for n in nearest[: COUNT // 2]]
        even = one.search(vector(3), COUNT, "images", filters={"even": "true"})
        assert ids(even) == [added[n].record.id for n in nearest if n % 2 == 0]
        assert one.search(vector(2), 1, "sentences").items[0].record == text.record
    library.delete_images([added[n].record.id for n in nearest[1:3]])
    assert ids(other.search(vector(3), 3, "images")) == [added[n].record.id for n in (nearest[0], *nearest[3:5])]
    reopened = open_parts()
    for one in (other, reopened):
        assert ids(one.search(vector(3), 3, "images")) == [added[n].record.id for n in (nearest[0], *nearest[3:5])]
        with one.open_file(added[nearest[0]].record.id, "content") as file:
            assert file.content.read() == image(nearest[0]).content
    assert reopened.check(deep=True) == []


@wherever_files_are
def test_what_is_added_is_there_for_everybody_and_after_opening_again(
    library: Library, open_parts: OpenLibrary, space: Space, image: Image, sentence: Callable[..., NewSentence]
) -> None:
    (added,) = library.add_images([image(1)])
    (text,) = library.add_sentences([sentence(2)])
    for other in (open_parts(space), open_parts()):
        assert other.space == space
        assert other.get_image(added.record.id) == added.record
        assert other.get_sentence(text.record.id) == text.record
        assert other.search(image(1).vector, 1, "images").items[0].record == added.record
        assert other.thumbnail(added.record.sha256) == image(1).thumbnail
        with other.open_file(added.record.id, "content") as file:
            assert (file.record, file.media_type, file.content.read()) == (added.record, "image/png", image(1).content)
        with other.open_file(added.record.id, "thumbnail") as file:
            assert (file.media_type, file.content.read()) == ("image/jpeg", image(1).thumbnail)
        assert other.check(deep=True) == []


def test_another_space_is_refused(library: Library, open_parts: OpenLibrary, other_space: Space) -> None:
    with pytest.raises(index.SpaceMismatch, match="visem reindex"):
        open_parts(other_space)


@wherever_files_are
def test_a_deletion_is_gone_from_the_next_search_everywhere(
    filled: Library, open_parts: OpenLibrary, space: Space, vector: Callable[[int], np.ndarray]
) -> None:
    other = open_parts(space)
    best = filled.search(vector(3), 1, "images").items[0].record
    assert other.search(vector(3), 1, "images").items[0].record == best
    filled.delete_image(best.id)
    assert best.id not in ids(other.search(vector(3), COUNT, "images"))
    with pytest.raises(index.RecordNotFound):
        other.open_file(best.id, "content")
    assert other.thumbnail(getattr(best, "sha256", "")) is None


@wherever_files_are
def test_a_file_that_is_open_outlives_its_image(filled: Library) -> None:
    record = filled.list_images(limit=1).items[0]
    with filled.open_file(record.id, "content") as file:
        filled.delete_image(record.id)
        assert len(file.content.read()) == record.size
    assert filled.check(deep=True) == []


@wherever_files_are
def test_opening_files_while_others_delete_gives_the_file_or_says_that_it_is_gone(
    library: Library, image: Image
) -> None:
    ids_of_records = [library.add_images([image(1)])[0].record.id]

    def churn() -> None:
        for _ in range(10):
            library.delete_image(ids_of_records[-1])
            ids_of_records.append(library.add_images([image(1)])[0].record.id)

    def look() -> None:
        with suppress(index.RecordNotFound), library.open_file(ids_of_records[-1], "content") as file:
            assert file.content.read() == image(1).content

    look_while(churn, look)
    assert library.check(deep=True) == []


@wherever_files_are
def test_lost_and_orphaned_files_are_found_and_removed(
    library: Library, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orphans by a deep check, once no writer may be about to name them; S3 tells their age to the second."""
    kept, lost = (one.record for one in library.add_images([image(1), image(2)]))
    orphan = hashlib.sha256(b"orphan").hexdigest()
    library._content.put_many({orphan: (b"orphan", image(3).thumbnail)})
    library._content.delete(lost.sha256)
    (problem,) = library.check()
    assert problem.startswith(f"images: {lost.id} lacks its content")
    assert library.check(deep=True) == [problem], "a young file may belong to a record that is about to be written"
    monkeypatch.setattr("index.maintenance.YOUNG", -2.0)
    told = [library._content.location(orphan, "content"), "belongs to no image"]
    assert library.check(deep=True) == [problem, " ".join(told)]
    assert library.repair(lambda content: b"") == ["Removed the files of 1 contents that belong to no image."]
    assert library._content.stat(orphan, "content") is library._content.stat(orphan, "thumbnail") is None
    assert library._content.stat(kept.sha256, "content") is not None
    assert library.check(deep=True) == [problem]


def test_new_vectors_for_all_change_every_answer_at_once(
    filled: Library, open_parts: OpenLibrary, space: Space, other_space: Space, vector: Callable[[int], np.ndarray]
) -> None:
    other = open_parts()
    other.search(vector(1), 1, "images")
    width = other_space.dimension
    numbers = {content: n for n, content in enumerate(f"content {n}".encode() for n in range(COUNT))}
    filled.reindex(
        other_space,
        lambda contents: np.stack([vector(numbers[content])[:width] for content in contents]),
        lambda texts: np.ones((len(texts), width)),
    )
    assert filled.search(vector(8)[:width], 1, "images").items[0].record.filename == "8.png"  # type: ignore[union-attr]
    with pytest.raises(index.SpaceMismatch):
        other.search(vector(1), 1, "images")
    assert filled.check() == []


def test_a_closed_library_says_so(filled: Library, image: Image, vector: Callable[[int], np.ndarray]) -> None:
    record = filled.list_images(limit=1).items[0]
    filled.close()
    filled.close()
    for call in (
        lambda: filled.get_image(record.id),
        lambda: filled.add_images([image(2)]),
        lambda: filled.search(vector(1), 1, "images"),
        lambda: filled.delete_image(record.id),
        lambda: filled.captions.of(record.id),
        lambda: filled.deletions.pending(),
        filled.stats,
        filled.check,
    ):
        with pytest.raises(index.LibraryClosed):
            call()
