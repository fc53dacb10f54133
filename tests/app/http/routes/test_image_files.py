"""The files of images: content with conditions and ranges, and thumbnails."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.helpers import (
    assert_problem,
    encode,
    picture,
    store,
)

TIMES = 25 if os.environ.get("TORTURE") else 8


def test_content_comes_back_byte_for_byte(client: TestClient) -> None:
    data = encode(Image.new("RGB", (40, 30), "red"), "PNG")
    image_id = store(client, "really-a-png.jpg", data)
    response = client.get(f"/v1/images/{image_id}/content")
    assert response.content == data
    assert response.headers["content-type"] == "image/png"
    assert response.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == 'inline; filename="really-a-png.jpg"'
    head = client.head(f"/v1/images/{image_id}/content")
    assert head.content == b""
    assert head.headers["content-length"] == str(len(data))


def test_content_supports_conditions_and_ranges(client: TestClient) -> None:
    data = picture(1)
    url = f"/v1/images/{store(client, 'a.jpg', data)}/content"
    etag = client.get(url).headers["etag"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = client.get(url, headers={"If-None-Match": condition})
        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["etag"] == etag
        assert "immutable" in response.headers["cache-control"]
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    part = client.get(url, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == data[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    problem = client.get(url, headers={"Range": "bytes=999999-"})
    assert_problem(problem, 416, "range_not_satisfiable")
    assert problem.headers["content-range"].endswith(str(len(data)))


@pytest.mark.parametrize("value", ["items=0-1", "lines=1-2", "bytes", "0-1", "", "bytes=items", "bytes=5-2"])
def test_what_is_no_range_of_bytes_is_ignored(client: TestClient, value: str) -> None:
    data = picture(1)
    url = f"/v1/images/{store(client, 'a.jpg', data)}/content"
    response = client.get(url, headers={"Range": value})
    assert response.status_code == 200
    assert response.content == data
    assert "content-range" not in response.headers
    assert client.get(url, headers={"Range": "Bytes=0-1"}).content == data[:2]


def test_several_ranges_and_ranges_of_another_version(client: TestClient) -> None:
    data = picture(1)
    url = f"/v1/images/{store(client, 'a.jpg', data)}/content"
    whole = client.get(url)
    several = client.get(url, headers={"Range": "bytes=0-9,100-109"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert data[:10] in several.content
    assert data[100:110] in several.content
    assert several.headers["content-length"] == str(len(several.content))
    tail = client.get(url, headers={"Range": "bytes=-7", "If-Range": whole.headers["etag"]})
    assert (tail.status_code, tail.content) == (206, data[-7:])
    date = client.get(url, headers={"Range": "bytes=-7", "If-Range": whole.headers["last-modified"]})
    assert (date.status_code, date.content) == (206, data[-7:])
    other = client.get(url, headers={"Range": "bytes=-7", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, data)


def test_reading_a_file_that_is_being_deleted_gives_all_of_it_or_404(client: TestClient) -> None:
    """Without opening it first, of 2,400 answers 202 were broken off and 85 were 500."""
    data = picture(1, 600, 450)
    image_ids = [store(client, "a.jpg", data)]
    done = threading.Event()

    def churn() -> None:
        try:
            for _ in range(TIMES):
                client.delete(f"/v1/images/{image_ids[-1]}")
                image_ids.append(store(client, "a.jpg", data))
        finally:
            done.set()

    def look(kind: str) -> list[tuple[int, int]]:
        answers = []
        while True:
            is_last = done.is_set()  # then the image is there: somebody who was too slow before sees it, too
            response = client.get(f"/v1/images/{image_ids[-1]}/{kind}")
            answers.append((response.status_code, len(response.content)))
            if is_last:
                return answers

    with ThreadPoolExecutor(5) as pool:
        reading = [pool.submit(look, kind) for kind in ("content", "thumbnail") * 2]
        pool.submit(churn).result()
        contents, thumbnails, *others = (one.result() for one in reading)
    small = len(client.get(f"/v1/images/{image_ids[-1]}/thumbnail").content)
    for answers, size in ((contents + others[0], len(data)), (thumbnails + others[1], small)):
        assert {answer for answer in answers if answer[0] != 404} == {(200, size)}


def test_thumbnails_are_small_jpeg_without_metadata(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    data = encode(Image.new("RGB", (1200, 800), "red"), exif=exif)
    image_id = store(client, "beach.jpg", data)
    response = client.get(f"/v1/images/{image_id}/thumbnail")
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-disposition"] == 'inline; filename="beach.jpg"'
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["etag"] != client.get(f"/v1/images/{image_id}/content").headers["etag"]
    thumbnail = Image.open(io.BytesIO(response.content))
    assert thumbnail.format == "JPEG"
    assert max(thumbnail.size) <= 400
    assert b"secret camera" not in response.content
    assert client.get(response.url, headers={"If-None-Match": response.headers["etag"]}).status_code == 304
