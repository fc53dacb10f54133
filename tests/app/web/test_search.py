"""The search page and its results."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from tests.app.helpers import assert_problem

FIRST = re.compile(r'data-id="(\w+)"')


def ids(client: TestClient, **parameters: str) -> list[str]:
    response = client.get("/results", params=parameters)
    assert response.status_code == 200, response.text
    return FIRST.findall(response.text)


def test_results_are_those_of_the_api(stocked: TestClient) -> None:
    for q in ("a black cat", "cat - dog", "2 * flower + red"):
        hits = stocked.get("/v1/search", params={"q": q, "k": 60}).json()["hits"]
        assert ids(stocked, q=q) == [hit["id"] for hit in hits]


def test_sentences(stocked: TestClient) -> None:
    text = stocked.get("/results", params={"q": "a dog", "target": "sentences"}).text
    assert text.index("a dog runs on the beach") < text.index("a man on a red car")


def test_filters_narrow_and_can_be_removed(stocked: TestClient) -> None:
    assert len(ids(stocked, **{"metadata.name": "cat"})) == 1
    text = stocked.get("/", params={"metadata.name": "nothing"}).text
    assert "Nothing found." in text
    assert "0 photographs</p>" in text  # and not in an order
    assert 'aria-label="Remove the filter name"' in text


def test_unknown_words_are_told(stocked: TestClient) -> None:
    text = stocked.get("/results", params={"q": "a xqztl cat"}).text
    assert 'data-unknown="xqztl"' in text
    nothing_known = stocked.get("/results", params={"q": "xqztl"}).text
    assert 'class="problem"' in nothing_known
    assert 'data-unknown="xqztl"' in nothing_known


def test_a_half_typed_expression_only_changes_the_message(stocked: TestClient) -> None:
    response = stocked.get("/results", params={"q": "cat -"})
    assert response.status_code == 200
    assert response.headers["hx-retarget"] == "#message"
    assert "Nothing follows" in response.text
    assert "(column" not in response.text  # which is for programs
    assert stocked.get("/", params={"q": "cat -"}).status_code == 422


def test_a_cursor_of_another_search_is_a_message(stocked: TestClient) -> None:
    response = stocked.get("/results", params={"q": "cat", "cursor": "nonsense"})
    assert response.status_code == 200
    assert "problem" in response.text


def test_a_held_picture_is_searched_with_and_shown(stocked: TestClient, photos: dict[str, bytes]) -> None:
    answer = stocked.post("/pictures", files={"image": ("x.jpg", photos["coffee"])})
    assert answer.status_code == 201
    token = answer.json()["picture"]
    shown = stocked.get(f"/pictures/{token}")
    assert shown.headers["content-type"] == "image/jpeg"
    found = ids(stocked, picture=token)
    names = {one["id"]: one["filename"] for one in stocked.get("/v1/images").json()["items"]}
    assert names[found[0]] == "coffee.jpg"
    assert ids(stocked, picture=token, q="- 3 * coffee + 3 * rocket") != found


def test_a_picture_that_is_not_held_is_told(stocked: TestClient) -> None:
    text = stocked.get("/results", params={"picture": "gone"}).text
    assert "Drop it here again" in text
    assert "your photograph" in text
    assert "/pictures/gone" not in text  # no broken picture


def test_what_is_no_picture_is_refused(stocked: TestClient) -> None:
    assert_problem(stocked.post("/pictures", files={"image": ("x.jpg", b"nothing")}), 422, "image_unreadable")
    assert_problem(stocked.post("/pictures", files={"other": ("x.jpg", b"nothing")}), 422, "invalid_request")
