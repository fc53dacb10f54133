"""Files on S3 that clients read from there: `VISEM_S3_PRESIGNED=on`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.keys import KeyFile
from app.logs import configure
from tests.app.helpers import assert_problem, picture, store

Connect = Callable[..., TestClient]

NAMES = ["beach.jpg", 'grün;"\r\nX-Evil: 1.jpg']


@pytest.fixture
def redirecting(connect: Connect, s3_content: str) -> TestClient:
    return connect(content=s3_content, s3_presigned="on")


@pytest.fixture
def logging_everything() -> Iterator[None]:
    """Logs are written as by a service at the level debug."""
    root = logging.getLogger()
    handlers, level, botocore = root.handlers[:], root.level, logging.getLogger("botocore").level
    configure("debug")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("botocore").setLevel(botocore)


def redirected(client: TestClient, image_id: str) -> str:
    """The URL to which a request for the content is redirected."""
    response = client.get(f"/v1/images/{image_id}/content", follow_redirects=False)
    assert response.status_code == 307, response.text
    assert response.headers["cache-control"] == "no-store"
    assert response.content == b""
    return response.headers["location"]


def test_by_default_bytes_come_through_the_service(connect: Connect, s3_content: str) -> None:
    client = connect(content=s3_content)
    image_id = store(client, "a.jpg", picture(1))
    response = client.get(f"/v1/images/{image_id}/content", follow_redirects=False)
    assert (response.status_code, response.content) == (200, picture(1))


@pytest.mark.parametrize("name", NAMES)
def test_s3_gives_the_bytes_and_headers_that_the_service_gives(redirecting: TestClient, name: str) -> None:
    image_id = store(redirecting, name, picture(1))
    answer = httpx2.get(redirected(redirecting, image_id))
    same = redirecting.get(f"/photos/{image_id}/content", follow_redirects=False)
    assert (same.status_code, answer.status_code) == (200, 200)
    assert answer.content == same.content == picture(1)
    for header in ("content-type", "content-disposition", "cache-control", "content-length"):
        assert answer.headers[header] == same.headers[header]
    part = httpx2.get(redirected(redirecting, image_id), headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, picture(1)[10:20])


def test_thumbnails_heads_and_pages_are_not_redirected(redirecting: TestClient) -> None:
    image_id = store(redirecting, "a.jpg", picture(1, 600, 450))
    thumbnail = redirecting.get(f"/v1/images/{image_id}/thumbnail", follow_redirects=False)
    assert thumbnail.content.startswith(b"\xff\xd8")
    head = redirecting.head(f"/v1/images/{image_id}/content", follow_redirects=False)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(picture(1, 600, 450))))
    page = redirecting.get(f"/photos/{image_id}").text
    assert "/v1/images/" not in page
    assert f'src="/photos/{image_id}/content"' in page


def test_what_is_deleted_or_lost_is_told_as_ever(redirecting: TestClient, s3_content: str) -> None:
    from index.content.s3 import S3ContentStore

    gone, lost = store(redirecting, "a.jpg", picture(1)), store(redirecting, "b.jpg", picture(2))
    url = redirected(redirecting, gone)
    assert redirecting.delete(f"/v1/images/{gone}").status_code == 204
    assert_problem(redirecting.get(f"/v1/images/{gone}/content"), 404, "record_not_found")
    assert httpx2.get(url).status_code in {403, 404}
    assert_problem(redirecting.get("/v1/images/nonsense/content"), 404, "record_not_found")
    S3ContentStore(s3_content).delete(redirecting.get(f"/v1/images/{lost}").json()["sha256"])
    assert_problem(redirecting.get(f"/v1/images/{lost}/content"), 500, "content_missing")


def test_a_key_that_may_read_is_demanded_before(connect: Connect, s3_content: str, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    keys = KeyFile(tmp_path / "locked")
    writer, metrics = keys.add("writer", "write"), keys.add("metrics", "metrics")
    reader = keys.add("reader", "read")
    client = connect(library=tmp_path / "locked", content=s3_content, s3_presigned="on")
    upload = {"files": ("a.jpg", picture(1))}
    added = client.post("/v1/images", files=upload, headers={"Authorization": f"Bearer {writer}"})
    path = f"/v1/images/{added.json()['results'][0]['image']['id']}/content"
    assert_problem(client.get(path, follow_redirects=False), 401, "unauthorized")
    refused = client.get(path, headers={"X-API-Key": metrics}, follow_redirects=False)
    assert_problem(refused, 403, "forbidden")
    allowed = client.get(path, headers={"X-API-Key": reader}, follow_redirects=False)
    assert allowed.status_code == 307
    assert client.get(path.replace("/v1/images", "/photos"), follow_redirects=False).status_code != 200


@pytest.mark.usefixtures("logging_everything")
def test_no_log_has_a_signature(redirecting: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug")  # to the standard error that is captured
    image_id = store(redirecting, "a.jpg", picture(1))
    signature = redirected(redirecting, image_id).partition("X-Amz-Signature=")[2]
    assert len(signature) == 64
    logs = capsys.readouterr().err
    assert "/content" in logs
    assert signature not in logs
    assert "X-Amz-Signature" not in logs
