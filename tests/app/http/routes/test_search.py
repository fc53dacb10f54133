"""Searching with sentences, expressions and images."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.helpers import assert_problem, picture, refused_fields, store


def search(client: TestClient, q: str, **parameters: Any) -> dict[str, Any]:
    response = client.get("/v1/search", params={"q": q, **parameters})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


@pytest.fixture(scope="module")
def stored(stocked: TestClient) -> dict[str, str]:
    """Ids of the stored photographs by name."""
    items = stocked.get("/v1/images?limit=100").json()["items"]
    return {item["metadata"]["name"]: item["id"] for item in items}


def test_hits_are_records_with_scores_best_first(stocked: TestClient, stored: dict[str, str]) -> None:
    answer = search(stocked, "a black cat", k=5)
    assert answer["query"] == "a black cat"
    assert answer["target"] == "images"
    assert answer["unknown_words"] == []
    assert len(answer["hits"]) == 5
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    first = answer["hits"][0]
    record = stocked.get(f"/v1/images/{first['id']}").json()
    found = {key: first[key] for key in first if key not in {"score", "confidence", "explanation"}}
    assert {**found, "files": []} == record


def test_sentences_are_found_too(stocked: TestClient, stored: dict[str, str]) -> None:
    answer = search(stocked, "a dog runs on the beach", target="sentences", k=2)
    assert answer["hits"][0]["kind"] == "sentence"
    assert answer["hits"][0]["text"] == "a dog runs on the beach"
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    by_image = search(stocked, f"image:{stored['cat']}", target="sentences", k=10)
    assert len(by_image["hits"]) == 4


def test_pages_of_hits_are_the_whole_in_pieces(stocked: TestClient) -> None:
    for q in ("a dog", "a dog - cat + red"):
        whole = ids(search(stocked, q, k=100))
        pieces: list[str] = []
        cursor: str | None = None
        while True:
            page = search(stocked, q, k=3, **({"cursor": cursor} if cursor else {}))
            pieces += ids(page)
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert pieces == whole
        assert len(pieces) == 10


def test_a_cursor_belongs_to_its_query(stocked: TestClient) -> None:
    cursor = search(stocked, "a dog", k=2)["next_cursor"]
    response = stocked.get("/v1/search", params={"q": "a cat", "k": 2, "cursor": cursor})
    assert_problem(response, 422, "invalid_cursor")


def test_images_which_the_query_names_are_left_out_unless_asked_for(
    stocked: TestClient, stored: dict[str, str]
) -> None:
    q = f"image:{stored['cat']} - black + white"
    assert stored["cat"] not in ids(search(stocked, q, k=100))
    assert len(search(stocked, q, k=100)["hits"]) == 9
    included = search(stocked, f"image:{stored['cat']}", k=1, include_query_items="true")
    assert ids(included) == [stored["cat"]]
    assert included["hits"][0]["score"] == pytest.approx(1, abs=1e-3)


def test_named_sentences_are_operands_and_left_out(stocked: TestClient) -> None:
    sentence = search(stocked, "a black cat", target="sentences", k=1)["hits"][0]
    q = f"sentence:{sentence['id']}"
    assert sentence["id"] not in ids(search(stocked, q, target="sentences"))
    found = search(stocked, q, target="sentences", include_query_items="true", k=1)
    assert ids(found) == [sentence["id"]]
    assert len(search(stocked, q, k=100)["hits"]) == 10


def test_arithmetic_moves_the_query(stocked: TestClient) -> None:
    plain = search(stocked, "red car", k=100)
    changed = search(stocked, "red car - red + white", k=100)
    assert changed["query"] == "red car - red + white"
    assert [hit["score"] for hit in plain["hits"]] != [hit["score"] for hit in changed["hits"]]
    minus = search(stocked, "red car \u2212 red + white", k=100)
    assert ids(minus) == ids(changed)


def test_terms_mean_the_same_as_the_expression(stocked: TestClient, stored: dict[str, str]) -> None:
    answer = search(stocked, f"image:{stored['cat']} - 0.5 * black + white cat", k=5)
    body = {
        "terms": [
            {"image_id": stored["cat"]},
            {"text": "black", "weight": -0.5},
            {"text": "white cat", "weight": 1},
        ],
        "k": 5,
    }
    assert stocked.post("/v1/search", json=body).json() == answer
    sentence = search(stocked, "a dog on the beach", k=5)
    assert stocked.post("/v1/search", json={"terms": [{"text": "a dog on the beach"}], "k": 5}).json() == sentence


def test_terms_need_no_syntax(stocked: TestClient) -> None:
    answer = stocked.post("/v1/search", json={"terms": [{"text": "black - white photo"}]}).json()
    assert answer["query"] == '"black - white photo"'
    assert ids(search(stocked, '"black - white photo"')) == ids(answer)


def test_an_uploaded_image_finds_itself_and_stores_nothing(
    stocked: TestClient, stored: dict[str, str], photos: dict[str, bytes]
) -> None:
    files = {"image": ("mine.jpg", photos["coffee"])}
    answer = stocked.post("/v1/search/image", files=files, data={"k": "3"}).json()
    assert ids(answer)[0] == stored["coffee"]
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert answer["query"] is None
    new = stocked.post("/v1/search/image", files={"image": ("new.jpg", picture(7))}, data={"k": "3"})
    assert len(new.json()["hits"]) == 3
    assert stocked.get("/v1/images").json()["total"] == 10


def test_an_uploaded_image_and_an_expression_add_up(
    stocked: TestClient, stored: dict[str, str], photos: dict[str, bytes]
) -> None:
    files = {"image": ("mine.jpg", photos["cat"])}
    data = {"q": "- black + white", "k": "100", "include_query_items": "true"}
    answer = stocked.post("/v1/search/image", files=files, data=data).json()
    named = search(stocked, f"image:{stored['cat']} - black + white", k=100, include_query_items=True)
    assert answer["query"] == "- black + white"
    scores = {hit["id"]: hit["score"] for hit in named["hits"]}
    assert {hit["id"]: hit["score"] for hit in answer["hits"]} == pytest.approx(scores, abs=0.01)


def test_an_image_search_pages(stocked: TestClient) -> None:
    files = {"image": ("new.jpg", picture(8))}
    whole = ids(stocked.post("/v1/search/image", files=files, data={"k": "100"}).json())
    first = stocked.post("/v1/search/image", files=files, data={"k": "6"}).json()
    data = {"k": "6", "cursor": first["next_cursor"]}
    second = stocked.post("/v1/search/image", files=files, data=data).json()
    assert ids(first) + ids(second) == whole
    assert second["next_cursor"] is None


def test_filters_and_minimum_score(stocked: TestClient, stored: dict[str, str]) -> None:
    c_names = {stored[name] for name in stored if name.startswith("c")}
    assert set(ids(search(stocked, "a dog", k=100, **{"metadata.initial": "c"}))) == c_names
    body = {"terms": [{"text": "a dog"}], "k": 100, "filters": {"initial": "c"}}
    assert set(ids(stocked.post("/v1/search", json=body).json())) == c_names
    files = {"image": ("new.jpg", picture(8))}
    answer = stocked.post("/v1/search/image", files=files, data={"k": "100", "metadata.initial": "c"}).json()
    assert set(ids(answer)) == c_names
    scores = [hit["score"] for hit in search(stocked, "a dog", k=100)["hits"]]
    middle = (scores[4] + scores[5]) / 2
    assert len(search(stocked, "a dog", k=100, min_score=middle)["hits"]) == 5


def test_numbers_and_flags_in_json_filters(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1), metadata='{"year": 2024, "good": true, "score": 1.5}')
    store(client, "b.jpg", picture(2), metadata='{"year": 2023, "good": false, "score": 2}')
    for filters in ({"year": 2024}, {"year": "2024"}, {"good": True}, {"score": 1.5}):
        body = {"terms": [{"text": "a dog"}], "filters": filters}
        assert ids(client.post("/v1/search", json=body).json()) == [image_id]


def test_unknown_words_are_reported_or_refused(stocked: TestClient) -> None:
    assert search(stocked, "a xqztw dog qqqzz")["unknown_words"] == ["xqztw", "qqqzz"]
    assert search(stocked, "a dog - black xqztw")["unknown_words"] == ["xqztw"]
    for q in ("xqztw", "a dog - xqztw"):
        problem = assert_problem(stocked.get("/v1/search", params={"q": q}), 422, "no_known_words")
        assert problem["unknown_words"] == ["xqztw"]
        assert "xqztw" in problem["detail"]


@pytest.mark.parametrize(
    ("q", "code"),
    [
        ("dog - dog", "degenerate_query"),
        ("dog - 0.5 * dog - 0.5 * dog", "degenerate_query"),
        ("dog - + cat", "invalid_query"),
        ("dog -", "invalid_query"),
        ('"dog', "invalid_query"),
        ("", "invalid_query"),
        ("   ", "invalid_query"),
        ("x" * 1001, "invalid_query"),
        (" + ".join(["dog"] * 33), "invalid_query"),
        ("2 * 2 * dog", "invalid_query"),
        ("...", "empty_text"),
    ],
)
def test_queries_without_a_meaning(stocked: TestClient, q: str, code: str) -> None:
    problem = assert_problem(stocked.get("/v1/search", params={"q": q}), 422, code)
    if code == "invalid_query":
        assert isinstance(problem["column"], int)


def test_an_image_minus_itself_is_degenerate(stocked: TestClient, stored: dict[str, str]) -> None:
    q = f"image:{stored['cat']} - image:{stored['cat']}"
    assert_problem(stocked.get("/v1/search", params={"q": q}), 422, "degenerate_query")


def test_operands_which_do_not_exist(stocked: TestClient) -> None:
    problem = assert_problem(stocked.get("/v1/search", params={"q": "image:nothere"}), 404, "record_not_found")
    assert (problem["kind"], problem["id"]) == ("image", "nothere")
    problem = assert_problem(stocked.get("/v1/search", params={"q": "sentence:nothere"}), 404, "record_not_found")
    assert problem["kind"] == "sentence"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"k": 0}, "k"),
        ({"k": -1}, "k"),
        ({"k": 201}, "k"),
        ({"k": "ten"}, "k"),
        ({"k": 1.5}, "k"),
        ({"target": "videos"}, "target"),
        ({"min_score": "nan"}, "min_score"),
        ({"min_score": 2}, "min_score"),
        ({"include_query_items": "perhaps"}, "include_query_items"),
        ({"limit": 3}, "limit"),
        ({"Q": "x"}, "Q"),
    ],
)
def test_bad_parameters_are_named_wherever_they_come_from(
    stocked: TestClient, parameters: dict[str, Any], field: str
) -> None:
    response = stocked.get("/v1/search", params={"q": "a dog", **parameters})
    assert refused_fields(response) == [field]
    files = {"image": ("a.jpg", picture(1))}
    data = {name: str(value) for name, value in parameters.items()}
    assert refused_fields(stocked.post("/v1/search/image", files=files, data=data)) == [field]
    if parameters.get("min_score") != "nan":
        body = {"terms": [{"text": "a dog"}], **parameters}
        assert refused_fields(stocked.post("/v1/search", json=body)) == [field]


def test_q_is_required_once(stocked: TestClient) -> None:
    assert refused_fields(stocked.get("/v1/search")) == ["q"]
    assert refused_fields(stocked.get("/v1/search?q=a&q=b")) == ["q"]


@pytest.mark.parametrize(
    ("term", "field"),
    [
        ({}, "terms[0]"),
        ({"text": "a", "image_id": "b"}, "terms[0]"),
        ({"text": "a", "weight": 0}, "terms[0]"),
        ({"text": "a", "weight": 1e9}, "terms[0].weight"),
        ({"text": "a", "weight": "heavy"}, "terms[0].weight"),
        ({"image_id": "a b"}, "terms[0]"),
        ({"text": ""}, "terms[0].text"),
        ({"text": "a", "colour": "red"}, "terms[0].colour"),
    ],
)
def test_bad_terms_are_named(stocked: TestClient, term: dict[str, Any], field: str) -> None:
    assert refused_fields(stocked.post("/v1/search", json={"terms": [term]})) == [field]


@pytest.mark.parametrize("terms", [[], [{"text": "a"}] * 33, None, "a dog"])
def test_bad_lists_of_terms_are_refused(stocked: TestClient, terms: object) -> None:
    assert refused_fields(stocked.post("/v1/search", json={"terms": terms})) == ["terms"]


def test_bad_uploads_to_search(stocked: TestClient) -> None:
    files: Any = {"image": ("a.jpg", b"")}
    assert_problem(stocked.post("/v1/search/image", files=files), 422, "image_empty")
    files = {"image": ("a.jpg", b"no image")}
    assert_problem(stocked.post("/v1/search/image", files=files), 422, "image_unreadable")
    two = [("image", ("a.jpg", picture(1))), ("image", ("b.jpg", picture(2)))]
    assert_problem(stocked.post("/v1/search/image", files=two), 413, "too_many_files")
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert refused_fields(stocked.post("/v1/search/image", content=b"--b--\r\n", headers=headers)) == ["image"]
    files = {"image": ("a.jpg", picture(1))}
    problem = stocked.post("/v1/search/image", files=files, data={"q": "- + red"})
    assert assert_problem(problem, 422, "invalid_query")["column"] == 3


def test_an_empty_library_has_no_hits(client: TestClient) -> None:
    answer = search(client, "a dog")
    assert answer["hits"] == []
    assert answer["next_cursor"] is None
