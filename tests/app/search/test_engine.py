"""Searching from beginning to end, on a real library with the shipped bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.embedding.embedder import Embedder
from app.problems import Problem
from app.search.engine import SearchEngine
from app.search.expression import QueryError, parse
from app.search.query_vector import Question
from app.search.results import SearchOptions
from app.service import Service
from app.settings import Settings
from index import Hit, InvalidCursor, Library, Page, RecordNotFound
from model.errors import DegenerateQueryError, ImageError, NoKnownWordsError
from model.space import JointSpace
from model.words import Vocabulary
from tests.app.helpers import add_picture, calibrated_space, picture


@pytest.fixture(scope="module")
def space(space: JointSpace) -> JointSpace:
    return calibrated_space(space)


@pytest.fixture
def embedder(space: JointSpace) -> Iterator[Embedder]:
    """An embedder of the shipped bundle."""
    embedder = Embedder(space, Settings())
    yield embedder
    embedder.close()


@pytest.fixture
def engine(service: Service, embedder: Embedder, space: JointSpace) -> SearchEngine:
    """An engine on the library of the service."""
    return SearchEngine(space, service.library, embedder)


Ask = Callable[..., Question]


@pytest.fixture
def ask(engine: SearchEngine, embedder: Embedder) -> Iterator[Ask]:
    """What an expression, or an image with it, asks for."""
    with embedder.admit("search") as place:
        yield lambda source, image=None: engine.question(
            parse(source), None if image is None else embedder.image(image, place)
        )


def test_a_sentence_goes_to_the_sentence_encoder_and_operands_to_the_other(ask: Ask, space: JointSpace) -> None:
    sentence = ask("a dog runs").vector
    np.testing.assert_allclose(sentence, space.embed_texts(["a dog runs"])[0], atol=1e-5)
    operands = ask("dog - 0.5 * cat").vector
    expected = space.compose([("dog", 1.0, "text"), ("cat", -0.5, "text")])
    np.testing.assert_allclose(operands, expected, atol=1e-5)


def test_only_the_ratios_of_weights_matter(ask: Ask) -> None:
    small = ask("0.001 * dog - 0.002 * cat").vector
    large = ask("500 * dog - 1000 * cat").vector
    np.testing.assert_allclose(small, large, atol=1e-5)
    for query in ("0.001 * dog - 0.001 * dog", "1000 * dog - 1000 * dog"):
        with pytest.raises(DegenerateQueryError):
            ask(query)


def test_images_are_images_in_a_sum(ask: Ask, service: Service, space: JointSpace) -> None:
    image_id = add_picture(service, 1)
    (stored,) = service.library.image_vectors([image_id])
    np.testing.assert_allclose(ask(f"image:{image_id}").vector, stored, atol=1e-5)
    mixed = ask(f"image:{image_id} + red").vector
    np.testing.assert_allclose(mixed, space.compose([(stored, 1.0, "image"), ("red", 1.0, "text")]), atol=1e-5)
    uploaded = ask("+ red", picture(1)).vector
    np.testing.assert_allclose(uploaded, mixed, atol=2e-3)


def test_searching_needs_something_to_search_for(service: Service) -> None:
    with pytest.raises(Problem) as caught:
        service.search()
    assert caught.value.code == "invalid_request"
    with pytest.raises(QueryError):
        service.search("- +")
    with pytest.raises(NoKnownWordsError):
        service.search("xqztw")
    with pytest.raises(ImageError):
        service.search(image=b"junk")
    with pytest.raises(RecordNotFound):
        service.search("image:nothere")


def test_options_of_a_search(service: Service) -> None:
    ids = [add_picture(service, seed) for seed in range(3)]
    query = f"image:{ids[0]}"
    assert {hit.record.id for hit in service.search(query).hits} == set(ids[1:])
    included = service.search(query, SearchOptions(include_query_items=True, k=1))
    assert [hit.record.id for hit in included.hits] == ids[:1]
    assert included.next_cursor is not None


@pytest.mark.parametrize("options", [SearchOptions(explain=True), SearchOptions(all=True)], ids=["explain", "all"])
@pytest.mark.parametrize("left", [2, 0])
def test_what_is_deleted_during_a_search_is_left_out(
    service: Service, options: SearchOptions, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add_picture(service, seed) for seed in range(3)]
    search = Library.search

    def search_then_delete(self: Library, *arguments: Any, **more: Any) -> Page[Hit]:
        found = search(self, *arguments, **more)
        while self.count("images") > left:
            self.delete_image(ids[self.count("images") - 1])
        return found

    monkeypatch.setattr(Library, "search", search_then_delete)
    assert {hit.record.id for hit in service.search("dog + cat", options).hits} == set(ids[:left])


def test_the_vocabulary_is_asked_once_for_each_text(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    resolve = Vocabulary.resolve

    def counted(self: Vocabulary, text: str) -> tuple[list[int], list[str]]:
        asked.append(text)
        return resolve(self, text)

    monkeypatch.setattr(Vocabulary, "resolve", counted)
    assert engine.search("a dog and zyzzyvas", SearchOptions(), None).unknown_words == ("zyzzyvas",)
    assert asked == ["a dog and zyzzyvas"] * 2, "once to tell what is unknown, and once by the encoder"


def test_pages_of_an_intersection_skip_nothing_when_records_go(
    service: Service,
) -> None:
    ids = {add_picture(service, seed) for seed in range(12)}
    options = SearchOptions(k=4, all=True)
    first = service.search("dog + cat", options)
    seen = [hit.record.id for hit in first.hits]
    service.delete_image(seen[0])
    while first.next_cursor is not None:
        first = service.search("dog + cat", replace(options, cursor=first.next_cursor))
        seen += [hit.record.id for hit in first.hits]
    assert len(seen) == len(ids)
    assert set(seen) == ids
    cursor = service.search("dog + cat", options).next_cursor
    for other in ("dog + snow", "dog + cat - red"):
        with pytest.raises(InvalidCursor):
            service.search(other, replace(options, cursor=cursor))
    with pytest.raises(InvalidCursor):
        service.search("dog + cat", replace(options, all=False, cursor=cursor))
