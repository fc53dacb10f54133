from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
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

PathOf = Callable[..., Path]

Image = Callable[..., NewImage]
Sentence = Callable[..., NewSentence]


def embed(contents: list[bytes] | list[str], dimension: int) -> np.ndarray:
    """Another space: a direction that belongs to the content."""
    seeds = [content if isinstance(content, bytes) else content.encode() for content in contents]
    return np.stack([np.random.default_rng(list(seed)).normal(size=dimension) for seed in seeds])


@pytest.fixture
def filled(
    root: Path, space: Space, image: Image, sentence: Sentence, copy_of: Callable[..., None]
) -> Iterator[Library]:
    def fill(library: Library) -> None:
        library.add_images([image(n) for n in range(70)])
        library.add_sentences([sentence(n) for n in range(5)])

    copy_of("seventy", fill, root)
    with open_library(LibraryConfig(root), space) as library:
        yield library


def test_all_vectors_are_replaced_in_one_step(
    root: Path, space: Space, other_space: Space, filled: Library, image: Image, path_of: PathOf
) -> None:
    filled.delete_image(filled.list_images().items[0].id)
    before = filled.list_images(limit=100).items
    progress: list[tuple[int, int]] = []

    def embed_images(contents: list[bytes]) -> np.ndarray:
        hit = filled.search(image(3).vector, 1, "images").items[0]  # in use until the last moment
        assert hit.record.filename == "3.png"
        return embed(contents, other_space.dimension)

    filled.reindex(
        other_space,
        embed_images,
        lambda texts: embed(texts, other_space.dimension),
        lambda *at: progress.append(at),
    )
    assert filled.space == other_space
    assert filled.list_images(limit=100).items == before
    assert progress[0] == (0, 74)
    assert progress[-1] == (74, 74)
    for record in before[:3]:
        query = embed([path_of(filled, record.id).read_bytes()], other_space.dimension)[0]
        assert filled.search(query, 1, "images").items[0].record == record
    assert filled.search(embed(["sentence 2"], 16)[0], 1, "sentences").items[0].record.text == "sentence 2"
    assert filled.stats().generation == 2
    assert filled.check() == []
    with pytest.raises(index.InvalidVector):
        filled.search(image(3).vector, 1, "images")
    filled.close()
    with pytest.raises(index.SpaceMismatch):
        open_library(LibraryConfig(root), space)
    with open_library(LibraryConfig(root), other_space) as again:
        assert again.check() == []
        assert len(again.search(np.ones(other_space.dimension), 100, "images").items) == 69


def test_another_bundle_attempts_captions_anew(other_space: Space, filled: Library, image: Image) -> None:
    filled.add_images([dataclasses.replace(image(100), captions=1)])
    for _ in range(index.MAX_CAPTION_ATTEMPTS):
        filled.captions.claim(1, 0)
    assert (filled.captions.owed(), filled.captions.given_up()) == (0, 1)
    filled.reindex(other_space, lambda contents: embed(contents, 16), lambda texts: embed(texts, 16))
    assert (filled.captions.owed(), filled.captions.given_up()) == (1, 0)
    assert [one.attempt for one in filled.captions.claim(1, 60)] == [1]


def test_an_interrupted_reindex_goes_on_where_it_stopped(
    root: Path, other_space: Space, filled: Library, image: Image
) -> None:
    done: list[bytes] = []

    def fail_later(contents: list[bytes]) -> np.ndarray:
        if done:
            raise KeyboardInterrupt
        done.extend(contents)
        return embed(contents, other_space.dimension)

    with pytest.raises(KeyboardInterrupt):
        filled.reindex(other_space, fail_later, lambda texts: embed(texts, 16))
    assert filled.search(image(3).vector, 1, "images").items[0].record.filename == "3.png"
    filled.close()

    again: list[bytes] = []
    progress: list[tuple[int, int]] = []

    def go_on(contents: list[bytes]) -> np.ndarray:
        again.extend(contents)
        return embed(contents, other_space.dimension)

    with open_library(LibraryConfig(root)) as library:
        assert library.space.name == "first-bundle"
        library.reindex(other_space, go_on, lambda texts: embed(texts, 16), lambda *at: progress.append(at))
        assert not set(done) & set(again)
        assert len(done) + len(again) == 70
        assert progress[0] == (len(done), 75)
        assert library.check() == []


def test_what_is_staged_for_another_space_is_not_mixed_in(other_space: Space, filled: Library) -> None:
    def fail_later(contents: list[bytes]) -> np.ndarray:
        if filled._catalog.begin_staging(other_space):
            raise KeyboardInterrupt
        return embed(contents, other_space.dimension)

    with pytest.raises(KeyboardInterrupt):
        filled.reindex(other_space, fail_later, lambda texts: embed(texts, 16))
    third = Space("c" * 64, "third", 8)
    filled.reindex(third, lambda contents: embed(contents, 8), lambda texts: embed(texts, 8))
    assert filled.space == third
    assert filled.check() == []


def test_records_added_and_deleted_meanwhile_are_taken_along(
    root: Path, space: Space, other_space: Space, filled: Library, image: Image, sentence: Sentence
) -> None:
    other = open_library(LibraryConfig(root), space)
    calls = 0

    def embed_sentences(texts: list[str]) -> np.ndarray:  # runs after the images are done
        nonlocal calls
        calls += 1
        if calls == 1:
            other.add_images([image(n) for n in range(100, 105)])
            other.delete_image(other.find_images([image_digest(1)])[image_digest(1)].id)
        return embed(texts, other_space.dimension)

    filled.reindex(other_space, lambda contents: embed(contents, 16), embed_sentences)
    assert filled.count("images") == 74
    assert filled.check() == []
    for call in (
        lambda: other.search(image(1).vector, 1, "images"),
        lambda: other.add_images([image(200)]),
        lambda: other.add_sentences([sentence(200)]),
        lambda: other.image_vectors([other.list_images().items[0].id]),
    ):
        with pytest.raises(index.SpaceMismatch, match="second-bundle"):
            call()
    assert other.count("images") == 74  # what needs no vector still works
    other.close()
    assert filled.check() == []


def image_digest(number: int) -> str:
    return hashlib.sha256(f"content {number}".encode()).hexdigest()


def test_two_reindexes_to_different_spaces_do_not_mix(other_space: Space, filled: Library) -> None:
    def interfere(contents: list[bytes]) -> np.ndarray:
        filled._catalog.begin_staging(Space("c" * 64, "third", 16))
        return embed(contents, other_space.dimension)

    with pytest.raises(index.ReindexConflict):
        filled.reindex(other_space, interfere, lambda texts: embed(texts, 16))
    assert filled.check() == []
    assert filled.space.name == "first-bundle"


def test_a_missing_file_is_named(other_space: Space, filled: Library, path_of: PathOf) -> None:
    record = filled.list_images(limit=1).items[0]
    path_of(filled, record.id).unlink()
    with pytest.raises(index.ContentMissing, match=record.id):
        filled.reindex(other_space, lambda contents: embed(contents, 16), lambda texts: embed(texts, 16))


def test_a_wrong_number_of_vectors_is_noticed(other_space: Space, filled: Library) -> None:
    with pytest.raises(index.InvalidVector, match="embedded as"):
        filled.reindex(other_space, lambda contents: embed(contents[1:], 16), lambda texts: embed(texts, 16))


def test_cursors_of_the_old_vectors_are_void(root: Path, space: Space, filled: Library, image: Image) -> None:
    cursor = filled.search(image(3).vector, 5, "images").next_cursor
    filled.close()
    with open_library(LibraryConfig(root), space) as library:
        library.reindex(space, lambda contents: embed(contents, 32), lambda texts: embed(texts, 32))
    with open_library(LibraryConfig(root), space) as library:
        query = embed([b"content 7"], 32)[0]
        assert library.search(query, 1, "images").items[0].record.filename == "7.png"
        with pytest.raises(index.InvalidCursor):
            library.search(image(3).vector, 5, "images", cursor=cursor)
        assert library.check() == []
