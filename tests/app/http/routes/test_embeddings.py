"""Vectors of texts and images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model.space import JointSpace
from tests.app.helpers import assert_problem, picture, refused_fields


def test_texts(stocked: TestClient, space: JointSpace) -> None:
    texts = ["a dog runs", "a xqztw cat", "xqztw"]
    answer = stocked.post("/v1/embeddings", json={"texts": texts}).json()
    assert (answer["space"], answer["space_id"]) == (space.name, space.id)
    assert answer["dimension"] == space.dimension
    dog, cat, unknown = answer["items"]
    assert [item["text"] for item in answer["items"]] == texts
    np.testing.assert_allclose(dog["vector"], space.embed_texts(["a dog runs"])[0], atol=1e-5)
    assert np.linalg.norm(dog["vector"]) == pytest.approx(1, abs=1e-5)
    assert cat["unknown_words"] == ["xqztw"]
    assert (unknown["vector"], unknown["code"]) == (None, "no_known_words")
    assert "xqztw" in unknown["reason"]


def test_files(stocked: TestClient, photos: dict[str, bytes]) -> None:
    files = [
        ("files", ("cat.jpg", photos["cat"])),
        ("files", ("bad.jpg", b"junk")),
        ("files", ("b.jpg", picture(1))),
    ]
    answer = stocked.post("/v1/embeddings", files=files).json()
    assert [item["filename"] for item in answer["items"]] == ["cat.jpg", "bad.jpg", "b.jpg"]
    cat, bad, other = answer["items"]
    assert np.linalg.norm(cat["vector"]) == pytest.approx(1, abs=1e-5)
    assert len(other["vector"]) == answer["dimension"]
    assert (bad["vector"], bad["code"]) == (None, "image_unreadable")
    assert stocked.get("/v1/images").json()["total"] == 10


def test_many_files_keep_their_order(stocked: TestClient) -> None:
    files = [("files", (f"{number}.jpg", picture(number))) for number in range(18)]
    answer = stocked.post("/v1/embeddings", files=files).json()
    alone = stocked.post("/v1/embeddings", files=files[17:18]).json()
    np.testing.assert_allclose(answer["items"][17]["vector"], alone["items"][0]["vector"], atol=1e-4)


def test_nothing_embedded_is_a_problem(stocked: TestClient) -> None:
    problem = assert_problem(stocked.post("/v1/embeddings", json={"texts": ["xqztw"]}), 422, "texts_rejected")
    assert problem["errors"][0]["text"] == "xqztw"
    assert problem["errors"][0]["code"] == "no_known_words"
    files = {"files": ("bad.jpg", b"junk")}
    problem = assert_problem(stocked.post("/v1/embeddings", files=files), 422, "images_rejected")
    assert problem["errors"][0]["filename"] == "bad.jpg"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "texts"),
        ({"texts": []}, "texts"),
        ({"texts": "a dog"}, "texts"),
        ({"texts": [1]}, "texts[0]"),
        ({"texts": ["a"], "model": "x"}, "model"),
    ],
)
def test_bad_bodies_are_refused(stocked: TestClient, body: object, field: str) -> None:
    assert refused_fields(stocked.post("/v1/embeddings", json=body)) == [field]


def test_bad_forms_are_refused(stocked: TestClient) -> None:
    files = {"files": ("a.jpg", picture(1))}
    assert refused_fields(stocked.post("/v1/embeddings", files=files, data={"texts": "a"})) == ["texts"]
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert refused_fields(stocked.post("/v1/embeddings", content=b"--b--\r\n", headers=headers)) == ["files"]


def test_limits(connect: Callable[..., TestClient]) -> None:
    client = connect(max_texts=1, max_files=1, max_json_bytes=2048)
    assert refused_fields(client.post("/v1/embeddings", json={"texts": ["a dog", "a cat"]})) == ["texts"]
    files = [("files", ("a.jpg", picture(1))), ("files", ("b.jpg", picture(2)))]
    assert_problem(client.post("/v1/embeddings", files=files), 413, "too_many_files")
    assert_problem(client.post("/v1/embeddings", json={"texts": ["x" * 3000]}), 413, "request_too_large")
