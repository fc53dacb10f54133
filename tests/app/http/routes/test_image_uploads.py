"""Uploads of images: which files, fields and forms are refused, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.helpers import (
    assert_problem,
    encode,
    huge_png,
    image_count,
    picture,
    post_images,
    refused_fields,
    store,
)

BAD_FILES = {
    "empty.jpg": (b"", "image_empty"),
    "text.jpg": (b"this is no image at all", "image_unreadable"),
    "truncated.jpg": (picture(3, 400, 300)[:2000], "image_truncated"),
    "tiny.png": (encode(Image.new("RGB", (1, 1)), "PNG"), "image_too_small"),
    "bomb.png": (huge_png(), "image_too_large"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", None),
    "document.pdf": (b"%PDF-1.7 something", None),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_rejected_by_name_and_reason_and_nothing_is_stored(client: TestClient, name: str) -> None:
    data, code = BAD_FILES[name]
    problem = assert_problem(post_images(client, (name, data)), 422, "images_rejected")
    (error,) = problem["errors"]
    assert error["filename"] == name
    assert name in problem["detail"]
    assert error["reason"] in problem["detail"]
    if code is not None:
        assert error["code"] == code
    assert client.get(f"/problems/{error['code']}").status_code == 200
    assert image_count(client) == 0


def test_good_files_among_bad_ones_are_stored(client: TestClient) -> None:
    files = [(name, data) for name, (data, _) in BAD_FILES.items()]
    answer = post_images(client, *files, ("good.jpg", picture(4))).json()
    assert [result["status"] for result in answer["results"]] == ["rejected"] * len(files) + ["created"]
    assert (answer["created"], answer["rejected"]) == (1, len(files))
    assert answer["results"][0]["image"] is None
    assert image_count(client) == 1


def test_the_bomb_is_small() -> None:
    assert len(huge_png()) < 200_000


def test_a_file_beyond_the_size_of_an_image_is_rejected(connect: Callable[..., TestClient]) -> None:
    client = connect(max_image_bytes=2048)
    problem = assert_problem(post_images(client, ("big.jpg", picture(1, 640, 480))), 422, "images_rejected")
    assert problem["errors"][0]["code"] == "image_too_large"
    files = [("files", ("big.jpg", picture(1, 640, 480))), ("files", ("small.jpg", picture(1)))]
    answer = client.post("/v1/images", files=files).json()
    assert [one["code"] for one in answer["results"]] == ["image_too_large", None]
    items = client.post("/v1/embeddings", files=files).json()["items"]
    assert [one["code"] for one in items] == ["image_too_large", None]
    response = client.post("/v1/search/image", files={"image": files[0][1]})
    assert_problem(response, 422, "image_too_large")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_beyond_the_limit_is_413(connect: Callable[..., TestClient], streamed: bool) -> None:
    client = connect(max_upload_bytes=10_000)
    boundary = "limit"
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'.encode()

    def body() -> Iterator[bytes]:
        yield part
        for _ in range(20):
            yield b"x" * 1000
        yield f"\r\n--{boundary}--\r\n".encode()

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    content = body() if streamed else b"".join(body())
    problem = assert_problem(client.post("/v1/images", content=content, headers=headers), 413, "request_too_large")
    assert (problem["limit"], problem["setting"]) == (10_000, "VISEM_MAX_UPLOAD_BYTES")
    assert image_count(client) == 0


def test_too_many_files_are_refused(connect: Callable[..., TestClient]) -> None:
    client = connect(max_files=3)
    files = [(f"{number}.jpg", picture(number)) for number in range(4)]
    problem = assert_problem(post_images(client, *files), 413, "too_many_files")
    assert problem["limit"] == 3
    assert image_count(client) == 0
    assert post_images(client, *files[:3]).status_code == 200


@pytest.mark.parametrize(
    "metadata", ["{", "[]", "null", '"text"', '{"a": NaN}', '{"": 1}', '{"a": "\\ud800"}', "[" * 5000, " "]
)
def test_bad_metadata_is_refused_and_nothing_is_stored(client: TestClient, metadata: str) -> None:
    assert refused_fields(post_images(client, ("a.jpg", picture(1)), metadata=metadata)) == ["metadata"]
    assert image_count(client) == 0


def test_unknown_fields_are_refused_by_name_and_nothing_is_stored(client: TestClient) -> None:
    assert refused_fields(post_images(client, ("a.jpg", picture(1)), album="x")) == ["album"]
    files = [("files", ("a.jpg", picture(1))), ("photo", ("b.jpg", picture(2)))]
    assert refused_fields(client.post("/v1/images", files=files)) == ["photo"]
    assert refused_fields(client.post("/v1/images?album=x", files=files[:1])) == ["album"]
    data = {"metadata": ["{}", "{}"]}
    assert refused_fields(client.post("/v1/images", files=files[:1], data=data)) == ["metadata"]
    assert image_count(client) == 0


def test_a_form_without_files_or_no_form_at_all(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    text_part = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--b--\r\n'
    assert refused_fields(client.post("/v1/images", content=text_part, headers=headers)) == ["files"]
    assert refused_fields(client.post("/v1/images", content=b"--b--\r\n", headers=headers)) == ["files"]
    assert_problem(client.post("/v1/images", json={}), 415, "unsupported_media_type")
    assert_problem(client.post("/v1/images", content=b"x"), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b\r\n"),
        ("multipart/form-data; boundary=", b"--b\r\n"),
        ("multipart/form-data; boundary=b", b"garbage"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nbroken header\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="files"; file'),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b\r\n"),
    ],
)
def test_broken_forms_are_problems(client: TestClient, content_type: str, body: bytes) -> None:
    response = client.post("/v1/images", content=body, headers={"Content-Type": content_type})
    assert response.status_code in {400, 422}, response.text
    assert_problem(response, response.status_code, response.json()["code"])
    assert image_count(client) == 0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\Größe.jpg", "Größe.jpg"),
        ("semi;colon='x'.jpg", "semi;colon='x'.jpg"),
        ("日本.jpg", "日本.jpg"),
    ],
)
def test_file_names_are_display_text(client: TestClient, name: str, shown: str) -> None:
    image_id = store(client, name, picture(1))
    record = client.get(f"/v1/images/{image_id}").json()
    assert record["filename"] == shown
    disposition = client.get(record["content_url"]).headers["content-disposition"]
    assert disposition.startswith("inline; filename")
    assert disposition.isascii()
