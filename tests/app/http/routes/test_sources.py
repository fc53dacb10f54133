"""/v1/sources and the page of sources."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.app.helpers import assert_problem, connect_to_source, picture

PHOTO = picture(1, 400, 300)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(PHOTO)
    for name in (b"bad 1.jpg", b"bad caf\xe9.jpg", b"bad <script>.jpg"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"no picture")
    return folder


@pytest.fixture
def client(connect: Callable[..., TestClient], photos: Path) -> TestClient:
    return connect_to_source(connect, photos)


def test_a_source(client: TestClient, photos: Path) -> None:
    (source,) = client.get("/v1/sources").json()["items"]
    assert (source["path"], source["paused"], source["error"]) == (str(photos), False, None)
    assert source["files"] == {"present": 1, "missing": 0, "refused": 3, "skipped": 0, "deleted": 0}
    assert (source["progress"]["created"], source["progress"]["refused"]) == (1, 3)
    assert client.get(f"/v1/sources/{source['id']}").json()["id"] == source["id"]
    (image,) = client.get("/v1/images").json()["items"]
    content = client.get(image["content_url"])
    assert content.content == PHOTO
    for url in (image["content_url"], image["thumbnail_url"]):  # the file may change: caches have to ask
        assert client.get(url).headers["cache-control"] == "private, no-cache"
    assert client.get(image["content_url"], headers={"If-None-Match": content.headers["etag"]}).status_code == 304
    (file,) = client.get(f"/v1/images/{image['id']}").json()["files"]
    assert (file["source_id"], file["path"], file["state"]) == (source["id"], "good.jpg", "present")
    assert "good.jpg" in client.get(f"/photos/{image['id']}").text
    assert client.get(image["content_url"], headers={"Range": "bytes=2-9"}).content == PHOTO[2:10]


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a file"])
def test_an_image_whose_folder_is_away_is_503_until_it_is_back(client: TestClient, photos: Path, left: str) -> None:
    (image,) = client.get("/v1/images").json()["items"]
    (source,) = client.get("/v1/sources").json()["items"]
    client.patch(f"/v1/sources/{source['id']}", json={"paused": True})
    aside = photos.with_name("not mounted")
    photos.rename(aside)
    if left == "an empty folder":
        photos.mkdir()
    elif left == "a file":
        photos.touch()
    problem = assert_problem(client.get(image["content_url"]), 503, "source_away")
    assert "mounted" in problem["detail"]
    assert str(photos) not in problem["detail"], "paths are for the log"
    assert client.get(image["thumbnail_url"]).status_code == 200
    assert client.get(f"/photos/{image['id']}").status_code == 200
    if left == "an empty folder":
        photos.rmdir()
    elif left == "a file":
        photos.unlink()
    aside.rename(photos)
    assert client.get(image["content_url"]).content == PHOTO
    (photos / "good.jpg").unlink()  # the folder is there, the file is not
    assert_problem(client.get(image["content_url"]), 500, "content_missing")


def test_what_was_refused_comes_in_pages(client: TestClient) -> None:
    id = client.get("/v1/sources").json()["items"][0]["id"]
    first = client.get(f"/v1/sources/{id}/files?limit=2").json()
    rest = client.get(f"/v1/sources/{id}/files", params={"cursor": first["next_cursor"], "limit": 2}).json()
    assert [file["path"] for file in first["items"] + rest["items"]] == [
        "bad 1.jpg",
        "bad <script>.jpg",
        "bad caf\\xe9.jpg",
    ]
    assert (first["total"], rest["next_cursor"]) == (3, None)
    assert {file["code"] for file in first["items"]} == {"image_unreadable"}
    assert client.get(f"/v1/sources/{id}/files?state=present").json()["total"] == 1
    assert_problem(client.get(f"/v1/sources/{id}/files?cursor=a"), 422, "invalid_cursor")
    assert_problem(client.get(f"/v1/sources/{id}/files?state=x"), 422, "invalid_request")


def test_pausing_going_over_and_forgetting(client: TestClient, photos: Path) -> None:
    id = client.get("/v1/sources").json()["items"][0]["id"]
    assert client.patch(f"/v1/sources/{id}", json={"paused": True}).json()["paused"]
    assert not client.patch(f"/v1/sources/{id}", json={"paused": False}).json()["paused"]
    assert client.post(f"/v1/sources/{id}/rescan").status_code == 202
    assert client.delete(f"/v1/sources/{id}").json() == {"removed": 1}
    assert client.get("/v1/sources").json() == {"items": []}
    assert len(list(photos.iterdir())) == 4
    for response in (
        client.get("/v1/sources/x"),
        client.patch("/v1/sources/x", json={"paused": True}),
        client.post("/v1/sources/x/rescan"),
        client.delete("/v1/sources/x"),
        client.get("/v1/sources/x/files"),
    ):
        assert_problem(response, 404, "source_not_found")


def test_no_path_is_chosen_by_a_client(client: TestClient) -> None:
    assert client.post("/v1/sources", json={"path": "/etc"}).status_code == 405
    id = client.get("/v1/sources").json()["items"][0]["id"]
    assert_problem(client.patch(f"/v1/sources/{id}", json={"paused": True, "path": "/etc"}), 422, "invalid_request")


def test_the_page(client: TestClient, photos: Path) -> None:
    page = client.get("/sources")
    assert page.status_code == 200
    assert str(photos) in page.text
    assert "bad &lt;script&gt;.jpg" in page.text
    id = client.get("/v1/sources").json()["items"][0]["id"]
    paused = client.post(f"/sources/{id}/pause", headers={"Origin": "http://127.0.0.1:8000"})
    assert "Paused" in paused.text
    assert "Go on" in client.get("/sources", headers={"HX-Request": "true"}).text
    client.post(f"/sources/{id}/resume", headers={"Origin": "http://127.0.0.1:8000"})
    assert "Paused" not in client.get("/sources").text
    assert client.post("/sources/x/pause", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 404


def test_sources_are_not_for_guests(connect: Callable[..., TestClient], tmp_path: Path) -> None:
    one = connect(api_key="a secret of many letters")
    assert_problem(one.get("/v1/sources"), 401, "unauthorized")
    assert one.get("/sources", follow_redirects=False).headers["location"].startswith("/sign-in")
    assert one.get("/v1/sources", headers={"X-API-Key": "a secret of many letters"}).json() == {"items": []}
