"""What `Service` promises beyond HTTP."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.batching import BatcherClosed
from app.concepts import CONCEPTS
from app.ingest import IncomingFile
from app.problems import Problem
from app.results import CaptionOptions, SearchOptions
from app.search.expression import QueryError, parse
from app.service import Service
from app.settings import Settings
from index import Hit, Library, LibraryClosed, Page, RecordNotFound
from model.errors import DegenerateQueryError, ImageError, NoKnownWordsError
from model.space import JointSpace
from tests.app.helpers import picture


def add(service: Service, seed: int) -> str:
    (result,) = service.ingest([IncomingFile(f"{seed}.jpg", picture(seed))])
    assert result.record is not None
    return result.record.id


def test_a_sentence_goes_to_the_sentence_encoder_and_operands_to_the_other(service: Service, space: JointSpace) -> None:
    sentence = service.question(parse("a dog runs")).vector
    np.testing.assert_allclose(sentence, space.embed_texts(["a dog runs"])[0], atol=1e-5)
    operands = service.question(parse("dog - 0.5 * cat")).vector
    expected = space.compose([("dog", 1.0, "text"), ("cat", -0.5, "text")])
    np.testing.assert_allclose(operands, expected, atol=1e-5)


def test_only_the_ratios_of_weights_matter(service: Service) -> None:
    small = service.question(parse("0.001 * dog - 0.002 * cat")).vector
    large = service.question(parse("500 * dog - 1000 * cat")).vector
    np.testing.assert_allclose(small, large, atol=1e-5)
    for query in ("0.001 * dog - 0.001 * dog", "1000 * dog - 1000 * dog"):
        with pytest.raises(DegenerateQueryError):
            service.question(parse(query))


def test_images_are_images_in_a_sum(service: Service, space: JointSpace) -> None:
    image_id = add(service, 1)
    (stored,) = service.library.image_vectors([image_id])
    np.testing.assert_allclose(service.question(parse(f"image:{image_id}")).vector, stored, atol=1e-5)
    mixed = service.question(parse(f"image:{image_id} + red")).vector
    np.testing.assert_allclose(mixed, space.compose([(stored, 1.0, "image"), ("red", 1.0, "text")]), atol=1e-5)
    uploaded = service.question(parse("+ red"), picture(1)).vector
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
    ids = [add(service, seed) for seed in range(3)]
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
    ids = [add(service, seed) for seed in range(3)]
    search = Library.search

    def search_then_delete(self: Library, *arguments: Any, **more: Any) -> Page[Hit]:
        found = search(self, *arguments, **more)
        while self.count("images") > left:
            self.delete_image(ids[self.count("images") - 1])
        return found

    monkeypatch.setattr(Library, "search", search_then_delete)
    assert {hit.record.id for hit in service.search("dog + cat", options).hits} == set(ids[:left])


def test_captions_need_exactly_one_image(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem) as caught:
        service.captions()
    assert caught.value.code == "invalid_request"
    with pytest.raises(Problem):
        service.captions(image=picture(1), image_id="x")
    assert len(service.captions(CaptionOptions(n=2), image=picture(1)).captions) == 2, "the shipped bundle writes"
    monkeypatch.setattr(service, "captioner", None)
    with pytest.raises(Problem) as caught:
        service.captions(CaptionOptions(mode="generate"), image=picture(1))
    assert caught.value.code == "captioner_missing"
    service.add_sentences(["a dog", "a cat", "a car"])
    assert len(service.captions(CaptionOptions(n=2), image=picture(1)).captions) == 2
    assert len(service.captions(image_id=add(service, 1)).captions) == 3


def test_every_image_carries_its_concepts(service: Service, space: JointSpace) -> None:
    image_id = add(service, 1)
    record = service.get_image(image_id)
    (nearest,) = space.nearest_words(service.library.image_vectors([image_id]), CONCEPTS)
    assert [concept.word for concept in record.concepts] == [word for word, _ in nearest]
    assert service.search(f"image:{image_id}", SearchOptions(include_query_items=True)).hits[0].record == record


def test_concurrent_patches_lose_nothing(service: Service) -> None:
    image_id = add(service, 1)
    threads = [
        threading.Thread(target=service.patch_image, args=(image_id, {f"key{number}": number})) for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert service.get_image(image_id).metadata == {f"key{number}": number for number in range(20)}


def test_readiness(service: Service) -> None:
    service.check_ready()
    service.library.close()
    with pytest.raises(LibraryClosed):
        service.check_ready()


def test_closing_is_final_and_can_be_repeated(space: JointSpace, tmp_path: Path) -> None:
    service = Service.open(Settings(library=tmp_path / "library"), space=space)
    service.close()
    service.close()
    with pytest.raises(BatcherClosed):
        service.search("a dog")
    with pytest.raises(LibraryClosed):
        service.list_images()
