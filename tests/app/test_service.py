"""What `Service` promises beyond HTTP."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.concepts import CONCEPTS
from app.embedding.fairness import ShuttingDown
from app.problems import Problem
from app.results import CaptionOptions
from app.search.results import SearchOptions
from app.service import Service
from app.settings import Settings
from index import LibraryClosed
from model.space import JointSpace
from tests.app.helpers import add_picture, picture


def test_captions_need_exactly_one_image(service: Service) -> None:
    with pytest.raises(Problem) as caught:
        service.captions()
    assert caught.value.code == "invalid_request"
    with pytest.raises(Problem):
        service.captions(image=picture(1), image_id="x")
    assert len(service.captions(CaptionOptions(n=2), image=picture(1)).captions) == 2, "the shipped bundle writes"


def test_captions_without_a_captioner_are_sentences_of_the_library(
    open_service: Callable[..., Service], silent_space: JointSpace
) -> None:
    service = open_service(space=silent_space)
    with pytest.raises(Problem) as caught:
        service.captions(CaptionOptions(mode="generate"), image=picture(1))
    assert caught.value.code == "captioner_missing"
    service.add_sentences(["a dog", "a cat", "a car"])
    assert len(service.captions(CaptionOptions(n=2), image=picture(1)).captions) == 2
    assert len(service.captions(image_id=add_picture(service, 1)).captions) == 3


def test_every_image_carries_its_concepts(service: Service, space: JointSpace) -> None:
    image_id = add_picture(service, 1)
    record = service.get_image(image_id)
    (nearest,) = space.name_concepts(service.library.image_vectors([image_id]), CONCEPTS)
    assert [concept.word for concept in record.concepts] == [word for word, _ in nearest]
    assert service.search(f"image:{image_id}", SearchOptions(include_query_items=True)).hits[0].record == record


def test_concurrent_patches_lose_nothing(service: Service) -> None:
    image_id = add_picture(service, 1)
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


def test_a_started_service_removes_what_dead_writers_left(space: JointSpace, tmp_path: Path) -> None:
    settings = Settings(library=tmp_path / "library")
    Service.open(settings, space=space).close()
    orphan = settings.library / "content" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    os.utime(orphan, (time.time() - 7200,) * 2)
    with Service.open(settings, space=space) as service:
        assert orphan.exists()  # opening looks at no file: that would take ever longer
        service.start()
        deadline = time.monotonic() + 20
        while orphan.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_closing_is_final_and_can_be_repeated(space: JointSpace, tmp_path: Path) -> None:
    service = Service.open(Settings(library=tmp_path / "library"), space=space)
    service.close()
    service.close()
    with pytest.raises(ShuttingDown):
        service.search("a dog")
    with pytest.raises(LibraryClosed):
        service.list_images()
