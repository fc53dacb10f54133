"""Lists of images: pages, filters, cursors."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.app.helpers import (
    assert_problem,
    picture,
    refused_fields,
    store,
)


def test_listing_pages_newest_first_with_concepts(client: TestClient) -> None:
    ids = [store(client, f"{number}.jpg", picture(number)) for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for size in (2, 2, 1):
        page = client.get("/v1/images", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        assert page["total"] == 5
        assert len(page["items"]) == size
        for item in page["items"]:
            scores = [concept["score"] for concept in item["concepts"]]
            assert len(scores) == 8
            assert scores == sorted(scores, reverse=True)
            assert all(concept["word"] for concept in item["concepts"])
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == ids[::-1]


def test_listing_with_filters(client: TestClient) -> None:
    a = store(client, "a.jpg", picture(1), metadata='{"album": "one", "year": 2024, "good": true}')
    store(client, "b.jpg", picture(2), metadata='{"album": "two", "year": 2024}')

    def found(query: str) -> list[str]:
        return [item["id"] for item in client.get(f"/v1/images?{query}").json()["items"]]

    assert found("metadata.album=one") == [a]
    assert found("metadata.good=true") == [a]
    assert len(found("metadata.year=2024")) == 2
    assert found("metadata.year=2024&metadata.album=one") == [a]
    assert found("metadata.album=three") == []
    assert found("metadata.album=%27%20OR%201=1--") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=3", "offset"),
        ("metadata.=x", "metadata."),
        ("metadata.a=1&metadata.a=2", "metadata.a"),
        ("filters=x", "filters"),
        ("metadata=x", "metadata"),
        ("cursor=" + "x" * 5000, "cursor"),
    ],
)
def test_bad_parameters_of_a_list_are_named(stocked: TestClient, query: str, field: str) -> None:
    assert refused_fields(stocked.get(f"/v1/images?{query}")) == [field]


def test_too_many_filters_are_refused(stocked: TestClient) -> None:
    query = "&".join(f"metadata.k{number}=x" for number in range(17))
    assert refused_fields(stocked.get(f"/v1/images?{query}")) == ["metadata.k16"]


@pytest.mark.parametrize("cursor", ["x", "%00", "AAAA", "ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", "é"])
def test_a_made_up_cursor_is_refused(stocked: TestClient, cursor: str) -> None:
    assert_problem(stocked.get(f"/v1/images?cursor={cursor}"), 422, "invalid_cursor")


def test_a_cursor_belongs_to_its_query(stocked: TestClient) -> None:
    cursor = stocked.get("/v1/images?limit=2").json()["next_cursor"]
    assert_problem(stocked.get(f"/v1/images?limit=2&metadata.initial=c&cursor={cursor}"), 422, "invalid_cursor")
