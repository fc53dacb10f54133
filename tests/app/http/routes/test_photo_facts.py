"""What files say about photographs: in records, as filters and as an order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.service import Service
from app.settings import Settings
from model.space import JointSpace
from tests.app.helpers import ADDRESS, refused_fields, store
from tests.app.photographs import FILES


@pytest.fixture(scope="module")
def photos(space: JointSpace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an application with photographs of which the files say something. For tests that change nothing."""
    settings = Settings(library=tmp_path_factory.mktemp("photos") / "library")
    with (
        Service.open(settings, space=space) as service,
        TestClient(create_app(service=service), base_url=ADDRESS, raise_server_exceptions=False) as client,
    ):
        for name, data in FILES.items():
            store(client, name, data)
        yield client


def names(answer: Any) -> list[str]:
    return [str(item["filename"]) for item in answer["items"]]


def test_records_say_what_the_file_says(photos: TestClient) -> None:
    items = {item["filename"]: item for item in photos.get("/v1/images").json()["items"]}
    gate = items["gate.jpg"]
    assert (gate["taken"], gate["camera"], gate["lens"]) == ("2024-05-01T10:30:15+02:00", "Canon EOS R5", None)
    assert gate["place"] == {"latitude": pytest.approx(52.52), "longitude": pytest.approx(13.405)}
    assert items["lake.jpg"]["taken"] == "2024-05-31T23:59:59"
    assert items["scan.jpg"]["taken"] is None
    assert items["scan.jpg"]["place"] is None
    assert items["scan.jpg"]["keywords"] == []
    hits = photos.get("/v1/search", params={"q": "cat", "camera": "iphone"}).json()["hits"]
    assert [(hit["filename"], hit["taken"]) for hit in hits] == [("lake.jpg", "2024-05-31T23:59:59")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"taken_after": "2024"}, {"gate.jpg", "lake.jpg"}),
        ({"taken_after": "2024-05", "taken_before": "2024-06"}, {"gate.jpg", "lake.jpg"}),
        ({"taken_after": "2024-05-01", "taken_before": "2024-05-02"}, {"gate.jpg"}),
        ({"taken_before": "2024-05-31T23:59:59"}, {"gate.jpg", "snow.jpg"}),
        ({"taken_after": "2024-05-01T08:30:15Z"}, {"gate.jpg", "lake.jpg"}),
        ({"taken_after": "2024-05-01T10:30:16+02:00"}, {"lake.jpg"}),
        ({"camera": "CANON"}, {"gate.jpg", "snow.jpg"}),
        ({"near": "52.5,13.4,5"}, {"gate.jpg"}),
        ({"near": "52.5, 13.4, 1"}, set()),
        ({"camera": "canon", "taken_before": "2024"}, {"snow.jpg"}),
    ],
)
def test_filters_of_lists_and_searches(photos: TestClient, query: dict[str, str], found: set[str]) -> None:
    listed = photos.get("/v1/images", params=query).json()
    assert set(names(listed)) == found
    assert listed["total"] == len(found)
    hits = photos.get("/v1/search", params={"q": "a cat", **query}).json()["hits"]
    assert {hit["filename"] for hit in hits} == found
    body = {"terms": [{"text": "cat"}], **query}
    assert {hit["filename"] for hit in photos.post("/v1/search", json=body).json()["hits"]} == found
    upload = photos.post("/v1/search/image", files={"image": FILES["scan.jpg"]}, data=query)
    assert {hit["filename"] for hit in upload.json()["hits"]} == found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("taken_after", "yesterday"),
        ("taken_before", "2024-13"),
        ("taken_before", "2024-02-30"),
        ("taken_after", "2024-05-01T10:30 02:00"),
        ("taken_after", "0000"),
        ("taken_after", ""),
        ("near", "52.5,13.4"),
        ("near", "95,13.4,5"),
        ("near", "52.5,13.4,-1"),
        ("near", "52.5,13.4,nan"),
        ("near", "inf,13.4,1"),
        ("camera", " "),
        ("camera", "x" * 101),
        ("camera", "a\0b"),
    ],
)
def test_filters_that_cannot_be_read(photos: TestClient, field: str, value: str) -> None:
    assert refused_fields(photos.get("/v1/images", params={field: value})) == [field]
    assert refused_fields(photos.get("/v1/search", params={"q": "cat", field: value})) == [field]
    assert refused_fields(photos.post("/v1/search", json={"terms": [{"text": "cat"}], field: value})) == [field]


def test_sentences_were_not_taken(photos: TestClient) -> None:
    response = photos.get("/v1/search", params={"q": "cat", "target": "sentences", "camera": "canon"})
    assert response.status_code == 422
    assert "Only images" in response.json()["detail"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("desc", ["lake.jpg", "gate.jpg", "snow.jpg", "scan.jpg"]),
        ("asc", ["snow.jpg", "gate.jpg", "lake.jpg", "scan.jpg"]),
    ],
)
def test_the_order_of_taking_over_pages(photos: TestClient, order: str, expected: list[str]) -> None:
    query: dict[str, Any] = {"sort": "taken", "order": order, "limit": 1}
    found: list[str] = []
    cursor = None
    for _ in range(6):
        page = photos.get("/v1/images", params=query if cursor is None else {**query, "cursor": cursor}).json()
        found += names(page)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == expected
    assert names(photos.get("/v1/images", params={"order": "asc"}).json()) == list(FILES)
    assert refused_fields(photos.get("/v1/images", params={"sort": "size"})) == ["sort"]


def test_numbers_and_text_are_found_however_they_are_written(client: TestClient) -> None:
    store(client, "one.jpg", FILES["gate.jpg"], metadata='{"n": 2024.0, "place": "Cafe\\u0301"}')
    for query in ({"metadata.n": "2024"}, {"metadata.n": "2024.0"}, {"metadata.place": "Caf\u00e9"}):
        assert names(client.get("/v1/images", params=query).json()) == ["one.jpg"]
    body = {"terms": [{"text": "cat"}], "filters": {"n": 2024, "place": "Cafe\u0301"}}
    assert len(client.post("/v1/search", json=body).json()["hits"]) == 1


def test_what_pages_show_says_nothing(photos: TestClient) -> None:
    image = photos.get("/v1/images", params={"camera": "canon", "taken_after": "2024"}).json()["items"][0]
    shown = [photos.get(image["thumbnail_url"]), photos.get(f"/photos/{image['id']}/view")]
    for response in shown:
        assert response.status_code == 200
        opened = Image.open(io.BytesIO(response.content))
        assert not opened.getexif()
        assert not {"exif", "xmp", "photoshop", "comment"} & set(opened.info)
        assert b"Canon" not in response.content
