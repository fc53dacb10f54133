"""Describing images with the sentences of the library."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.helpers import assert_problem, picture, refused_fields


def test_captions_of_an_upload_are_the_nearest_sentences(stocked: TestClient, photos: dict[str, bytes]) -> None:
    files = {"image": ("cat.jpg", photos["cat"])}
    response = stocked.post("/v1/captions", files=files, data={"n": "3", "mode": "retrieve"})
    assert response.status_code == 200
    answer = response.json()
    assert answer["mode"] == "retrieve"
    assert len(answer["captions"]) == 3
    scores = [caption["score"] for caption in answer["captions"]]
    assert scores == sorted(scores, reverse=True)
    for caption in answer["captions"]:
        assert caption["score"] == caption["similarity"]
        assert caption["fluency"] is None
        stored = stocked.get(f"/v1/sentences/{caption['sentence_id']}").json()
        assert stored["text"] == caption["text"]
    assert stocked.get("/v1/images").json()["total"] == 10


def test_captions_of_a_stored_image_agree(stocked: TestClient, photos: dict[str, bytes]) -> None:
    items = stocked.get("/v1/images?metadata.name=cat").json()["items"]
    stored = stocked.post("/v1/captions", json={"image_id": items[0]["id"], "mode": "retrieve"}).json()
    uploaded = stocked.post("/v1/captions", files={"image": ("x.jpg", photos["cat"])}, data={"mode": "retrieve"}).json()
    assert [one["text"] for one in stored["captions"]] == [one["text"] for one in uploaded["captions"]]


def test_without_sentences_there_are_no_captions(client: TestClient) -> None:
    response = client.post("/v1/captions", files={"image": ("a.jpg", picture(1))}, data={"mode": "retrieve"})
    assert response.json() == {"mode": "retrieve", "captions": []}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n": 0}, "n"),
        ({"n": 51}, "n"),
        ({"mode": "invent"}, "mode"),
        ({"strategy": "greedy"}, "strategy"),
        ({"structure": ""}, "structure"),
        ({"structure": "x" * 1001}, "structure"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_bad_fields_are_named(stocked: TestClient, fields: dict[str, Any], field: str) -> None:
    assert refused_fields(stocked.post("/v1/captions", json={"image_id": "x", **fields})) == [field]
    data = {name: str(value) for name, value in fields.items()}
    response = stocked.post("/v1/captions", files={"image": ("a.jpg", picture(1))}, data=data)
    assert refused_fields(response) == [field]


def test_other_bad_requests(stocked: TestClient) -> None:
    assert refused_fields(stocked.post("/v1/captions", json={})) == ["image_id"]
    assert_problem(stocked.post("/v1/captions", json={"image_id": "nothere"}), 404, "record_not_found")
    assert_problem(stocked.post("/v1/captions"), 415, "unsupported_media_type")
    headers = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        response = stocked.post("/v1/captions", content=content, headers=headers)
        assert_problem(response, 400, "malformed_body")
    assert_problem(stocked.post("/v1/captions", files={"image": ("a.jpg", b"junk")}), 422, "image_unreadable")
