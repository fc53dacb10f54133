"""Storing, listing and deleting sentences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.app.helpers import assert_problem, refused_fields


def total(client: TestClient) -> int:
    count: int = client.get("/v1/sentences").json()["total"]
    return count


def test_storing_one_and_several(client: TestClient) -> None:
    answer = client.post("/v1/sentences", json={"text": "  A dog\n runs. ", "metadata": {"source": "me"}}).json()
    (result,) = answer["results"]
    assert result["status"] == "created"
    assert result["sentence"]["text"] == "A dog runs."
    assert result["sentence"]["metadata"] == {"source": "me"}
    answer = client.post("/v1/sentences", json={"texts": ["A dog runs.", "A black cat.", "A black cat."]}).json()
    assert [one["status"] for one in answer["results"]] == ["duplicate", "created", "duplicate"]
    assert answer["results"][0]["sentence"] == result["sentence"]
    assert (answer["created"], answer["duplicates"], answer["rejected"]) == (1, 2, 0)
    assert total(client) == 2


def test_unknown_words_are_reported_and_sentences_without_a_known_one_rejected(client: TestClient) -> None:
    answer = client.post("/v1/sentences", json={"texts": ["a dog xqztw", "xqztw qqqzz"]}).json()
    assert [one["status"] for one in answer["results"]] == ["created", "rejected"]
    assert answer["results"][0]["unknown_words"] == ["xqztw"]
    assert answer["results"][1]["code"] == "no_known_words"
    assert "xqztw" in answer["results"][1]["reason"]
    problem = assert_problem(client.post("/v1/sentences", json={"text": "xqztw"}), 422, "sentences_rejected")
    assert problem["errors"] == [{"text": "xqztw", "code": "no_known_words", "reason": problem["errors"][0]["reason"]}]
    assert total(client) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "a dog", "language": "en"}, "language"),
        ({"text": ""}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": 3}, "text"),
        ({"text": "x" * 1001}, "text"),
        ({"texts": []}, "texts"),
        ({"texts": ["a dog", ""]}, "texts[1]"),
        ({"text": "a", "texts": ["b"]}, "body"),
        ({}, "body"),
        ({"text": "a dog", "metadata": []}, "metadata"),
        ({"text": "a dog", "metadata": {"": 1}}, "metadata"),
    ],
)
def test_bad_bodies_are_refused_and_nothing_is_stored(client: TestClient, body: object, field: str) -> None:
    assert refused_fields(client.post("/v1/sentences", json=body)) == [field]
    assert total(client) == 0


def test_lone_surrogates_are_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/sentences", content=b'{"text": "a dog \\ud800"}', headers=headers)
    assert refused_fields(response) == ["text"]


def test_too_many_texts_are_refused(connect: Callable[..., TestClient]) -> None:
    client = connect(max_texts=2)
    assert refused_fields(client.post("/v1/sentences", json={"texts": ["a dog", "a cat", "a car"]})) == ["texts"]


def test_listing_filtering_reading_and_deleting(client: TestClient) -> None:
    for number in range(3):
        body = {"text": f"a dog and {number} cats", "metadata": {"number": number}}
        assert client.post("/v1/sentences", json=body).status_code == 200
    page = client.get("/v1/sentences?limit=2").json()
    assert [item["metadata"]["number"] for item in page["items"]] == [2, 1]
    rest = client.get("/v1/sentences", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [item["metadata"]["number"] for item in rest["items"]] == [0]
    assert rest["next_cursor"] is None
    (one,) = client.get("/v1/sentences?metadata.number=1").json()["items"]
    assert client.get(f"/v1/sentences/{one['id']}").json() == one
    assert client.delete(f"/v1/sentences/{one['id']}").status_code == 204
    assert_problem(client.get(f"/v1/sentences/{one['id']}"), 404, "record_not_found")
    assert_problem(client.delete(f"/v1/sentences/{one['id']}"), 404, "record_not_found")
    assert total(client) == 2
