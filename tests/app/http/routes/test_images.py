"""Images: stored once, changed, deleted; what they bring stays as it was."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.helpers import (
    assert_problem,
    encode,
    image_count,
    picture,
    post_images,
    refused_fields,
    store,
)

MISSING = "0123456789abcdef0123"


def test_storing_images(client: TestClient, photos: dict[str, bytes]) -> None:
    response = post_images(
        client, ("cat.jpg", photos["cat"]), ("coffee.jpg", photos["coffee"]), metadata='{"album": "a"}'
    )
    assert response.status_code == 200
    answer = response.json()
    assert (answer["created"], answer["duplicates"], answer["rejected"]) == (2, 0, 0)
    assert [result["status"] for result in answer["results"]] == ["created", "created"]
    image = answer["results"][0]["image"]
    assert image["filename"] == "cat.jpg"
    assert image["media_type"] == "image/jpeg"
    assert image["sha256"] == hashlib.sha256(photos["cat"]).hexdigest()
    assert image["size"] == len(photos["cat"])
    assert (image["width"], image["height"]) == Image.open(io.BytesIO(photos["cat"])).size
    assert image["metadata"] == {"album": "a"}
    assert image["created_at"].endswith("Z")
    assert image_count(client) == 2


def test_the_same_content_is_a_duplicate_under_any_name(client: TestClient) -> None:
    first = store(client, "first.jpg", picture(1), metadata='{"n": 1}')
    answer = post_images(
        client,
        ("second.jpg", picture(1)),
        ("new.jpg", picture(2)),
        ("new.jpg", picture(2)),
        metadata='{"n": 2}',
    ).json()
    assert [result["status"] for result in answer["results"]] == ["duplicate", "created", "duplicate"]
    assert answer["results"][0]["filename"] == "second.jpg"
    assert answer["results"][0]["image"]["id"] == first
    assert answer["results"][0]["image"]["metadata"] == {"n": 1}
    assert answer["results"][1]["image"]["id"] == answer["results"][2]["image"]["id"]
    assert image_count(client) == 2


def test_many_images_at_once_come_back_in_order(client: TestClient) -> None:
    files = [(f"{number}.jpg", picture(number)) for number in range(20)]
    answer = post_images(client, *files).json()
    assert [result["filename"] for result in answer["results"]] == [name for name, _ in files]
    assert answer["created"] == 20
    assert image_count(client) == 20


def test_patching_metadata_merges(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1), metadata='{"album": "a", "year": 2024, "place": {"city": "x"}}')
    patch = {"metadata": {"year": None, "place": {"zip": 1}, "good": True}}
    changed = client.patch(f"/v1/images/{image_id}", json=patch)
    assert changed.status_code == 200
    expected = {"album": "a", "place": {"city": "x", "zip": 1}, "good": True}
    assert changed.json()["metadata"] == expected
    assert client.get(f"/v1/images/{image_id}").json() == {**changed.json(), "files": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metadata": {}, "filename": "x"}, "filename"),
        ({"metadata": []}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({}, "metadata"),
        ({"metadata": {"a" * 129: 1}}, "metadata"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"metadata": {str(number): 1 for number in range(65)}}, "metadata"),
    ],
)
def test_bad_patches_are_refused_and_change_nothing(client: TestClient, body: object, field: str) -> None:
    image_id = store(client, "a.jpg", picture(1), metadata='{"album": "a"}')
    assert refused_fields(client.patch(f"/v1/images/{image_id}", json=body)) == [field]
    assert client.get(f"/v1/images/{image_id}").json()["metadata"] == {"album": "a"}


def test_patches_together_may_not_grow_beyond_the_limit(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    for key in ("a", "b"):
        response = client.patch(f"/v1/images/{image_id}", json={"metadata": {key: "x" * 10_000}})
    assert refused_fields(response) == ["metadata"]


def test_patches_that_are_no_json(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    url = f"/v1/images/{image_id}"
    headers = {"Content-Type": "application/json"}
    for content in (b"{", b"\xff", b'{"metadata": {"a": ' + b"[" * 5_000):
        assert_problem(client.patch(url, content=content, headers=headers), 400, "malformed_body")
    assert_problem(client.patch(url, content=b'{"metadata": {"a": NaN}}', headers=headers), 422, "invalid_request")
    assert_problem(client.patch(url, content=b'{"metadata": {}}'), 415, "unsupported_media_type")


def test_deleting(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1))
    keep = store(client, "b.jpg", picture(2))
    response = client.delete(f"/v1/images/{image_id}")
    assert response.status_code == 204
    assert response.content == b""
    for method, url in [
        ("GET", f"/v1/images/{image_id}"),
        ("GET", f"/v1/images/{image_id}/content"),
        ("GET", f"/v1/images/{image_id}/thumbnail"),
        ("DELETE", f"/v1/images/{image_id}"),
    ]:
        assert_problem(client.request(method, url), 404, "record_not_found")
    hits = client.get("/v1/search", params={"q": "a dog"}).json()["hits"]
    assert [hit["id"] for hit in hits] == [keep]


@pytest.mark.parametrize("image_id", [MISSING, "..%2f..%2fetc", "%00", "é", "x" * 3000])
def test_unknown_ids_are_404(stocked: TestClient, image_id: str) -> None:
    for suffix in ("", "/content", "/thumbnail"):
        response = stocked.get(f"/v1/images/{image_id}{suffix}")
        assert response.status_code == 404
        assert_problem(response, 404, response.json()["code"])
    response = stocked.patch(f"/v1/images/{image_id}", json={"metadata": {}})
    assert response.status_code == 404


def test_the_orientation_of_phones_is_respected(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image_id = store(client, "phone.jpg", encode(Image.new("RGB", (80, 40)), exif=exif))
    record = client.get(f"/v1/images/{image_id}").json()
    assert (record["width"], record["height"]) == (40, 80)


def test_metadata_survives_as_it_was(client: TestClient) -> None:
    metadata = {
        "text": "Köln 日本 \U0001f600",
        "numbers": [1, 2.5, -3],
        "nested": {"null": None, "flag": False},
    }
    image_id = store(client, "a.jpg", picture(1), metadata=json.dumps(metadata))
    assert client.get(f"/v1/images/{image_id}").json()["metadata"] == metadata
