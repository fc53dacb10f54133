"""Storing, listing, changing and serving images."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.helpers import (
    assert_problem,
    encode,
    huge_png,
    picture,
    post_images,
    refused_fields,
    store,
)

MISSING = "0123456789abcdef0123"


def total(client: TestClient) -> int:
    count: int = client.get("/v1/images").json()["total"]
    return count


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
    assert total(client) == 2


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
    assert total(client) == 2


def test_many_images_at_once_come_back_in_order(client: TestClient) -> None:
    files = [(f"{number}.jpg", picture(number)) for number in range(20)]
    answer = post_images(client, *files).json()
    assert [result["filename"] for result in answer["results"]] == [name for name, _ in files]
    assert answer["created"] == 20
    assert total(client) == 20


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
    assert total(client) == 0


def test_good_files_among_bad_ones_are_stored(client: TestClient) -> None:
    files = [(name, data) for name, (data, _) in BAD_FILES.items()]
    answer = post_images(client, *files, ("good.jpg", picture(4))).json()
    assert [result["status"] for result in answer["results"]] == ["rejected"] * len(files) + ["created"]
    assert (answer["created"], answer["rejected"]) == (1, len(files))
    assert answer["results"][0]["image"] is None
    assert total(client) == 1


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
    assert problem["limit"] == 10_000
    assert total(client) == 0


def test_too_many_files_are_refused(connect: Callable[..., TestClient]) -> None:
    client = connect(max_files=3)
    files = [(f"{number}.jpg", picture(number)) for number in range(4)]
    problem = assert_problem(post_images(client, *files), 413, "too_many_files")
    assert problem["limit"] == 3
    assert total(client) == 0
    assert post_images(client, *files[:3]).status_code == 200


@pytest.mark.parametrize(
    "metadata", ["{", "[]", "null", '"text"', '{"a": NaN}', '{"": 1}', '{"a": "\\ud800"}', "[" * 5000, " "]
)
def test_bad_metadata_is_refused_and_nothing_is_stored(client: TestClient, metadata: str) -> None:
    assert refused_fields(post_images(client, ("a.jpg", picture(1)), metadata=metadata)) == ["metadata"]
    assert total(client) == 0


def test_unknown_fields_are_refused_by_name_and_nothing_is_stored(client: TestClient) -> None:
    assert refused_fields(post_images(client, ("a.jpg", picture(1)), album="x")) == ["album"]
    files = [("files", ("a.jpg", picture(1))), ("photo", ("b.jpg", picture(2)))]
    assert refused_fields(client.post("/v1/images", files=files)) == ["photo"]
    assert refused_fields(client.post("/v1/images?album=x", files=files[:1])) == ["album"]
    data = {"metadata": ["{}", "{}"]}
    assert refused_fields(client.post("/v1/images", files=files[:1], data=data)) == ["metadata"]
    assert total(client) == 0


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
    assert total(client) == 0


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


def test_patching_metadata_merges(client: TestClient) -> None:
    image_id = store(client, "a.jpg", picture(1), metadata='{"album": "a", "year": 2024, "place": {"city": "x"}}')
    patch = {"metadata": {"year": None, "place": {"zip": 1}, "good": True}}
    changed = client.patch(f"/v1/images/{image_id}", json=patch)
    assert changed.status_code == 200
    expected = {"album": "a", "place": {"city": "x", "zip": 1}, "good": True}
    assert changed.json()["metadata"] == expected
    assert client.get(f"/v1/images/{image_id}").json() == changed.json()


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
    malformed = client.get(url, headers={"Range": "lines=1-2"})
    assert malformed.status_code in {200, 400}


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
    data = picture(1, 1200, 900)
    image_ids = [store(client, "a.jpg", data)]
    done = threading.Event()

    def churn() -> None:
        for _ in range(25):
            client.delete(f"/v1/images/{image_ids[-1]}")
            image_ids.append(store(client, "a.jpg", data))
        done.set()

    def look(kind: str) -> list[tuple[int, int]]:
        answers = []
        while not done.is_set():
            response = client.get(f"/v1/images/{image_ids[-1]}/{kind}")
            answers.append((response.status_code, len(response.content)))
        return answers

    with ThreadPoolExecutor(5) as pool:
        reading = [pool.submit(look, kind) for kind in ("content", "thumbnail") * 2]
        pool.submit(churn).result()
        answers = [[answer for answer in one.result() if answer[0] != 404] for one in reading]
    small = len(client.get(f"/v1/images/{image_ids[-1]}/thumbnail").content)
    assert all(set(found) == {(200, size)} for found, size in zip(answers, (len(data), small) * 2, strict=True))


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
