"""Written captions: on request, and in the background for images of the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from app.embedding.fairness import ShuttingDown
from app.ingest.pipeline import IncomingFile
from app.main import create_app
from app.service import Service
from index import SentenceRecord, StorageFailed
from model.captioner import Captioner
from model.errors import BundleError
from model.space import JointSpace
from tests.app.helpers import ADDRESS, assert_problem, encode, picture, refused_fields, store


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


def stored(client: TestClient, image_id: str) -> list[Any]:
    response = client.get(f"/v1/images/{image_id}/captions")
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["captions"]
    return found


def test_new_images_get_captions_in_the_background(connect: Callable[..., TestClient]) -> None:
    client = connect(caption_images=2)
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    image_id = store(client, "a.jpg", picture(1))
    plain = store(client, "b.jpg", picture(2), captions="0")
    service.wait_for_captions()
    written = stored(client, image_id)
    assert len(written) == 2
    assert all(one["origin"] == "captioner" for one in written)
    for one in written:
        assert client.get(f"/v1/sentences/{one['sentence_id']}").json()["metadata"] == {"origin": "captioner"}
    assert client.get("/v1/sentences", params={"metadata.origin": "captioner"}).json()["total"] == 2
    assert not stored(client, plain)
    best = caption(client, picture(1), n="2")["captions"]
    assert [one["text"] for one in best] == [one["text"] for one in written]
    scores = [one["score"] for one in written]
    assert scores == pytest.approx([one["score"] for one in best], abs=0.01)  # stored vectors are rounded
    hits = client.get("/v1/search", params={"q": best[0]["text"], "target": "sentences"}).json()["hits"]
    assert hits[0]["text"] == best[0]["text"]
    assert client.delete(f"/v1/images/{image_id}").status_code == 204
    assert_problem(client.get(f"/v1/images/{image_id}/captions"), 404, "record_not_found")
    assert client.get("/v1/sentences").json()["total"] == 0


@pytest.fixture
def captioned(open_service: Callable[..., Service]) -> tuple[Service, str, SentenceRecord]:
    """A service with one image and its caption: the service, the image's id, the sentence."""
    service = open_service()
    [result] = service.ingest([IncomingFile("a.jpg", picture(1))], captions=1)
    service.wait_for_captions()
    assert result.record is not None
    [one] = service.library.captions.of(result.record.id)
    return service, result.record.id, one.sentence


def test_a_caption_that_somebody_stores_becomes_their_own(captioned: tuple[Service, str, SentenceRecord]) -> None:
    service, image_id, sentence = captioned
    [added] = service.add_sentences([sentence.text])
    assert added.status == "duplicate"
    assert added.record == service.get_sentence(sentence.id)
    assert added.record.metadata == {}
    [one] = service.library.captions.of(image_id)
    assert (one.sentence.id, one.origin) == (sentence.id, "captioner")
    service.delete_image(image_id)
    assert service.get_sentence(sentence.id).metadata == {}


def test_captions_stay_owed_until_they_are_written(open_service: Callable[..., Service]) -> None:
    """A service that stops, or fails, before it has written them leaves them to the next one."""
    service = open_service()

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Captioner, "caption", fail)
        ids = [
            result.record.id
            for result in service.ingest([IncomingFile(f"{n}.jpg", picture(n)) for n in (1, 2, 3)], captions=2)
            if result.record is not None
        ]
        service.wait_for_captions()
        assert service.library.captions.owed() == 3
        service.delete_image(ids.pop())
        assert service.library.captions.owed() == 2
        service.close()
    with TestClient(create_app(service=open_service()), base_url=ADDRESS) as client:
        again: Service = client.app.state.service  # type: ignore[attr-defined]
        assert again.library.captions.retry() == 2
        again.captions_kept.wake()
        again.wait_for_captions()
        assert again.library.captions.owed() == 0
        assert [len(stored(client, image_id)) for image_id in ids] == [2, 2]


def test_an_image_whose_captions_always_fail_is_given_up(
    open_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rests longer after each failure, keeps no other image back, and is attempted again when somebody asks."""
    service = open_service()
    caption_images = Captioner.caption
    bad: list[Any] = []

    def caption(self: Captioner, images: Any, *arguments: Any, **options: Any) -> Any:
        if any(np.array_equal(image, bad[0]) for image in images):
            raise ZeroDivisionError
        return caption_images(self, images, *arguments, **options)

    rests: list[tuple[float, bool]] = []
    release = type(service.library.captions).release

    def released(self: Any, image_ids: Any, seconds: float, *, counted: bool) -> None:
        rests.append((seconds, counted))
        release(self, image_ids, 0.0, counted=counted)

    with monkeypatch.context() as patch:
        patch.setattr(Captioner, "caption", caption)
        patch.setattr(type(service.library.captions), "release", released)
        with monkeypatch.context() as hold:
            hold.setattr(service.captions_kept, "wake", lambda: None)
            ids = [
                result.record.id
                for result in service.ingest([IncomingFile(f"{n}.jpg", picture(n)) for n in (1, 2, 3)], captions=2)
                if result.record is not None
            ]
        bad.extend(service.library.image_vectors(ids[1:2]))
        service.captions_kept.wake()
        service.wait_for_captions()
        assert rests == [(120, True), (240, True), (480, True), (960, True), (0, True)]
        stats = service.stats()
        assert (stats.captions_owed, stats.captions_given_up) == (0, 1)
        assert [len(service.image_captions(image_id)) for image_id in ids] == [2, 0, 2]
        service.captions_kept.wake()
        service.wait_for_captions()
        assert len(rests) == 5
    assert service.library.captions.retry() == 1
    service.captions_kept.wake()
    service.wait_for_captions()
    assert [len(service.image_captions(image_id)) for image_id in ids] == [2, 2, 2]
    stats = service.stats()
    assert (stats.captions_owed, stats.captions_given_up) == (0, 0)


@pytest.mark.parametrize(
    "error",
    [
        ShuttingDown(),
        StorageFailed(Path("catalog.sqlite"), "the disk is full"),
        BundleError("bundle_corrupted", "captioner.safetensors has changed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_an_images_fault_is_not_counted(
    open_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    service = open_service()

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(type(service.library.captions), "add", fail)
        list(service.ingest([IncomingFile("1.jpg", picture(1))], captions=1))
        service.wait_for_captions()
    service.close()
    again = open_service()
    [owed] = again.library.captions.claim(1, 0) or [None]
    if isinstance(error, ShuttingDown):
        assert owed is not None
        assert owed.attempt == 1
    else:
        assert owed is None  # for the time of a lease
        assert again.library.captions.retry() == 0
    assert again.library.captions.owed() == 1


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
