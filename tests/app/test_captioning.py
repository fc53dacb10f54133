"""Written captions: on request, and in the background for images of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from app.ingest import IncomingFile
from app.service import Service
from index import Library, LibraryBusy, NewSentence, SentenceRecord
from model.space import JointSpace
from tests.app.helpers import assert_problem, encode, picture, refused_fields, store


@pytest.fixture
def writer(connect: Callable[..., TestClient]) -> TestClient:
    """A client of an application whose bundle has a captioner."""
    return connect()


def caption(client: TestClient, data: bytes, **fields: Any) -> Any:
    response = client.post("/v1/captions", files={"image": ("a.jpg", data)}, data=fields)
    assert response.status_code == 200, response.text
    return response.json()


def test_captions_are_written_where_the_bundle_can(writer: TestClient) -> None:
    answer = caption(writer, picture(1), n="3")
    assert answer["mode"] == "generate"
    assert len(answer["captions"]) == 3
    for one in answer["captions"]:
        assert one["sentence_id"] is None
        assert len(one["structure"]) == len(one["text"].split())
        assert 0 <= one["confidence"] <= 1
        assert isinstance(one["fluency"], float)
    assert caption(writer, picture(1), n="3") == answer
    assert caption(writer, picture(1), mode="retrieve") == {"mode": "retrieve", "captions": []}
    image_id = store(writer, "a.jpg", picture(1))
    stored = writer.post("/v1/captions", json={"image_id": image_id, "n": 1}).json()
    assert stored["captions"][0]["text"] == answer["captions"][0]["text"]


def test_strategy_seed_and_structure(writer: TestClient) -> None:
    sampled = caption(writer, picture(2), strategy="sample", seed="3")
    assert sampled == caption(writer, picture(2), strategy="sample", seed="3")
    assert sampled != caption(writer, picture(2), strategy="sample", seed="4")
    shaped = caption(writer, picture(2), structure="a cat with green eyes", n="2")["captions"]
    assert shaped
    tags = shaped[0]["structure"]
    assert all(one["structure"] == tags for one in shaped)
    assert caption(writer, picture(2), structure=" ".join(tags), n="2")["captions"] == shaped
    response = writer.post("/v1/captions", files={"image": ("a.jpg", picture(2))}, data={"structure": "a dog " * 30})
    assert_problem(response, 422, "structure_too_long")
    response = writer.post("/v1/captions", files={"image": ("a.jpg", picture(2))}, data={"structure": "?!"})
    assert_problem(response, 422, "empty_text")


@pytest.mark.parametrize("kind", ["black", "dot", "noise", "page"])
def test_pictures_of_nothing_do_no_harm(writer: TestClient, kind: str) -> None:
    image = Image.new("RGB", (1, 1) if kind == "dot" else (300, 400), "white" if kind == "page" else "black")
    if kind == "noise":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    if kind == "page":
        ImageDraw.Draw(image).text((20, 20), "To whom it may concern,\nthis is a page.", fill="black")
    response = writer.post("/v1/captions", files={"image": ("a.png", encode(image, "PNG"))})
    if response.status_code == 200:
        assert all(0 <= one["confidence"] <= 1 for one in response.json()["captions"])
    else:
        assert_problem(response, 422, "image_too_small")


def links(client: TestClient, image_id: str) -> list[Any]:
    found: list[Any] = client.get("/v1/sentences", params={f"metadata.caption_of_{image_id}": "true"}).json()["items"]
    return found


def test_new_images_get_captions_in_the_background(connect: Callable[..., TestClient]) -> None:
    client = connect(caption_images=2)
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    image_id = store(client, "a.jpg", picture(1))
    plain = store(client, "b.jpg", picture(2), captions="0")
    service.captions_kept.wait()
    stored = links(client, image_id)
    assert len(stored) == 2
    assert all(one["metadata"]["origin"] == "captioner" for one in stored)
    assert not links(client, plain)
    best = caption(client, picture(1), n="1")["captions"][0]["text"]
    assert best in [one["text"] for one in stored]
    hits = client.get("/v1/search", params={"q": best, "target": "sentences"}).json()["hits"]
    assert hits[0]["text"] == best
    assert client.delete(f"/v1/images/{image_id}").status_code == 204
    assert not links(client, image_id)
    assert client.get("/v1/sentences").json()["total"] == 0


def test_shared_and_earlier_sentences_stay(open_service: Callable[..., Service], space: JointSpace) -> None:
    service = open_service()
    [first] = service.ingest([IncomingFile("a.jpg", picture(1))], captions=1)
    service.captions_kept.wait()
    assert first.record is not None
    [sentence] = service.captions_stored.of(first.record.id)
    # Another image gets the same caption; and a sentence of the user's own is one, too.
    [other] = service.ingest([IncomingFile("b.jpg", picture(2))])
    assert other.record is not None
    link = f"caption_of_{other.record.id}"
    service.library.update_sentence(sentence.id, {**sentence.metadata, link: True})
    service.delete_image(first.record.id)
    assert service.get_sentence(sentence.id).metadata == {"origin": "captioner", link: True}
    service.delete_image(other.record.id)
    assert service.library.stats().sentences == 0
    vector = space.embed_texts([sentence.text])[0]
    [own] = service.library.add_sentences([NewSentence(sentence.text, vector, {"mine": True})])
    [again] = service.ingest([IncomingFile("a.jpg", picture(1))], captions=1)
    service.captions_kept.wait()
    assert again.record is not None
    assert [one.id for one in service.captions_stored.of(again.record.id)] == [own.record.id]
    service.delete_image(again.record.id)
    assert service.get_sentence(own.record.id).metadata == {"mine": True}


@pytest.fixture
def captioned(open_service: Callable[..., Service]) -> tuple[Service, str, SentenceRecord]:
    """A service with one image and its caption: the service, the image's id, the sentence."""
    service = open_service()
    [result] = service.ingest([IncomingFile("a.jpg", picture(1))], captions=1)
    service.captions_kept.wait()
    assert result.record is not None
    [sentence] = service.captions_stored.of(result.record.id)
    return service, result.record.id, sentence


def test_a_caption_that_somebody_stores_becomes_their_own(captioned: tuple[Service, str, SentenceRecord]) -> None:
    service, image_id, sentence = captioned
    [added] = service.add_sentences([sentence.text])
    assert added.status == "duplicate"
    assert added.record == service.get_sentence(sentence.id)
    assert added.record.metadata == {f"caption_of_{image_id}": True}
    service.delete_image(image_id)
    assert service.get_sentence(sentence.id).metadata == {}


def test_captions_that_cannot_be_removed_go_later(
    captioned: tuple[Service, str, SentenceRecord], open_service: Callable[..., Service]
) -> None:
    service, image_id, _ = captioned

    def busy(self: Library, id: str) -> None:
        raise LibraryBusy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "delete_sentence", busy)
        service.delete_image(image_id)
    assert service.library.stats().sentences == 1
    service.close()
    with open_service(space=service.space) as reopened:
        assert reopened.library.stats().sentences == 0
        assert list((reopened.settings.library / "forgetting").iterdir()) == []


def test_an_image_that_cannot_be_deleted_keeps_its_captions(captioned: tuple[Service, str, SentenceRecord]) -> None:
    service, image_id, sentence = captioned

    def busy(self: Library, id: str) -> None:
        raise LibraryBusy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "delete_image", busy)
        with pytest.raises(LibraryBusy):
            service.delete_image(image_id)
    service.captions_stored.finish()
    assert service.captions_stored.of(image_id) == [sentence]
    service.delete_image(image_id)
    assert service.library.stats().sentences == 0


def test_captions_need_a_captioner(connect: Callable[..., TestClient], silent_space: JointSpace) -> None:
    client = connect(space=silent_space)
    data = {"mode": "generate", "strategy": "sample", "seed": "1", "structure": "a man rides a horse"}
    problem = assert_problem(
        client.post("/v1/captions", files={"image": ("a.jpg", picture(1))}, data=data), 501, "captioner_missing"
    )
    assert "retrieve" in problem["detail"]
    assert caption(client, picture(1)) == {"mode": "retrieve", "captions": []}
    response = client.post("/v1/images", files={"files": ("a.jpg", picture(1))}, data={"captions": "1"})
    assert_problem(response, 501, "captioner_missing")
    response = client.post("/v1/images", files={"files": ("a.jpg", picture(1))}, data={"captions": "21"})
    assert refused_fields(response) == ["captions"]
