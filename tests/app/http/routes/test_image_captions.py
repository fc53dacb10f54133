"""The captions of stored images: listed, set by people, deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.service import Service
from index import NewCaption
from model.space import JointSpace
from tests.app.helpers import assert_problem, picture, refused_fields, store
from tests.words import WORDS


@pytest.fixture
def tiny(connect: Callable[..., TestClient], silent_space: JointSpace) -> TestClient:
    return connect(space=silent_space)


@pytest.fixture
def words() -> list[str]:
    """Words that the model knows."""
    return WORDS.split()[7:15]


def put(client: TestClient, image_id: str, *texts: str) -> list[tuple[str, str]]:
    response = client.put(f"/v1/images/{image_id}/captions", json={"captions": list(texts)})
    assert response.status_code == 200, response.text
    assert response.json() == client.get(f"/v1/images/{image_id}/captions").json()
    return [(one["text"], one["origin"]) for one in response.json()["captions"]]


def generate(client: TestClient, image_id: str, *texts: str) -> None:
    """Store captions as the captioner does."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    vectors = service.space.embed_texts(list(texts))
    news = [NewCaption(text, vector, 0.5) for text, vector in zip(texts, vectors, strict=True)]
    service.library.captions.add(image_id, news)


def sentences(client: TestClient) -> dict[str, Any]:
    return {one["text"]: one["metadata"] for one in client.get("/v1/sentences").json()["items"]}


def test_people_set_their_own(tiny: TestClient, words: list[str]) -> None:
    image_id = store(tiny, "a.jpg", picture(1))
    assert put(tiny, image_id) == []
    assert put(tiny, image_id, words[0], f" {words[1]}\n{words[2]} ") == [
        (words[0], "user"),
        (f"{words[1]} {words[2]}", "user"),
    ]
    assert put(tiny, image_id, words[3], words[0], words[3]) == [(words[3], "user"), (words[0], "user")]
    assert put(tiny, image_id, words[3], words[0]) == [(words[3], "user"), (words[0], "user")]
    assert set(sentences(tiny)) == {words[0], f"{words[1]} {words[2]}", words[3]}
    assert put(tiny, image_id) == []
    assert len(sentences(tiny)) == 3


def test_they_stand_before_those_of_the_captioner_and_outlive_the_image(tiny: TestClient, words: list[str]) -> None:
    image_id, other = store(tiny, "a.jpg", picture(1)), store(tiny, "b.jpg", picture(2))
    generate(tiny, image_id, words[0], words[1], words[2])
    generate(tiny, other, words[2])
    assert put(tiny, image_id, words[4], words[1]) == [
        (words[4], "user"),
        (words[1], "user"),
        (words[0], "captioner"),
        (words[2], "captioner"),
    ]
    generated = {"origin": "captioner"}
    assert sentences(tiny) == {words[0]: generated, words[1]: {}, words[2]: generated, words[4]: {}}
    assert tiny.delete(f"/v1/images/{image_id}").status_code == 204
    assert sentences(tiny) == {words[1]: {}, words[2]: generated, words[4]: {}}
    assert tiny.delete(f"/v1/images/{other}").status_code == 204
    assert sentences(tiny) == {words[1]: {}, words[4]: {}}


@pytest.mark.parametrize(
    ("query", "captions", "left"),
    [({}, [], [2]), ({"origin": "captioner"}, [2], [2]), ({"origin": "user"}, [0, 1], [0, 1, 2])],
)
def test_they_are_deleted_by_origin_or_all(
    tiny: TestClient, words: list[str], query: dict[str, str], captions: list[int], left: list[int]
) -> None:
    image_id = store(tiny, "a.jpg", picture(1))
    generate(tiny, image_id, words[0], words[1])
    put(tiny, image_id, words[2])
    path = f"/v1/images/{image_id}/captions"
    for _ in range(2):
        assert tiny.delete(path, params=query).status_code == 204
    assert [one["text"] for one in tiny.get(path).json()["captions"]] == [words[at] for at in captions]
    assert set(sentences(tiny)) == {words[at] for at in left}


def test_a_deleted_sentence_is_no_caption_any_more(tiny: TestClient, words: list[str]) -> None:
    image_id = store(tiny, "a.jpg", picture(1))
    put(tiny, image_id, words[0], words[1])
    first, second = tiny.get(f"/v1/images/{image_id}/captions").json()["captions"]
    assert tiny.delete(f"/v1/sentences/{first['sentence_id']}").status_code == 204
    assert tiny.get(f"/v1/images/{image_id}/captions").json()["captions"] == [second]


def test_what_cannot_be_set_changes_nothing(tiny: TestClient, words: list[str]) -> None:
    image_id = store(tiny, "a.jpg", picture(1))
    put(tiny, image_id, words[0])
    path = f"/v1/images/{image_id}/captions"
    problem = assert_problem(tiny.put(path, json={"captions": [words[1], "xqzt"]}), 422, "sentences_rejected")
    assert [one["code"] for one in problem["errors"]] == ["no_known_words"]
    assert refused_fields(tiny.put(path, json={"captions": [words[0]] * 257})) == ["captions"]
    assert refused_fields(tiny.put(path, json={"captions": [" "]})) == ["captions[0]"]
    assert refused_fields(tiny.put(path, json={})) == ["captions"]
    assert refused_fields(tiny.delete(path, params={"origin": "nobody"})) == ["origin"]
    assert [one["text"] for one in tiny.get(path).json()["captions"]] == [words[0]]
    assert set(sentences(tiny)) == {words[0]}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_image_is_not_found(tiny: TestClient, method: str) -> None:
    body = {"json": {"captions": []}} if method == "PUT" else {}
    assert_problem(tiny.request(method, "/v1/images/nowhere/captions", **body), 404, "record_not_found")
